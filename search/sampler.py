"""What a sampler is to the search: how it draws a point, and what it can search."""

from collections.abc import Callable
from dataclasses import dataclass

from .coordinates import Coordinates
from .draws import Ask, Draw

STARTUP = 10
"""Trials that a model needs before it beats drawing at random."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler: what it can search, and how it draws from what it is told and a seed.

    `redraws`: how often it is asked again for a point that has been tried before chance takes
    over.
    """

    name: str
    draw: Callable[[Ask, int], Draw]
    many_objectives: bool = True
    choices: bool = True
    conditions: bool = True
    continuous: bool = True
    """Whether it takes ranges without a step."""
    models_scores: bool = False
    """Whether it models the scores themselves, so that their scale matters."""
    redraws: int = 5

    def unsuited(self, objectives: int, coordinates: Coordinates) -> str | None:
        """Why it cannot search this space with so many objectives, None where it can."""
        if objectives > 1 and not self.many_objectives:
            return f"takes one objective, the study has {objectives}"
        if coordinates.space.conditional and not self.conditions:
            return "needs the same dimensions in every trial; here they depend on merge_method"
        if has_choices(coordinates) and not self.choices:
            return "takes numbers only, the recipe has a choice"
        if not self.continuous and (name := _stepless(coordinates)):
            return f"visits every point of a grid, and {name} has no `step`"
        return None


def has_choices(coordinates: Coordinates) -> bool:
    """Whether a dimension is one of a list of values."""
    return any(one.kind == "choice" for one in coordinates.space.dimensions)


def _stepless(coordinates: Coordinates) -> str | None:
    """The first coordinate that is drawn from a continuum."""
    for name, one in coordinates.distributions().items():
        if not one.single() and getattr(one, "step", 1) is None:
            return name
    return None
