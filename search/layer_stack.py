"""Slices whose layers are searched: which ends go together, and how deep a candidate can be.

One range is searched a slice; sources beside the first take as many layers, their own a fixed
number further on. An end is drawn after its start, from the part of its range behind it, so every
point is a stack of layers. Where both are searched the slice has a layer at least; where one is a
number it may have none, if the ranges reach that far.

Reads no recipe: see `space_layers`. Which layers a model has is checked once it is open.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merging.document import Document, Path

from .space_ranges import Range, Value, middle


@dataclass(frozen=True, slots=True)
class End:
    """One end of a slice: the number at `path`, or what stands there is searched as `name`."""

    path: Path
    range: Range
    """Of a number: the one choice."""
    name: str | None = None

    @property
    def low(self) -> int:
        """The smallest value."""
        return min(self.allowed()) if self.range.choices else int(self.range.low)

    @property
    def high(self) -> int:
        """The largest value."""
        return max(self.allowed()) if self.range.choices else int(self.range.high)

    def allowed(self) -> Sequence[int]:
        """Every value, in the order of the recipe."""
        own = self.range
        if own.choices:
            return [int(one) for one in own.choices]
        return range(int(own.low), int(own.high) + 1, int(own.step or 1))

    def at(self, values: Mapping[str, Value]) -> int:
        """Its value at a point."""
        return int(self.allowed()[0] if self.name is None else values[self.name])


@dataclass(frozen=True, slots=True)
class SliceEnds:
    """The layers of one slice: those of its first source, and how far on each source's own lie."""

    start: End
    end: End
    models: tuple[str, ...]
    shifts: tuple[int, ...]
    places: tuple[Path, ...]
    """Where the layers of each source are written, or the source, where none are."""

    @property
    def searched(self) -> bool:
        """Whether one of its ends is."""
        return self.start.name is not None or self.end.name is not None

    @property
    def shortest(self) -> int:
        """The fewest layers it can have: one, where both ends are searched."""
        both = self.start.name is not None and self.end.name is not None
        return max(self.end.low - self.start.high, int(both))

    @property
    def longest(self) -> int:
        """The most layers it can have."""
        return self.end.high - self.start.low

    def bounded(self) -> bool:
        """Whether what the end can be depends on where the slice starts."""
        return self.start.name is not None and self.end.name is not None

    def fault(self, values: Mapping[str, Value]) -> str | None:
        """Says why a point has no such slice."""
        start, end = self.start.at(values), self.end.at(values)
        if end - start >= int(self.bounded()):
            return None
        return f"{self.end.name or 'the end'}: expected a layer behind {start}, got {end}"


@dataclass(frozen=True, slots=True)
class Stack:
    """The slices of a recipe, none where it has `models`."""

    slices: tuple[SliceEnds, ...] = ()

    @property
    def searched(self) -> bool:
        """Whether the layers of some slice are."""
        return any(one.searched for one in self.slices)

    @property
    def shortest(self) -> int:
        """The fewest layers that a candidate has."""
        return sum(one.shortest for one in self.slices)

    @property
    def longest(self) -> int:
        """The most layers that a candidate has."""
        return sum(one.longest for one in self.slices)

    def bounded(self) -> list[str]:
        """The ends that are drawn after their starts."""
        found = (one.end for one in self.slices if one.bounded() and not one.end.range.choices)
        return [end.name for end in found if end.name is not None]

    def interval(self, name: str, values: Mapping[str, Value]) -> tuple[float, float]:
        """The part [low, high] of one of `bounded()` that goes with its start; never empty."""
        own = next(one for one in self.slices if one.end.name == name)
        return max(own.end.low, own.start.at(values) + 1), own.end.high

    def moved_inside(self, values: Mapping[str, Value], free: Collection[str]) -> dict[str, Value]:
        """The values, free ends that lie before their start put in the middle of what does not."""
        result = dict(values)
        for one in self.slices:
            if one.fault(result) is None:
                continue
            end, start = one.end, one.start
            if end.name is not None and end.name in free and not end.range.choices:
                result[end.name] = int(middle(end.range, *self.interval(end.name, result)))
            elif start.name is not None and start.name in free:
                before = [at for at in start.allowed() if at < end.at(result)]
                result |= {start.name: max(before)} if before else {}
        return result

    def fault(self, values: Mapping[str, Value]) -> str | None:
        """Says which slice a point gives no layers, None where all are well."""
        return next((told for one in self.slices if (told := one.fault(values))), None)

    def spread(self, data: dict[str, Any]) -> None:
        """Gives every source its layers in a recipe whose first sources have theirs."""
        for index, one in enumerate(self.slices):
            if one.searched:
                sources = data["slices"][index]["sources"]
                first, end = sources[0]["layer_range"]
                for source, shift in zip(sources, one.shifts, strict=True):
                    source["layer_range"] = [first + shift, end + shift]

    def largest(self) -> dict[str, Value]:
        """The ends of the deepest candidate."""
        ends = ((one.start, one.start.low) for one in self.slices)
        others = ((one.end, one.end.high) for one in self.slices)
        return {end.name: at for end, at in (*ends, *others) if end.name is not None}

    def in_place(self, layers: int) -> dict[str, Value] | None:
        """Ends at which the slices are layers 0, 1, ... to the last of each model.

        None if there are none; of several, those that make the first slices shortest. The `models`
        form has nothing to move.
        """
        values: dict[str, Value] = {}
        before = 0
        if any(shift for one in self.slices for shift in one.shifts):
            return None
        for one, start, end in self._junctions(layers):
            found = [at for at in end if at >= before + int(one.bounded())]
            if before not in start or not found:
                return None
            values |= {one.start.name: before} if one.start.name else {}
            before = min(found)
            values |= {one.end.name: before} if one.end.name else {}
        return values

    def _junctions(self, layers: int) -> Iterator[tuple[SliceEnds, set[int], set[int]]]:
        """Each slice, where it can start, and where it can end for the next one to follow on."""
        starts = [set(one.start.allowed()) for one in self.slices]
        following = [*starts[1:], {layers}][: len(starts)]
        for one, start, after in zip(self.slices, starts, following, strict=True):
            yield one, start, set(one.end.allowed()) & after

    def refuse_outside(self, document: Document, depths: Mapping[str, int]) -> None:
        """Refuses ends beyond the layers of a model.

        Args:
            document: The recipe, for the place.
            depths: Each model's layers, by its name as written.

        Raises:
            RecipeError: with the place.
        """
        for one in self.slices:
            for model, shift, place in zip(one.models, one.shifts, one.places, strict=True):
                if one.searched and one.end.high + shift > depths[model]:
                    has = f"{depths[model]} layers" if depths[model] != 1 else "1 layer"
                    text = f"{model!r} has {has}, the slice can end at {one.end.high + shift}"
                    raise document.error(place, text)
