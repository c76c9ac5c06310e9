"""Weights that are divided by their sum: M of one form are M - 1 numbers and an idle scale.

Stick-breaking from M - 1 uniform numbers u to a point w of the simplex, uniformly distributed
(beta quantiles in closed form): w_1 = 1 - u_1^(1 / (M-1)), w_j = rest x (1 - u_j^(1 / (M-j))),
w_M = the rest.

Weights along depth are one simplex for each anchor or block. At an anchor only the ratio of the
weights is kept, so points whose sums differ from anchor to anchor are told to a sampler as their
nearest of equal sums.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from merging.methods.method import Method
from merging.methods.table import METHODS

from .space_parts import Dimension, Slot
from .space_points import Space
from .space_walk import Position, entries, positions, source_places


@dataclass(frozen=True, slots=True)
class Simplex:
    """The weights of all experts at one place: each in [0, scale], their sum `scale`."""

    names: tuple[str, ...]
    coordinates: tuple[str, ...]
    scale: float

    def weights(self, uniform: Sequence[float]) -> list[float]:
        """The weights for numbers in [0, 1], one fewer than weights."""
        rest, result = 1.0, []
        for index, one in enumerate(uniform):
            share = 1.0 - one ** (1.0 / (len(self.names) - 1 - index))
            result.append(rest * share)
            rest -= result[-1]
        return [self.scale * max(one, 0.0) for one in (*result, rest)]

    def uniform(self, weights: Sequence[float]) -> list[float] | None:
        """The numbers in [0, 1] for weights of any scale; None where all of them are 0."""
        total = sum(weights)
        if total <= 0:
            return None
        rest, result = 1.0, []
        for index, weight in enumerate(weights[:-1]):
            own = weight / total
            share = min(own / rest, 1.0) if rest > 0 else 0.0
            result.append((1.0 - share) ** (len(self.names) - 1 - index))
            rest = max(rest - own, 0.0)
        return result


def find_simplexes(space: Space) -> tuple[Simplex, ...]:
    """The weights that count as ratios only; none unless all have one form and range from 0."""
    if not _normalized(space):
        return ()
    by_slice: dict[int | None, list[list[Slot]]] = {}
    for place in _experts(space):
        slots = _weights(space, place)
        if not slots:
            return ()
        by_slice.setdefault(place.slice, []).append(slots)
    dimensions = {one.name: one for one in space.dimensions}
    found: list[Simplex] = []
    for experts in by_slice.values():
        if len(experts) < 2 or not _alike(space, experts, dimensions):
            return ()
        for alike in zip(*experts, strict=True):
            for names in zip(*(slot.names() for slot in alike), strict=True):
                found.append(_simplex(names, dimensions[names[0]]))
    return tuple(found)


def _simplex(names: tuple[str, ...], first: Dimension) -> Simplex:
    coordinates = tuple(f"share of {name}" for name in names[:-1])
    return Simplex(names, coordinates, min(first.range.high, 1.0))


def _normalized(space: Space) -> bool:
    """Whether for every method only the ratios of the weights count, everywhere."""
    return all(_of_ratios(space, METHODS[name]) for name in space.methods)


def _of_ratios(space: Space, method: Method) -> bool:
    if method.scale_free:
        return True
    switch = method.normalizer
    if switch is None:
        return False
    found = positions(space.template, space.layers)
    told = [one for one in found if one.parameter == switch.name]
    above = any(one.level == "top" for one in told)
    return all(one.data is True for one in told) and (above or switch.default is True)


def _experts(space: Space) -> Iterator[Position]:
    """Every use of a model that has a weight."""
    is_mean = not any(METHODS[name].base_apart for name in space.methods)
    for place in source_places(space.template, space.layers):
        if is_mean or not place.is_base:
            yield place


def _weights(space: Space, place: Position) -> list[Slot]:
    """The slots of an expert's weights, if all of them are searched; none otherwise."""
    slots = {slot.path: slot for slot in space.slots}
    for one in positions(space.template, space.layers):
        if one.path == (*place.path, "weight"):
            found = [slots.get(entry.path) for entry in entries(one)]
            return [] if None in found else [slot for slot in found if slot is not None]
    return []


def _alike(
    space: Space, experts: Sequence[Sequence[Slot]], dimensions: Mapping[str, Dimension]
) -> bool:
    """Whether all experts' weights have the same filters, form and range, from 0, on no grid."""
    forms = set()
    filters = _filters(space)
    for slots in experts:
        form = []
        for slot in slots:
            ranges = [replace(dimensions[name].range, start=None) for name in slot.names()]
            if len(ranges) != len(slot.knots) or any(
                one.low != 0 or one.log or one.step is not None or one.choices for one in ranges
            ):
                return False
            form.append((filters[slot.path], slot.form, tuple(ranges), slot.methods))
        forms.add(tuple(form))
    return len(forms) == 1 and all(slot.methods == space.methods for slot in experts[0])


def _filters(space: Space) -> dict[tuple[str | int, ...], str | None]:
    found = positions(space.template, space.layers)
    return {entry.path: entry.filter for one in found for entry in entries(one)}
