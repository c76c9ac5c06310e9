"""Reads the layers that slices search: `layer_range: [0, {range: [8, 16]}]`.

A slice's layers are written with its first source. A source that leaves `layer_range` out takes
the same; one that writes it must write the same, or the same moved on by a number of layers:
mergekit wants sources of one length, and one range a slice is then all there is to draw.

Not here: what a point does with them (`layer_stack`), and blocks, which need a number of layers
that does not change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from merging.document import Document, Path
from merging.errors import RecipeError
from merging.recipe_sources import MAX_LAYER
from merging.recipe_values import shown

from .layer_stack import End, SliceEnds, Stack
from .range_keys import LAYER_KEYS
from .space_parts import Dimension, Knot, Slot
from .space_ranges import Range, is_range, read_range
from .space_walk import entries, is_searched, mappings, positions

LAYERS = "layer_range"
"""The key, and what its dimensions are called as a parameter."""


def read_stack(document: Document, data: Mapping[str, Any]) -> Stack:
    """The layers of the slices of a recipe.

    Raises:
        RecipeError: where some are searched, a range that is none, ends that cross, sources of
            other lengths. Faults of other slices are told where the recipe is read.
    """
    slices = mappings(data.get("slices"))
    try:
        stack = Stack(tuple(_Reader(document, at, one).read() for at, one in enumerate(slices)))
    except RecipeError:
        if any(map(is_searched, slices)):
            raise
        return Stack()
    if not stack.searched:
        return stack
    _refuse_depths(document, data, stack)
    if stack.shortest == 0:
        raise document.error(("slices",), "every slice can be empty: one must keep a layer")
    return stack


def dimensions_of(stack: Stack, methods: tuple[str, ...]) -> tuple[list[Dimension], list[Slot]]:
    """The dimensions of a stack and the slots they fill: every method reads them."""
    dimensions, slots = [], []
    for end in (end for one in stack.slices for end in (one.start, one.end)):
        if end.name is not None:
            start = None if end.range.start is None else end.range.start[0]
            own = replace(end.range, start=None)
            at = int(end.path[-1])
            dimensions.append(Dimension(end.name, end.path, LAYERS, None, own, methods, at, start))
            slots.append(Slot(end.path, "constant", (Knot(end.name),), methods))
    return dimensions, slots


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the layers of one slice."""

    document: Document
    index: int
    cut: Mapping[str, object]

    def read(self) -> SliceEnds:
        sources = mappings(self.cut.get("sources"))
        path: Path = ("slices", self.index, "sources")
        if not sources:
            raise self.document.error(path[:-1], "the slice has no `sources`")
        searched = is_searched(self.cut)
        if searched:
            self.refuse_others(path, self.cut["sources"])
        if searched and not is_searched({"sources": sources[:1]}):
            self.refuse_second(path, sources)
        start, end = self.ends((*path, 0, LAYERS), sources[0].get(LAYERS))
        shifts, places = [0], [end.path]
        for at, source in enumerate(sources[1:], start=1):
            place = (*path, at, LAYERS)
            written = source.get(LAYERS)
            if written is None and searched:
                shifts.append(0)
                places.append((*path, at))
                continue
            theirs = self.ends(place, written)
            shifts.append(self.shift(place, (start, end), theirs))
            places.append(theirs[1].path)
        self.refuse_crossing(start, end)
        names = tuple(str(source.get("model")) for source in sources)
        return SliceEnds(start, end, names, tuple(shifts), tuple(places))

    def refuse_others(self, path: Path, sources: object) -> None:
        """Refuses sources that are no mappings: their layers are to be written into them."""
        for at, source in enumerate(sources if isinstance(sources, list) else []):
            if not isinstance(source, Mapping):
                text = f"expected keys and values, got {shown(source)}"
                raise self.document.error((*path, at), text)

    def ends(self, path: Path, data: object) -> tuple[End, End]:
        if not isinstance(data, list) or len(data) != 2:
            text = f"expected [first, end]: two whole numbers, or ranges of them; got {data!r}"
            raise self.document.error(path, text)
        names = (f"slice{self.index}.start", f"slice{self.index}.end")
        first, last = (self.end((*path, at), data[at], names[at]) for at in (0, 1))
        return first, last

    def end(self, path: Path, data: object, name: str) -> End:
        if not is_range(data):
            return End(path, Range(choices=(self.number(path, data),)))
        assert isinstance(data, Mapping)
        for key in data:
            if key not in LAYER_KEYS:
                text = (
                    f"a layer's number has no {key!r}; it takes range, step and start, or choice"
                )
                raise self.document.error((*path, str(key)), text, key=True)
        for key in ("range", "choice"):
            listed = data.get(key)
            for at, one in enumerate(listed if isinstance(listed, list) else []):
                self.number((*path, key, at), one)
        for key in ("step", "start"):
            if key in data:
                self.number((*path, key), data[key])
        return End(path, _whole(read_range(self.document, path, data, None)), name)

    def number(self, path: Path, data: object) -> int:
        if isinstance(data, bool) or not isinstance(data, int) or not 0 <= data <= MAX_LAYER:
            text = f"expected a layer's number, a whole one from 0, got {data!r}"
            raise self.document.error(path, text)
        return data

    def shift(self, path: Path, lead: tuple[End, End], theirs: tuple[End, End]) -> int:
        """How far a source's layers lie behind those of the first."""
        moves = [_move(one, other) for one, other in zip(lead, theirs, strict=True)]
        if moves[0] is None or moves[0] != moves[1]:
            line = self.document.place(lead[0].path).line
            text = (
                f"expected the layers of the first source (line {line}), as they are written "
                "there or moved on by the same number at both ends; without layer_range the "
                "source takes them as they are"
            )
            raise self.document.error(path, text)
        return moves[0]

    def refuse_second(self, path: Path, sources: Sequence[Mapping[str, Any]]) -> NoReturn:
        for at, source in enumerate(sources):
            written = source.get(LAYERS)
            for end, one in enumerate(written if isinstance(written, list) else []):
                if is_range(one):
                    raise self.document.error(
                        (*path, at, LAYERS, end),
                        "the layers of a slice are searched with its first source; write the "
                        "range there",
                    )
        raise AssertionError("is_searched found a range")

    def refuse_crossing(self, start: End, end: End) -> None:
        """Starts that may lie behind the end, where no draw can put that right."""
        both = start.name is not None and end.name is not None
        free = both and not end.range.choices
        if start.high < end.high if free else start.high + int(both) <= end.low:
            return
        if start.name is None and end.name is None:
            text = f"expected first <= end, got [{start.low}, {end.low}]"
        elif both:
            text = (
                f"the slice can start at {start.high} and end at "
                f"{end.high if free else end.low}: it would have no layers"
            )
        elif start.name is None:
            text = f"the slice can end at {end.low}, before its start {start.low}"
        else:
            text = f"the slice can start at {start.high}, behind its end {end.low}"
        blamed = start if start.name is not None else end
        raise self.document.error(blamed.path, text)


def _whole(found: Range) -> Range:
    start = None if found.start is None else tuple(int(one) for one in found.start)
    step = None if found.choices else found.step or 1.0
    return replace(found, integer=not found.choices, step=step, start=start)


def _move(one: End, other: End) -> int | None:
    """By how much all values of the other end are larger; None where they are no such values."""
    pairs = list(zip(one.allowed(), other.allowed(), strict=False))
    moves = {theirs - ours for ours, theirs in (pairs[0], pairs[-1])}
    alike = len(one.allowed()) == len(other.allowed()) and len(moves) == 1
    ours, theirs = one.range.start, other.range.start
    if alike and theirs is not None:
        alike = ours is not None and int(theirs[0]) - int(ours[0]) in moves
    if alike and one.range.choices:
        alike = {theirs - ours for ours, theirs in pairs} == moves
    return moves.pop() if alike else None


def _refuse_depths(document: Document, data: Mapping[str, Any], stack: Stack) -> None:
    """Values along depth that need to know how many layers there are."""
    for position in positions(data, 0):
        own = None if position.slice is None else stack.slices[position.slice]
        if own is not None and not own.searched:
            continue
        for entry in entries(position):
            if not isinstance(entry.data, Mapping):
                continue
            for key in ("blocks", "anchors"):
                if key in entry.data and (key == "blocks" or entry.data[key] == "layers"):
                    what = key if key == "blocks" else "anchors: layers"
                    text = (
                        f"{what} needs slices whose number of layers does not change; where it is "
                        "searched, write a number of anchors: they span the slice at any length"
                    )
                    raise document.error((*entry.path, key), text, key=True)
