"""Finds every epsilon and density of a recipe that some tensor may read together.

Filters decide which: an entry of one list and an entry of the other meet if some tensor name,
holding some of the filters and not the others, comes to both. Names are not known here, so every
combination of filters counts, but for those where one filter is part of another.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from merging.methods.table import METHODS
from merging.schedule import depth, interpolate

from .density_limits import Depth, Limits, Pair, needed_room
from .space_blocks import runs
from .space_lookup import Level, default_of, look_into
from .space_parts import Slot
from .space_ranges import Range
from .space_walk import Position, is_searched, mappings, source_places

_MAX_FILTERS = 10
"""More distinct filters than this, and every two entries are taken to meet."""


def find_limits(
    template: Mapping[str, Any],
    layers: int,
    methods: Sequence[str],
    slots: Sequence[Slot],
    ranges: Mapping[str, Range],
) -> Limits:
    """The limits of a space; no pairs where no method reads epsilon."""
    reading = tuple(name for name in methods if METHODS[name].ranked)
    found: dict[Pair, None] = {}
    lookup = look_into(template, layers, slots)
    for place in source_places(template, layers) if reading else ():
        if not place.is_base:
            epsilon, density = (
                list(lookup.chain(name, default_of(reading[0], name), place))
                for name in ("epsilon", "density")
            )
            lengths = _lengths(template, place)
            meeting = _meeting(epsilon, density)
            found |= dict.fromkeys(_pair(*both, lengths, ranges) for both in meeting)
    pairs = tuple(pair for pair in found if pair.epsilon.names or pair.density.names)
    return Limits(pairs, ranges, reading)


def _lengths(template: Mapping[str, Any], place: Position) -> range:
    """How many layers the slice of a source can have; every number up to the most, where searched.

    Gradients of one slice are read at other depths in each.
    """
    most = place.layers or 0
    cut = {} if place.slice is None else mappings(template["slices"])[place.slice]
    return range(1 if is_searched(cut) else most, most + 1)


def _pair(epsilon: Level, density: Level, lengths: range, ranges: Mapping[str, Range]) -> Pair:
    """Both at depth 0 (what lies outside the layers), at every layer, and where a gradient bends.

    With blocks, gradients are written one value a layer, and bend nowhere else.
    """
    both = (epsilon, density)
    length = max(lengths, default=0)
    at = {depth(layer, size): layer for size in lengths for layer in range(size)}
    layers = list(at.items())
    if all(one.form != "blocks" for one in both):
        bends = {k / (len(one.knots) - 1) for one in both for k in range(len(one.knots)) if k}
        layers += [(t, 0) for t in sorted(bends | {0.0, 1.0})]
    ours, theirs = (_depth(one, layers, length) for one in both)
    chosen = any(ranges[name].choices for name in ours.names)
    return Pair(ours, theirs, None if chosen else needed_room(ours, theirs, ranges, {}))


def _depth(level: Level, layers: Sequence[tuple[float, int]], length: int) -> Depth:
    count = len(level.knots)
    units = [tuple(float(row == column) for column in range(count)) for row in range(count)]
    rows: list[tuple[float, ...]]
    if level.form == "blocks":
        block = [index for index, (a, b) in enumerate(runs(length, count)) for _ in range(a, b)]
        rows = [units[block[layer]] for _, layer in layers]
    else:
        rows = [tuple(interpolate(unit, t) for unit in units) for t, _ in layers]
    named = (
        tuple((knot, share) for knot, share in enumerate(row) if share > 0)
        for row in (units[0], *rows)
    )
    return Depth(level.knots, tuple(named))


def _meeting(epsilon: Sequence[Level], density: Sequence[Level]) -> Iterator[tuple[Level, Level]]:
    """The entries that some tensor's name may come to together."""
    filters = sorted({one.filter for one in (*epsilon, *density) if one.filter is not None})
    if len(filters) > _MAX_FILTERS:
        yield from itertools.product(epsilon, density)
        return
    for size in range(len(filters) + 1):
        for held in itertools.combinations(filters, size):
            if all(other in held for one in held for other in filters if other in one):
                yield _first(epsilon, held), _first(density, held)


def _first(levels: Sequence[Level], held: Sequence[str]) -> Level:
    return next(one for one in levels if one.filter is None or one.filter in held)
