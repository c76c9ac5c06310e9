"""Utilities of a space's points by their losses: the base at 0, the best parent at 1; and slopes.

What `gradients` searches: points are places of the unit cube of weights and lambdas, everything
else stays as it is at the point where a search begins.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .chebyshev import APART, Evaluation, Point, directions, ideal_of, scalarised, search_front
from .errors import SearchError
from .front import pareto_front
from .losses import Losses, Taken
from .objectives import Scale, make_scale
from .space_parts import Dimension, Values
from .space_points import Space
from .space_ranges import Value
from .space_slopes import moved_dimensions, scaled, stretch, unscaled
from .warm_start import Reference, WarmStart


class UnfitError(SearchError):
    """Gradients do not apply; the message says why."""


def loss_scales(losses: Losses, references: Sequence[Reference]) -> tuple[Scale, ...]:
    """The scale of every objective's loss.

    Raises:
        UnfitError: the base has no finite loss.
    """
    named = [one for one in references if one.role in ("base", "parent")]
    taken = [(one.role, losses.of_recipe(one.data)) for one in named]
    base = next(own for role, own in taken if role == "base")
    if not base.finite:
        raise UnfitError("the base has no finite loss")
    parents = [own for role, own in taken if role == "parent" and own.finite]
    return tuple(
        make_scale(zero, [one.losses[k] for one in parents], False)
        for k, zero in enumerate(base.losses)
    )


@dataclass(frozen=True, slots=True)
class Landscape:
    """Where gradients lead, from one point: `begin`, of which only `moved` dimensions move."""

    losses: Losses
    scales: tuple[Scale, ...]
    begin: Values
    moved: tuple[Dimension, ...]

    def values(self, at: Sequence[float]) -> dict[str, Value]:
        """The point of the space at a place of the unit cube."""
        shares = zip(self.moved, at, strict=True)
        return {**self.begin, **{one.name: unscaled(one.range, share) for one, share in shares}}

    def place(self, values: Values) -> tuple[float, ...]:
        """The place of a point in the unit cube."""
        return tuple(scaled(one.range, values[one.name]) for one in self.moved)

    def evaluate(self, at: Sequence[float]) -> Evaluation:
        """Utilities and slopes, at the place as it is once the recipe's numbers are rounded."""
        values = self.values(at)
        taken = self.losses.of_point(values, slopes=True)
        utilities = utilities_of(self.scales, taken)
        slopes = tuple((0.0,) * len(self.moved) for _ in utilities)
        if taken.finite:
            slopes = tuple(
                tuple(
                    own[one.name] * stretch(one.range, values[one.name]) / scale.unit
                    for one in self.moved
                )
                for own, scale in zip(taken.slopes, self.scales, strict=True)
            )
        return Evaluation(self.place(values), utilities, slopes)

    def points(self, known: Sequence[Evaluation], count: int, evaluations: int) -> list[Point]:
        """So many points along the front, by so many evaluations at most; fewer if there are."""
        history = list(known)

        def evaluate(at: Sequence[float]) -> Evaluation:
            history.append(self.evaluate(at))
            return history[-1]

        weights = directions(len(self.scales), count)
        found = search_front(evaluate, known, weights, evaluations)
        return _filled(found, history, count)

    def step(self, evaluations: int) -> Point:
        """The best point near `begin`, for the scalarisation that `begin` is the best of.

        Raises:
            UnfitError: `begin` has no finite loss.
        """
        start = self.evaluate(self.place(self.begin))
        if not all(map(math.isfinite, start.utilities)):
            raise UnfitError("the loss of the member that it begins at is not finite")
        ideal = ideal_of([start])
        inverse = [1 / max(z - u, 1e-3) for z, u in zip(ideal, start.utilities, strict=True)]
        weights = tuple(one / sum(inverse) for one in inverse)
        (point,) = search_front(self.evaluate, [start], [weights], evaluations - 1)
        return point


def utilities_of(scales: Sequence[Scale], taken: Taken) -> tuple[float, ...]:
    """Losses on their scales, higher is better; -inf where there is none."""
    pairs = zip(scales, taken.losses, strict=True)
    return tuple(scale.utility(loss) if taken.finite else -float("inf") for scale, loss in pairs)


def begin_at_best(
    losses: Losses, scales: tuple[Scale, ...], space: Space, starts: Sequence[WarmStart]
) -> tuple[Landscape, list[Evaluation]]:
    """The landscape around the warm start of the best loss; and those like it but for weights.

    Raises:
        UnfitError: none has a finite loss.
    """
    taken = [(one.values, losses.of_point(one.values, slopes=False)) for one in starts]
    found = [(values, utilities_of(scales, own)) for values, own in taken if own.finite]
    if not found:
        raise UnfitError("no warm start has a finite loss")
    middle = directions(len(scales), 1)[0]
    ideal = ideal_of([Evaluation((), utilities, None) for _, utilities in found])
    begin, _ = min(found, key=lambda one: scalarised(middle, ideal, one[1]))
    moved = moved_dimensions(space, space.method(begin))
    landscape = Landscape(losses, scales, begin, moved)
    names = {one.name for one in moved}
    return landscape, [
        Evaluation(landscape.place(values), own, None)
        for values, own in found
        if _without(values, names) == _without(begin, names)
    ]


def _without(values: Values, names: set[str]) -> Mapping[str, Value]:
    return {name: value for name, value in values.items() if name not in names}


def _filled(points: Sequence[Point], history: Sequence[Evaluation], count: int) -> list[Point]:
    """The points, and others of the front of what was evaluated, up to a count."""
    found = list(points[:count])
    known = [
        one for one in history if one.slopes is not None and all(map(math.isfinite, one.utilities))
    ]
    while len(found) < count:
        apart = [
            one for one in known if all(_distance(one.at, other.at) >= APART for other in found)
        ]
        directions_up = [True] * len(apart[0].utilities) if apart else []
        best = pareto_front([one.utilities for one in apart], directions_up) if apart else []
        if not best:
            break
        one = apart[min(best)]
        found.append(Point(one.at, one.utilities, True, ()))
    return found


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
