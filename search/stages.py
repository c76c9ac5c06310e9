"""Coarse to fine: the spaces that a search with `anchors: auto` goes through, one a stage.

In stage 0 every `auto` range is one number, then 2, 3 and 5 anchors, never more than the layers
of its slice can tell apart. A range over slices of different lengths stays one number. Stages
share everything else: methods, slots, fixed parts, the other ranges. Each point of a stage is a
point of every later one (`anchors`), so what was learned of it is told to the sampler there.

A trial keeps the values of its own stage (`math.weight`, later `math.weight@50%`: the value half
way along the slice) and the recipe that these say. With a `step` the middle of two anchors may
lie between two values of the grid: such a trial is told to samplers at one of the two, half a
step away.

When the next stage begins is `refinement`'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merging.document import Document

from .anchors import LADDER, refined
from .coordinates import Coordinates
from .ledger import Candidate
from .space import space_from
from .space_parts import Dimension, Values
from .space_points import Space
from .space_ranges import Range, Value, grid_index, grid_value

STAGE = "stage"
"""The system attribute of a trial that says its stage; without it that is 0."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The coordinates of every stage, coarse to fine; at least one."""

    coordinates: tuple[Coordinates, ...]

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The space of every stage."""
        return tuple(one.space for one in self.coordinates)

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions of all stages, each name once: it means the same in all of them."""
        named = {one.name: one for space in self.spaces for one in space.dimensions}
        return tuple(named.values())

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many coordinates each stage has."""
        return tuple(len(one.names) for one in self.coordinates)

    def lift(self, values: Values, stage: int, to: int) -> dict[str, Value]:
        """The same merge as a point of a later stage, but for the grids of `step`.

        Args:
            values: A point of the space of `stage`.
            stage: From 0.
            to: A later stage, or the same one.
        """
        coarse, fine = self.spaces[stage], self.spaces[to]
        lifted = dict(values)
        for before, after in zip(coarse.slots, fine.slots, strict=True):
            if before.names() != after.names() and before.names()[0] in values:
                numbers = [lifted.pop(name) for name in before.names()]
                lifted |= zip(after.names(), refined(numbers, len(after.knots)), strict=True)
        return {one.name: lifted[one.name] for one in fine.active(fine.method(values))}

    def told(self, values: Values, stage: int, to: int) -> dict[str, Value] | None:
        """The point of a later stage at which samplers are told of a trial, on every grid.

        None where the numbers moved to a grid no longer go together.
        """
        if stage == to:
            return dict(values)
        space = self.spaces[to]
        ranges = {one.name: one.range for one in space.dimensions}
        lifted = self.lift(values, stage, to)
        near = {name: _on_grid(ranges[name], value) for name, value in lifted.items()}
        return near if space.contains(near) else None


def stages_from(document: Document, *, layers: int) -> Stages:
    """Every stage of a study's recipe; one where no range has `anchors: auto`.

    Args:
        document: The recipe, with its ranges.
        layers: Layers of the models, at least 1.

    Raises:
        RecipeError: as `space_from`, for any of the stages.
        UnsupportedError: as `space_from`.
    """
    spaces = [space_from(document, layers=layers)]
    grows = any(slot.nested for slot in spaces[0].slots)
    for stage in range(1, len(LADDER) if grows else 1):
        finer = space_from(document, layers=layers, stage=stage)
        if finer.dimensions == spaces[-1].dimensions:
            break
        spaces.append(finer)
    return Stages(tuple(map(Coordinates, spaces)))


def stage_of(system_attrs: Mapping[str, Any] | None) -> int:
    """The stage in which a trial was proposed."""
    return int((system_attrs or {}).get(STAGE, 0))


def in_one_stage(
    stages: Stages, trials: Sequence[Candidate]
) -> tuple[list[Candidate], tuple[Dimension, ...]]:
    """The trials as points of the finest stage among them, and the dimensions of that stage."""
    finest = max((stage_of(one.system_attrs) for one in trials), default=0)
    told = [
        one.ended(
            values=one.values and stages.told(one.values, stage_of(one.system_attrs), finest)
        )
        for one in trials
    ]
    return told, stages.spaces[finest].dimensions


def _on_grid(own: Range, value: Value) -> Value:
    if own.choices or own.step is None or isinstance(value, str):
        return value
    if grid_index(own.low, own.step, value) is not None:
        return value
    return grid_value(own.low, own.step, round((value - own.low) / own.step))
