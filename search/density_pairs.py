"""Finds every epsilon and density of a recipe that some tensor may read together.

Filters decide which: an entry of one list and an entry of the other meet if some tensor name,
holding some of the filters and not the others, comes to both. Names are not known here, so every
combination of filters counts, but for those where one filter is part of another.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merging.document import Path
from merging.methods.table import METHODS
from merging.schedule import depth, interpolate

from .density_limits import Depth, Limits, Pair
from .space_blocks import runs
from .space_parts import Knot, Slot
from .space_ranges import Range, Value
from .space_walk import Position, entries, positions, source_places

_MAX_FILTERS = 10
"""More distinct filters than this, and every two entries are taken to meet."""


@dataclass(frozen=True, slots=True)
class _Level:
    """One entry of the chain of settings that a tensor's parameter is looked up in."""

    filter: str | None
    form: str
    knots: tuple[Knot, ...]


def find_limits(
    template: Mapping[str, Any],
    layers: int,
    methods: Sequence[str],
    slots: Sequence[Slot],
    ranges: Mapping[str, Range],
) -> Limits:
    """The limits of a space; no pairs where no method reads epsilon."""
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
            length = place.layers or 0
            found |= dict.fromkeys(_pair(*both, length) for both in _meeting(epsilon, density))
    pairs = tuple(pair for pair in found if pair.epsilon.names or pair.density.names)
    return Limits(pairs, ranges, reading)


def _chain(
    name: str,
    method: str,
    place: Position,
    everything: Sequence[Position],
    slots: Mapping[Path, Slot],
) -> Iterator[_Level]:
    """Where a source's parameter is looked up: its own, its slice's, the recipe's, the default."""
    parameter = METHODS[method].parameter(name)
    default = parameter.default if parameter and parameter.default is not None else 1.0
    for level in ("source", "slice", "top"):
        for one in everything:
            if one.parameter == name and one.level == level and _covers(one, place):
                for entry in entries(one):
                    yield _level(entry.filter, entry.data, slots.get(entry.path), default)
                    if entry.filter is None:
                        return
    yield _level(None, default, None, default)


def _level(filter: str | None, data: object, slot: Slot | None, default: Value) -> _Level:
    """What is no number stands as the default here: reading the recipe refuses it afterwards."""
    if slot is not None:
        return _Level(filter, slot.form, slot.knots)
    numbers = data if isinstance(data, list) and data else [data]
    knots = tuple(Knot(None, one if isinstance(one, int | float) else default) for one in numbers)
    return _Level(filter, "linear" if len(knots) > 1 else "constant", knots)


def _covers(setting: Position, place: Position) -> bool:
    if setting.level == "source":
        return setting.path[:-1] == place.path
    return setting.level == "top" or setting.slice == place.slice


def _pair(epsilon: _Level, density: _Level, length: int) -> Pair:
    """Both at depth 0 (what lies outside the layers), at every layer, and where a gradient bends.

    With blocks, gradients are written one value a layer, and bend nowhere else.
    """
    both = (epsilon, density)
    layers = [(depth(layer, length), layer) for layer in range(length)]
    if all(one.form != "blocks" for one in both):
        bends = {k / (len(one.knots) - 1) for one in both for k in range(len(one.knots)) if k}
        layers += [(t, 0) for t in sorted(bends | {0.0, 1.0})]
    return Pair(*(_depth(one, layers, length) for one in both))


def _depth(level: _Level, layers: Sequence[tuple[float, int]], length: int) -> Depth:
    count = len(level.knots)
    units = [tuple(float(row == column) for column in range(count)) for row in range(count)]
    if level.form == "blocks":
        block = [index for index, (a, b) in enumerate(runs(length, count)) for _ in range(a, b)]
        rows = [units[block[layer]] for _, layer in layers]
    else:
        rows = [tuple(interpolate(unit, t) for unit in units) for t, _ in layers]
    return Depth(level.knots, (units[0], *rows))


def _meeting(
    epsilon: Sequence[_Level], density: Sequence[_Level]
) -> Iterator[tuple[_Level, _Level]]:
    """The entries that some tensor's name may come to together."""
    filters = sorted({one.filter for one in (*epsilon, *density) if one.filter is not None})
    if len(filters) > _MAX_FILTERS:
        yield from itertools.product(epsilon, density)
        return
    for size in range(len(filters) + 1):
        for held in itertools.combinations(filters, size):
            if all(other in held for one in held for other in filters if other in one):
                yield _first(epsilon, held), _first(density, held)


def _first(levels: Sequence[_Level], held: Sequence[str]) -> _Level:
    return next(one for one in levels if one.filter is None or one.filter in held)
