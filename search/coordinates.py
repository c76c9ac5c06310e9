"""Between recipe values and the coordinates that samplers draw.

Most coordinates are the value itself. Two kinds are not, so that every draw is a legal recipe
and no two mean the same: densities and epsilons that bound each other (`density_limits`) are
drawn in their whole range, and that is laid over the part of it that is allowed; normalized
weights are drawn as shares (`weight_simplex`).

A drawn number is rounded to six digits, inside its range, before anything is built: what is
scored is what stands in the recipe. Trials keep recipe values; `encode` gives their coordinates
anew for each proposal.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import SpaceError
from .space_parts import Dimension, Values
from .space_points import Space
from .space_ranges import Range, Value, grid_inside, grid_value
from .weight_simplex import Simplex, find_simplexes

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Coordinate = Value
_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The coordinates of one space; made from it alone, and fit to be sent to a process."""

    space: Space
    simplexes: tuple[Simplex, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "simplexes", find_simplexes(self.space))

    @property
    def names(self) -> tuple[str, ...]:
        """All coordinates, in the order of the recipe."""
        each = (name for method in self.space.methods for name in self._names(method))
        return tuple(dict.fromkeys(each))

    def distributions(self, method: str | None = None) -> dict[str, "BaseDistribution"]:
        """Coordinate name to Optuna distribution, in the order of the recipe.

        Args:
            method: Only what this merge method reads; None: everything.
        """
        from optuna.distributions import FloatDistribution

        dimensions = {one.name: one for one in self.space.dimensions}
        names = self.names if method is None else self._names(method)
        return {
            name: dimensions[name].distribution()
            if name in dimensions
            else FloatDistribution(0.0, 1.0)
            for name in names
        }

    def decode(self, coordinates: Mapping[str, Coordinate]) -> dict[str, Value]:
        """The point at coordinates: always inside the space.

        Raises:
            SpaceError: a coordinate is missing.
        """
        try:
            method = self.space.method(coordinates)
            return self._decoded(method, coordinates)
        except KeyError as error:
            raise SpaceError(f"the coordinate {error.args[0]!r} is missing") from None

    def encode(self, values: Values) -> dict[str, Coordinate] | None:
        """The coordinates of a point; None where it has none (all weights of a simplex are 0).

        `decode(encode(values))` is the same merge: equal to six digits, weights of a simplex up
        to their scale.

        Raises:
            SpaceError: the values are no point of the space.
        """
        if fault := self.space.fault(values):
            raise SpaceError(fault)
        method = self.space.method(values)
        result: dict[str, Coordinate] = {}
        for simplex in self.simplexes:
            found = simplex.uniform([float(values[name]) for name in simplex.names])
            if found is None:
                return None
            result |= zip(simplex.coordinates, found, strict=True)
        limited = self._limited(method)
        for name, dimension in self._plain(method).items():
            result[name] = values[name]
            if name in limited:
                bounds = self._interval(name, values)
                result[name] = _spread(dimension.range, *bounds, float(values[name]))
        return {name: result[name] for name in self._names(method)}

    def rounded(self, values: Values) -> Mapping[str, Value]:
        """Its coordinates to five digits, else its values: equal for points that are one merge."""
        found = self.encode(values)
        return {
            name: float(f"{one:.5g}") if isinstance(one, float) else one
            for name, one in (values if found is None else found).items()
        }

    def _decoded(self, method: str, drawn: Mapping[str, Coordinate]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for simplex in self.simplexes:
            weights = simplex.weights([float(drawn[name]) for name in simplex.coordinates])
            values |= {
                name: _tidy(weight, 0.0, simplex.scale)
                for name, weight in zip(simplex.names, weights, strict=True)
            }
        plain, limited = self._plain(method), self._limited(method)
        for name, dimension in plain.items():
            if name not in limited:
                values[name] = _taken(dimension, drawn[name])
        for name in limited:
            own = plain[name].range
            bounds = self._interval(name, values)
            values[name] = _squeezed(own, *bounds, float(drawn[name]))
        return {one.name: values[one.name] for one in self.space.active(method)}

    def _names(self, method: str) -> list[str]:
        """The coordinates of a merge method, in the order of the recipe."""
        shares = {one.names[0]: one.coordinates for one in self.simplexes}
        plain = self._plain(method)
        active = [one.name for one in self.space.active(method)]
        each = (shares.get(name, (name,) if name in plain else ()) for name in active)
        return [name for names in each for name in names]

    def _plain(self, method: str) -> dict[str, Dimension]:
        weights = {name for one in self.simplexes for name in one.names}
        return {one.name: one for one in self.space.active(method) if one.name not in weights}

    def _limited(self, method: str) -> list[str]:
        """What others bound, in the order of deciding: ends of slices, densities, epsilons."""
        ends, limits = self.space.stack.bounded(), self.space.limits
        if method not in limits.methods:
            return ends
        return [*ends, *limits.densities(), *limits.epsilons()]

    def _interval(self, name: str, values: Values) -> tuple[float, float]:
        stack = self.space.stack
        own = stack if name in stack.bounded() else self.space.limits
        return own.interval(name, values)


def _taken(dimension: Dimension, drawn: Coordinate) -> Value:
    own = dimension.range
    if own.choices:
        return drawn
    if own.step is not None:
        return _on_grid(own, round((float(drawn) - own.low) / own.step))
    return _tidy(float(drawn), own.low, own.high)


def _tidy(value: float, low: float, high: float) -> float:
    """The value to six digits, where that is inside [low, high]."""
    short = float(f"{value:.{_DIGITS}g}")
    return short if low <= short <= high else min(max(value, low), high)


def _squeezed(own: Range, low: float, high: float, drawn: float) -> float:
    """A number of the whole range, laid over [low, high]."""
    if own.step is not None:
        first, last = _grid(own, low, high)
        size = round((own.high - own.low) / own.step) + 1
        index = round((drawn - own.low) / own.step) * (last - first + 1) // size
        return _on_grid(own, first + index)
    share = (_scaled(own, drawn) - _scaled(own, own.low)) / _width(own)
    value = _scaled(own, low) + share * (_scaled(own, high) - _scaled(own, low))
    return _tidy(math.exp(value) if own.log else value, low, high)


def _spread(own: Range, low: float, high: float, value: float) -> float:
    """The smallest number of the whole range that is laid on a value of [low, high]."""
    if own.step is not None:
        first, last = _grid(own, low, high)
        size, wanted = (
            round((own.high - own.low) / own.step) + 1,
            round((value - own.low) / own.step),
        )
        index = -(-min(max(wanted - first, 0), last - first) * size // (last - first + 1))
        return _on_grid(own, index)
    width = _scaled(own, high) - _scaled(own, low)
    share = (_scaled(own, value) - _scaled(own, low)) / width if width > 0 else 0.5
    at = _scaled(own, own.low) + min(max(share, 0.0), 1.0) * _width(own)
    return min(max(math.exp(at) if own.log else at, own.low), own.high)


def _on_grid(own: Range, index: int) -> float:
    """A value of the grid; of whole numbers one that is an int."""
    value = grid_value(own.low, own.step or 1.0, index)
    return int(value) if own.integer else value


def _grid(own: Range, low: float, high: float) -> tuple[int, int]:
    found = grid_inside(own, low, high)
    if found is None:
        raise SpaceError(f"no value of [{own.low:g}, {own.high:g}] goes with the others")
    return found


def _scaled(own: Range, value: float) -> float:
    return math.log(value) if own.log else value


def _width(own: Range) -> float:
    return _scaled(own, own.high) - _scaled(own, own.low)
