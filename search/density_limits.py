"""Which densities and epsilons go together: DELLA's density +- epsilon stays inside (0, 1).

For a density below 1, epsilon must be below min(density, 1 - density), in every layer, wherever
both are read. So no invalid trial is proposed: densities are drawn first, from the part of their
range that leaves room for the smallest epsilon; each epsilon then from the part of its range
that these densities allow.

Along depth both may be interpolated between values at different depths. Then a value is bounded
by the tightest layer that it touches: sufficient, and necessary where both change at the same
depths. Not here: recipes without a range in either; `merging` checks their numbers.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from .space_parts import Knot
from .space_ranges import Range, Value, grid_inside, middle

ROOM = 1e-6
"""Share of the room that stays free, so that rounding cannot close it."""


@dataclass(frozen=True, slots=True)
class Depth:
    """A parameter along depth: at a layer the sum of share x knot over `shares[layer]`.

    The first row is depth 0; a row names the knots that have a say there, as (knot, share).
    """

    knots: tuple[Knot, ...]
    shares: tuple[tuple[tuple[int, float], ...], ...]

    @property
    def names(self) -> list[str]:
        """The dimensions among its knots."""
        return [knot.name for knot in self.knots if knot.name is not None]

    def where(self, name: str) -> list[int]:
        """The knots that a dimension gives."""
        return [index for index, knot in enumerate(self.knots) if knot.name == name]

    def touched(self, knot: int) -> Iterator[int]:
        """The layers on which one knot has a say."""
        return (at for at, row in enumerate(self.shares) if any(one == knot for one, _ in row))

    def along(self, number: Callable[[Knot], float]) -> list[float]:
        """The value at every layer."""
        numbers = [number(knot) for knot in self.knots]
        return [sum(share * numbers[knot] for knot, share in row) for row in self.shares]

    def highest(self, number: Callable[[Knot], float]) -> list[float]:
        """At every layer the highest of the knots that have a say there."""
        numbers = [number(knot) for knot in self.knots]
        return [max(numbers[knot] for knot, _ in row) for row in self.shares]


@dataclass(frozen=True, slots=True)
class Pair:
    """An epsilon and a density that some tensor reads together."""

    epsilon: Depth
    density: Depth
    needs: tuple[float, ...] | None
    """`needed_room`, where no choice decides it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Every pair of a space, and the ranges of the dimensions in them."""

    pairs: tuple[Pair, ...]
    ranges: Mapping[str, Range]
    methods: tuple[str, ...]
    """The methods that read both."""

    def densities(self) -> list[str]:
        """The numeric dimensions that are bounded by the smallest epsilon, to be drawn first."""
        return self._numbers(name for pair in self.pairs for name in pair.density.names)

    def epsilons(self) -> list[str]:
        """The numeric dimensions that are bounded by the densities, to be drawn last."""
        return self._numbers(name for pair in self.pairs for name in pair.epsilon.names)

    def interval(self, name: str, values: Mapping[str, Value]) -> tuple[float, float]:
        """The part [low, high] of a dimension's range that is allowed; empty if low > high.

        Args:
            name: One of `densities()` or `epsilons()`.
            values: Every choice; for an epsilon the densities too.
        """
        low, high = self.ranges[name].low, self.ranges[name].high
        for pair in self.pairs:
            for knot in pair.density.where(name):
                need = self._needs(pair, values)[knot]
                low, high = max(low, need), min(high, 1 - need if need > 0 else 1.0)
            for knot in pair.epsilon.where(name):
                high = min(high, self._cap(pair, knot, values))
        return low, high

    def moved_inside(self, values: Mapping[str, Value], free: Collection[str]) -> dict[str, Value]:
        """The values, free ones that do not go together put in the middle of what does."""
        result = dict(values)
        for name in (*self.densities(), *self.epsilons()):
            if name in free and name in result:
                low, high = self.interval(name, result)
                if not low <= float(result[name]) <= high:
                    result[name] = middle(self.ranges[name], low, high)
        return result

    def fault(self, values: Mapping[str, Value]) -> str | None:
        """Says which values do not go together, None where all do."""
        number = self._reader(values)
        for pair in self.pairs:
            together = zip(pair.epsilon.along(number), pair.density.along(number), strict=True)
            for epsilon, density in together:
                if density < 1 and not (density - epsilon > 0 and density + epsilon < 1):
                    names = ", ".join(dict.fromkeys(pair.epsilon.names + pair.density.names))
                    return (
                        f"{names}: epsilon {epsilon:g} does not go with density {density:g}; it "
                        f"must be below {_room(density):g}, the smaller of density and 1 - density"
                    )
        return None

    def impossible(self) -> tuple[str, str] | None:
        """The first dimension that may be left without room, and why; None if there is none."""
        worst = {
            name: max(float(one) for one in self.ranges[name].choices)
            for pair in self.pairs
            for name in pair.epsilon.names
            if self.ranges[name].choices
        }
        for pair in self.pairs:
            blame = (*pair.epsilon.names, *pair.density.names)[0]
            for one, need in zip(pair.density.knots, self._needs(pair, worst), strict=True):
                if not self._leaves_room(pair, one, need, worst):
                    return blame, (
                        "epsilon must be below density and 1 - density in every layer, and "
                        f"epsilon {need:g} leaves no room for {self._words(one)}; mend one of them"
                    )
        return None

    def _leaves_room(
        self, pair: Pair, knot: Knot, need: float, worst: Mapping[str, Value]
    ) -> bool:
        flat = all(len(row) == 1 for row in pair.density.shares)  # no value between two knots
        options: tuple[Value, ...] = (knot.value,)
        if knot.name is not None:
            if not self.ranges[knot.name].choices:
                low, high = self.interval(knot.name, worst)
                return grid_inside(self.ranges[knot.name], low, high) is not None
            options = self.ranges[knot.name].choices
        return all(need <= float(one) <= 1 - need or (float(one) >= 1 and flat) for one in options)

    def _needs(self, pair: Pair, values: Mapping[str, Value]) -> tuple[float, ...]:
        if pair.needs is not None:
            return pair.needs
        return needed_room(pair.epsilon, pair.density, self.ranges, values)

    def _cap(self, pair: Pair, knot: int, values: Mapping[str, Value]) -> float:
        number = self._reader(values)
        densities = [number(one) for one in pair.density.knots]
        if pair.epsilon.shares == pair.density.shares and max(densities) < 1:
            return _room(densities[knot]) * (1 - ROOM)  # min(d, 1 - d) is concave
        along = pair.density.along(number)
        rooms = [_room(along[layer]) for layer in pair.epsilon.touched(knot)]
        return min(rooms, default=math.inf) * (1 - ROOM)

    def _reader(self, values: Mapping[str, Value]) -> Callable[[Knot], float]:
        return lambda knot: float(knot.value if knot.name is None else values[knot.name])

    def _numbers(self, names: Iterator[str]) -> list[str]:
        return [name for name in dict.fromkeys(names) if not self.ranges[name].choices]

    def _words(self, knot: Knot) -> str:
        if knot.name is None:
            return f"density {knot.value}"
        one = self.ranges[knot.name]
        return f"{knot.name} in {list(one.choices) or [one.low, one.high]}"


def needed_room(
    epsilon: Depth, density: Depth, ranges: Mapping[str, Range], choices: Mapping[str, Value]
) -> tuple[float, ...]:
    """How far each knot of a density must stay from 0 and from 1, whatever epsilon is drawn."""

    def lowest(knot: Knot) -> float:
        if knot.name is not None and not ranges[knot.name].choices:
            return ranges[knot.name].low
        return float(knot.value if knot.name is None else choices[knot.name])

    floor = epsilon.highest(lowest) if epsilon.names else epsilon.along(lowest)
    return tuple(
        max((floor[layer] for layer in density.touched(knot)), default=0.0) * (1 + 2 * ROOM)
        for knot in range(len(density.knots))
    )


def _room(density: float) -> float:
    """Epsilon must be below this; at a density of 1 everything is kept, whatever epsilon is."""
    return math.inf if density >= 1 else min(density, 1 - density)
