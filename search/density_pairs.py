"""Finds every epsilon and density of a recipe that some tensor may read together.

Filters decide which: an entry of one list and an entry of the other meet if some tensor name, holding some of the
filters and not the others, comes to both. Names are not known here, so every combination of filters counts, but
for those where one filter is part of another.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merging.document import Path
from merging.methods.table import METHODS

from .density_limits import Depth, Limits, Pair
from .space_blocks import gradient, runs
from .space_parts import Knot, Slot
from .space_ranges import Range
from .space_walk import Position, entries, positions, source_places

_MAX_FILTERS = 10
"""More distinct filters than this, and every two entries are taken to meet."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One entry of the chain of settings that a tensor's parameter is looked up in."""

    filter: str | None
    depth: Depth


def find_limits(
    template: Mapping[str, Any],
    layers: int,
    methods: Sequence[str],
    slots: Sequence[Slot],
    ranges: Mapping[str, Range],
) -> Limits:
    """The limits of a space whose recipe has been read once; no pairs where no method reads epsilon."""
    reading = tuple(name for name in methods if METHODS[name].parameter("epsilon"))
    found: dict[Pair, None] = {}
    everything = list(positions(template, layers))
    by_path = {slot.path: slot for slot in slots}
    for place in source_places(template, layers) if reading else ():
        if not place.is_base:
            epsilon, density = (
                list(_chain(name, reading[0], place, everything, by_path))
                for name in ("epsilon", "density")
            )
            found |= dict.fromkeys(_meeting(epsilon, density))
    pairs = tuple(pair for pair in found if pair.epsilon.names or pair.density.names)
    return Limits(pairs, ranges, reading)


def _chain(
    name: str,
    method: str,
    place: Position,
    everything: Sequence[Position],
    slots: Mapping[Path, Slot],
) -> Iterator[_Level]:
    """Where a source's parameter is looked up, in order: its own, its slice's, the recipe's, the default."""
    length = place.layers or 0
    for level in ("source", "slice", "top"):
        for one in everything:
            if one.parameter == name and one.level == level and _covers(one, place):
                for entry in entries(one):
                    yield _Level(entry.filter, _depth(entry.data, slots.get(entry.path), length))
                    if entry.filter is None:
                        return
    parameter = METHODS[method].parameter(name)
    default = parameter.default if parameter else None
    yield _Level(None, _depth(1.0 if default is None else default, None, length))


def _covers(setting: Position, place: Position) -> bool:
    if setting.level == "source":
        return setting.path[:-1] == place.path
    return setting.level == "top" or setting.slice == place.slice


def _depth(data: object, slot: Slot | None, length: int) -> Depth:
    """A value along depth: depth 0 for the tensors outside the layers, then every layer."""
    if slot is not None:
        knots, form = slot.knots, slot.form
    elif isinstance(data, list):
        knots, form = tuple(Knot(None, one) for one in data), "linear"
    else:
        assert isinstance(data, bool | int | float)
        knots, form = (Knot(None, data),), "constant"
    count = len(knots)
    units = [tuple(float(row == column) for column in range(count)) for row in range(count)]
    if form == "blocks":
        along = [units[block] for block, (a, b) in enumerate(runs(length, count)) for _ in range(a, b)]
    else:
        columns = [gradient(unit, length) for unit in units]
        along = [tuple(column[layer] for column in columns) for layer in range(length)]
    return Depth(knots, (units[0], *along))


def _meeting(epsilon: Sequence[_Level], density: Sequence[_Level]) -> Iterator[Pair]:
    """The entries that some tensor's name may come to together."""
    filters = sorted({one.filter for one in (*epsilon, *density) if one.filter is not None})
    if len(filters) > _MAX_FILTERS:
        yield from (Pair(e.depth, d.depth) for e in epsilon for d in density)
        return
    for size in range(len(filters) + 1):
        for held in itertools.combinations(filters, size):
            if all(other in held for one in held for other in filters if other in one):
                yield Pair(_first(epsilon, held), _first(density, held))


def _first(levels: Sequence[_Level], held: Sequence[str]) -> Depth:
    return next(one.depth for one in levels if one.filter is None or one.filter in held)
