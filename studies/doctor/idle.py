"""Parameters that do nothing: searched, and without a say in any candidate.

Found by trying: at the start of the search and at drawn points, all values of a range are moved,
and the formulas of all tensors before and after are compared (`merging.methods.formula`), with
what normalisation cancels taken out. What a formula weighs but equals the base (an adapter that
leaves these tensors alone) does not count either. Exact for the points tried; a number that
matters in a corner only could be missed, so this warns and refuses nothing.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from merging.checkpoint import Checkpoint
from merging.errors import MergeError
from merging.methods.formula import TaskVectors
from merging.methods.table import METHODS
from merging.plan import TensorJob, plan_recipe
from merging.recipe import ModelReference
from merging.recipe_reader import read_recipe
from search.coordinates import Coordinates
from search.space_parts import METHOD, Dimension, Slot, Values
from search.space_points import Space
from search.space_ranges import Value, grid_value

from ..preflight import Preflight
from .meaning import formula_of, formulas_differ, meaning_of, numbers_differ, told

DRAWN = 2
"""Points tried beside the start, for each merge method."""
MAX_PLANS = 400
"""Above so many plans ranges are tried as a whole, and not value by value."""

Difference = Callable[[Sequence[TensorJob], Sequence[TensorJob]], bool]
INSIDE = (0.04, 0.93, 0.37)
"""Where in a range values are moved to, as shares of it."""


@dataclass(frozen=True, slots=True)
class Idle:
    """What does nothing: names of dimensions, and why in words."""

    names: tuple[str, ...]
    why: str


def idle_parameters(found: Preflight) -> list[Idle]:
    """Every range without effect, experts that equal the base first."""
    if found.space.stack.searched or found.recipe.exact:
        return []  # layers that move change everything; exact recipes round at every step
    trial = _Trial(found)
    copies = trial.copies()
    idle = [
        Idle(
            tuple(one.name for one in found.space.dimensions if one.model == label),
            f"{name} has the weights of the base in every tensor: it adds nothing",
        )
        for name, label in copies.items()
    ]
    known = {name for one in idle for name in one.names}
    for slot in found.space.slots:
        names = [name for name in slot.names() if name not in known]
        if names and not trial.matters(slot, names):
            idle.append(Idle(tuple(names), trial.why(slot)))
        elif len(names) > 1 and trial.cheap:
            alone = [name for name in names if not trial.matters(slot, [name])]
            if alone:
                idle.append(Idle(tuple(alone), "no tensor lies where this value counts"))
    if {name for one in idle for name in one.names} >= _numeric(found.space):
        everything = "nothing that is searched changes a tensor: every candidate is the same merge"
        idle.append(Idle((), f"{everything}, so no objective can improve"))
    return [one for one in idle if one.names or one.why]


def _numeric(space: Space) -> set[str]:
    return {one.name for one in space.dimensions if one.name != METHOD} or {METHOD}


@dataclass(slots=True)
class _Trial:
    """The points tried, with the formulas of all tensors there; what is known of equal tensors."""

    found: Preflight
    points: list[Values] = field(init=False)
    plans: dict[int, tuple[TensorJob, ...]] = field(default_factory=dict, init=False)
    equal: dict[tuple[ModelReference, str], bool] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        coordinates, draw = Coordinates(self.space), random.Random(0)
        self.points = []
        for method, start in self.space.starts.items():
            self.points.append(start)
            ranges = coordinates.distributions(method)
            for _ in range(DRAWN):
                drawn = {name: _draw(one, draw) for name, one in ranges.items()}
                named = {METHOD: method} if len(self.space.methods) > 1 else {}
                self.points.append(coordinates.decode({**drawn, **named}))

    @property
    def space(self) -> Space:
        """The space that the search begins in."""
        return self.found.space

    @property
    def cheap(self) -> bool:
        """Whether there are few enough values to try one by one."""
        return len(self.space.dimensions) * len(self.points) * 2 <= MAX_PLANS

    def matters(self, slot: Slot, names: Sequence[str]) -> bool:
        """Whether moving these values of a slot changes some tensor, at some point tried."""
        return self._seen(slot, names, self._differ)

    def _seen(self, slot: Slot, names: Sequence[str], differ: Difference) -> bool:
        dimensions = {one.name: one for one in self.space.dimensions}
        tried = False
        for number, point in enumerate(self.points):
            if self.space.method(point) not in slot.methods:
                continue
            for other in _moved(point, [dimensions[name] for name in names]):
                jobs = self._plan(other)
                if jobs is None:
                    continue
                tried = True
                if differ(self._at(number), jobs):
                    return True
        return not tried

    def why(self, slot: Slot) -> str:
        """What a person would want to know of a slot that does nothing."""
        dimension = next(one for one in self.space.dimensions if one.name in slot.names())
        if not self._seen(slot, slot.names(), numbers_differ):
            return "it reaches no tensor (what its filter names, an entry before it may take)"
        if self._seen(slot, slot.names(), formulas_differ):
            return "the tensors that it reaches are those of the base"
        if dimension.parameter == "weight":
            return (
                "the weights are divided by their sum, and no other model shares it: any weight "
                "gives the same merge"
            )
        if dimension.parameter == "epsilon":
            return "where the density is 1 everything is kept, whatever epsilon is"
        return "the numbers around it leave it without effect"

    def copies(self) -> dict[str, str]:
        """Experts whose tensors all equal the base's: name to short name."""
        checkpoints, base = self.found.checkpoints, self.found.base
        if self.found.recipe.base_model is None:
            return {}
        return {
            str(model): self.space.labels.get(str(model), str(model))
            for model, one in checkpoints.items()
            if model != base and all(self._is_base(model, name, name) for name in one.tensors)
        }

    def _at(self, number: int) -> tuple[TensorJob, ...]:
        if number not in self.plans:
            self.plans[number] = self._plan(self.points[number]) or ()
        return self.plans[number]

    def _plan(self, values: Values) -> tuple[TensorJob, ...] | None:
        """The jobs at a point; None where its numbers do not go together."""
        if not self.space.contains(values):
            return None
        filled = self.found.study.recipe.with_data(self.space.fill(values))
        try:
            recipe, _ = read_recipe(filled, strict=True)
            return plan_recipe(recipe, self.found.checkpoints, document=filled)
        except MergeError:
            return None

    def _differ(self, before: Sequence[TensorJob], after: Sequence[TensorJob]) -> bool:
        """Whether some tensor has another value: by its formula, then by what that reads."""
        if len(before) != len(after):
            return True
        pairs = zip(before, after, strict=True)
        return any(
            meaning_of(one) != meaning_of(other) and self._meaning(one) != self._meaning(other)
            for one, other in pairs
        )

    def _meaning(self, job: TensorJob) -> object:
        """The formula without the experts whose tensor is the base's."""
        if job.base is None or METHODS[job.method].base != "required":
            return meaning_of(job)
        same = [self._is_base(one.model, one.name, job.base.name) for one in job.sources]
        formula = formula_of(job)
        if not isinstance(formula, TaskVectors) or (formula.normalize and not formula.elect):
            return meaning_of(job)  # weights of zero deltas still count in the sum
        kept = [place for place, gone in enumerate(same) if not gone]
        return told(
            replace(
                formula,
                weights=tuple(formula.weights[place] for place in kept),
                sparsities=tuple(formula.sparsities[place] for place in kept),
            ),
            tuple(kept),
        )

    def _is_base(self, model: ModelReference, name: str, base_name: str) -> bool:
        key = (model, name)
        if key not in self.equal:
            base = self.found.checkpoints[self.found.base]
            self.equal[key] = same_tensor(self.found.checkpoints[model], name, base, base_name)
        return self.equal[key]


def same_tensor(one: Checkpoint, name: str, base: Checkpoint, base_name: str) -> bool:
    """Whether two models hold the same numbers; an adapter's untouched tensors are not read."""
    if name not in one.tensors or base_name not in base.tensors:
        return False
    if one.tensors[name].shape != base.tensors[base_name].shape:
        return False
    changed, below = getattr(one, "changed", None), getattr(one, "base", None)
    if changed is not None and name not in changed and below is not None and name == base_name:
        if below.content_hash == base.content_hash:
            return True
    return torch.equal(one.tensor(name), base.tensor(base_name))


def _moved(point: Values, dimensions: Sequence[Dimension]) -> Iterable[Values]:
    """The point with these values near one end of their ranges, near the other, and between.

    Not at the ends: a weight of 0 or a density of 1 is one point of a range that does nothing
    elsewhere.
    """
    for end in range(len(INSIDE)):
        moved = {one.name: _end(one, end) for one in dimensions}
        if any(point.get(name) != value for name, value in moved.items()):
            yield {**point, **moved}


def _end(dimension: Dimension, end: int) -> Value:
    own = dimension.range
    if own.choices:
        return own.choices[min(end, len(own.choices) - 1)]
    share = INSIDE[end]
    if own.step is None and not own.integer:
        return own.low + (own.high - own.low) * share
    step = own.step or 1.0
    value = grid_value(own.low, step, round((own.high - own.low) / step * share))
    return int(value) if own.integer else value


def _draw(distribution: Any, draw: random.Random) -> Value:
    if choices := getattr(distribution, "choices", None):
        chosen: Value = draw.choice(choices)
        return chosen
    low, high = distribution.low, distribution.high
    step = getattr(distribution, "step", None)
    if step:
        value: float = low + step * draw.randrange(round((high - low) / step) + 1)
        return int(value) if isinstance(low, int) else value
    return draw.uniform(low, high)


def idle_text(one: Idle) -> str:
    """One warning, with what to do."""
    if not one.names:
        return one.why
    names = ", ".join(one.names[:6]) + (" ..." if len(one.names) > 6 else "")
    does = "does" if len(one.names) == 1 else "do"
    return f"{names} {does} nothing: {one.why}; write a number in its place"
