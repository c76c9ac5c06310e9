"""Points along a front from gradients: weighted Chebyshev scalarisations in a trust region.

Minimised is max_o w_o (z_o - u_o) + rho sum_o w_o (z_o - u_o) over points in the unit cube, for
each of several weights w; u are utilities (higher is better), z is a little better than the best
known (Steuer and Choo 1983, doi:10.1007/BF02591870). Every evaluation gives all utilities and
their slopes, so all scalarisations share all evaluations: each goes on from the point that is best
for it, with a quadratic model whose curvature comes from the differences of known slopes (SR1),
made concave. A step is accepted where the scalarisation improves, else its region shrinks.

Nothing random; the same evaluations give the same points.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RHO = 0.02
MARGIN = 0.1
"""How much better than the best known z is, in units of the scale."""
START, SMALLEST, LARGEST = 0.25, 0.02, 0.5
"""Radii of regions, as shares of every range."""
FLOOR = 0.08
"""The smallest weight of a scalarisation: no objective is given up."""
APART = 0.01
"""Points closer than this in every coordinate are one."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A point of the unit cube with its utilities; slopes (objectives, coordinates), or None."""

    at: tuple[float, ...]
    utilities: tuple[float, ...]
    slopes: tuple[tuple[float, ...], ...] | None


@dataclass(frozen=True, slots=True)
class Point:
    """A starting point that was found: what is predicted of it, and whether it was evaluated."""

    at: tuple[float, ...]
    utilities: tuple[float, ...]
    evaluated: bool
    weights: tuple[float, ...]


Evaluate = Callable[[Sequence[float]], Evaluation]


def directions(objectives: int, count: int) -> list[tuple[float, ...]]:
    """Weights spread over the simplex, the middle first, then each far from those before."""
    if objectives == 1:
        return [(1.0,)]
    parts = 1
    while math.comb(parts + objectives - 1, objectives - 1) < count:
        parts += 1
    lattice = [
        tuple(chosen.count(number) / parts for number in range(objectives))
        for chosen in itertools.combinations_with_replacement(range(objectives), parts)
    ]
    spread = [(1 / objectives,) * objectives]
    while len(spread) < count:
        rest = [one for one in lattice if all(_far(one, other) > 1e-9 for other in spread)]
        if not rest:
            break
        spread.append(max(rest, key=lambda one: (min(_far(one, o) for o in spread), one)))
    floored = [tuple(max(share, FLOOR) for share in one) for one in spread]
    return [tuple(share / sum(one) for share in one) for one in floored]


def scalarised(
    weights: Sequence[float], ideal: Sequence[float], utilities: Sequence[float]
) -> float:
    """The scalarisation; lower is better."""
    parts = [w * (z - u) for w, z, u in zip(weights, ideal, utilities, strict=True)]
    return max(parts) + RHO * math.fsum(parts)


def search_front(
    evaluate: Evaluate,
    known: Sequence[Evaluation],
    weights: Sequence[tuple[float, ...]],
    evaluations: int,
) -> list[Point]:
    """Points for each of the weights, by at most so many evaluations of slopes.

    Args:
        evaluate: Gives utilities and slopes at a point, and the point as it really is (on a
            grid); utilities of -inf where there are none.
        known: Points to begin with, at least one; slopes where they are known already.
        weights: Of the scalarisations, the most important first.
        evaluations: How many may be asked for.

    Returns:
        For each of the weights the best point known or predicted, without repetitions.
    """
    history = list(known)
    radii = dict.fromkeys(weights, START)
    left = evaluations
    while left > 0 and any(radius >= SMALLEST for radius in radii.values()):
        for one in weights:
            if left <= 0 or radii[one] < SMALLEST:
                continue
            asked = _turn(evaluate, history, one, radii)
            left -= asked
    return _distinct([_concluded(history, one, radii[one]) for one in weights])


def _turn(
    evaluate: Evaluate,
    history: list[Evaluation],
    weights: tuple[float, ...],
    radii: dict[tuple[float, ...], float],
) -> int:
    """One scalarisation's next evaluation, if it has one; how many were asked for."""
    ideal = ideal_of(history)
    best = _best(history, weights, ideal)
    if best.slopes is None:
        history[history.index(best)] = evaluate(best.at)
        return 1
    at, predicted = step(history, best, weights, ideal, radii[weights])
    near = min(_far(at, other.at) for other in history)
    if near < APART / 2:
        radii[weights] *= 0.4
        return 0
    found = evaluate(at)
    history.append(found)
    before = scalarised(weights, ideal, best.utilities)
    hoped = before - scalarised(weights, ideal, predicted)
    gained = before - scalarised(weights, ideal, found.utilities)
    if gained < 0.1 * hoped or hoped <= 0:
        radii[weights] *= 0.4
    elif gained > 0.75 * hoped and _far(found.at, best.at) > 0.9 * radii[weights]:
        radii[weights] = min(2 * radii[weights], LARGEST)
    return 1


def ideal_of(history: Sequence[Evaluation]) -> tuple[float, ...]:
    """A little better than the best known, of every objective, and than the best parent (1)."""
    columns = zip(*(one.utilities for one in history), strict=True)
    return tuple(max(1.0, *column) + MARGIN for column in columns)


def step(
    history: Sequence[Evaluation],
    center: Evaluation,
    weights: Sequence[float],
    ideal: Sequence[float],
    radius: float,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The best point of the model in the region around a center, and what is predicted there."""
    from scipy.optimize import minimize

    at = np.array(center.at)
    slopes = np.array(center.slopes)
    curves = [_curvature(history, center, number) for number in range(len(slopes))]
    low, high = np.maximum(-radius, -at), np.minimum(radius, 1 - at)

    def utilities(move: Floats) -> Floats:
        bent = [0.5 * move @ curve @ move for curve in curves]
        found: Floats = np.array(center.utilities) + slopes @ move + np.array(bent)
        return found

    def rates(move: Floats) -> Floats:
        found: Floats = slopes + np.array([curve @ move for curve in curves])
        return found

    w, z = np.array(weights), np.array(ideal)

    def target(x: Floats) -> tuple[float, Floats]:
        move = x[:-1]
        value = x[-1] + RHO * float(w @ (z - utilities(move)))
        return value, np.append(-RHO * (w @ rates(move)), 1.0)

    first = np.zeros(len(at) + 1)
    first[-1] = float(np.max(w * (z - np.array(center.utilities))))
    found: Any = minimize(  # type: ignore[call-overload]
        target,
        first,
        jac=True,
        method="SLSQP",
        bounds=[*zip(low, high, strict=True), (None, None)],
        constraints={
            "type": "ineq",
            "fun": lambda x: x[-1] - w * (z - utilities(x[:-1])),
            "jac": lambda x: np.column_stack([w[:, None] * rates(x[:-1]), np.ones(len(w))]),
        },
        options={"maxiter": 200, "ftol": 1e-9},
    )
    move = np.clip(np.nan_to_num(found.x[:-1]), low, high)
    if _worse(weights, ideal, utilities(move), center.utilities):
        move = np.zeros(len(at))
    return tuple(map(float, at + move)), tuple(map(float, utilities(move)))


def _curvature(history: Sequence[Evaluation], center: Evaluation, number: int) -> Floats:
    """The concave part of the curvature that the differences of slopes say (SR1, far ones first).

    Nocedal and Wright, Numerical Optimization, equation 6.24, with their rule to skip an update.
    """
    size = len(center.at)
    curve = np.zeros((size, size))
    others = [one for one in history if one.slopes is not None and one.at != center.at]
    for one in sorted(others, key=lambda other: -_far(other.at, center.at)):
        if not all(map(math.isfinite, one.utilities)) or one.slopes is None:
            continue
        move = np.array(one.at) - np.array(center.at)
        change = np.array(one.slopes[number]) - np.array((center.slopes or ())[number])
        rest = change - curve @ move
        along = float(rest @ move)
        if abs(along) > 1e-3 * float(np.linalg.norm(rest) * np.linalg.norm(move)):
            curve += np.outer(rest, rest) / along
    values, vectors = np.linalg.eigh((curve + curve.T) / 2)
    concave: Floats = (vectors * np.minimum(values, 0.0)) @ vectors.T
    return concave


def _concluded(history: Sequence[Evaluation], weights: tuple[float, ...], radius: float) -> Point:
    """The best known point of a scalarisation, or the model's next step where that is better."""
    ideal = ideal_of(history)
    best = _best([one for one in history if one.slopes is not None] or history, weights, ideal)
    known = Point(best.at, best.utilities, True, weights)
    if best.slopes is None:
        return known
    at, predicted = step(history, best, weights, ideal, max(radius, SMALLEST))
    if _far(at, best.at) < APART or _worse(weights, ideal, predicted, best.utilities):
        return known
    return Point(at, predicted, False, weights)


def _distinct(points: Sequence[Point]) -> list[Point]:
    found: list[Point] = []
    for one in points:
        if all(_far(one.at, other.at) >= APART for other in found):
            found.append(one)
    return found


def _best(
    history: Sequence[Evaluation], weights: Sequence[float], ideal: Sequence[float]
) -> Evaluation:
    return min(history, key=lambda one: scalarised(weights, ideal, one.utilities))


def _worse(
    weights: Sequence[float],
    ideal: Sequence[float],
    one: Sequence[float] | Floats,
    other: Sequence[float],
) -> bool:
    return scalarised(weights, ideal, list(one)) >= scalarised(weights, ideal, other)


def _far(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
