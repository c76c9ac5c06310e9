"""Points along a front from gradients, where the front is known in closed form."""

import math
from collections.abc import Callable, Sequence

import pytest

from search.chebyshev import (
    APART,
    Evaluation,
    directions,
    ideal_of,
    scalarised,
    search_front,
    step,
)


def world(
    centers: Sequence[Sequence[float]],
) -> tuple[Callable[..., Evaluation], list[Evaluation]]:
    """Utilities 1 - |x - c|^2 for each center: the front is their hull. Keeps what it saw."""
    seen: list[Evaluation] = []

    def evaluate(at: Sequence[float]) -> Evaluation:
        utilities = [1 - sum((a - b) ** 2 for a, b in zip(at, c, strict=True)) for c in centers]
        slopes = [tuple(-2 * (a - b) for a, b in zip(at, c, strict=True)) for c in centers]
        seen.append(Evaluation(tuple(at), tuple(utilities), tuple(slopes)))
        return seen[-1]

    return evaluate, seen


def test_one_objective_is_climbed_in_a_few_evaluations() -> None:
    evaluate, seen = world([(0.9, 0.2, 0.4)])
    first = evaluate((0.1, 0.8, 0.5))
    (found,) = search_front(evaluate, [first], [(1.0,)], 8)
    assert math.dist(found.at, (0.9, 0.2, 0.4)) < 0.02
    assert len(seen) <= 9


def test_points_lie_on_the_front_and_are_spread_along_it() -> None:
    one, other = (0.2, 0.3, 0.5, 0.5), (0.8, 0.9, 0.5, 0.5)
    evaluate, seen = world([one, other])
    first = evaluate((0.5, 0.2, 0.9, 0.1))
    points = search_front(evaluate, [first], directions(2, 8), 16)
    assert len(seen) <= 17
    assert len(points) >= 6
    whole = math.dist(one, other)
    for point in points:
        bent = math.dist(point.at, one) + math.dist(point.at, other) - whole
        assert bent < 0.02, point
    shares = sorted(math.dist(point.at, one) / whole for point in points)
    assert shares[0] < 0.25 and shares[-1] > 0.75
    assert max(b - a for a, b in zip(shares, shares[1:], strict=False)) < 0.35


def test_the_box_binds_and_nothing_is_random() -> None:
    def run() -> list:
        evaluate, _ = world([(1.3, 0.5), (0.5, -0.4)])
        return search_front(evaluate, [evaluate((0.5, 0.5))], directions(2, 5), 12)

    points = run()
    assert points == run()
    assert all(0 <= share <= 1 for point in points for share in point.at)
    assert any(point.at[0] > 0.98 for point in points)


def test_a_known_point_without_slopes_is_asked_for_them_where_it_is_the_best() -> None:
    evaluate, seen = world([(0.5, 0.5)])
    known = [Evaluation((0.1, 0.1), (0.68,), None), Evaluation((0.48, 0.5), (0.9996,), None)]
    search_front(evaluate, known, [(1.0,)], 1)
    assert [one.at for one in seen] == [(0.48, 0.5)]


def test_a_step_that_fails_shrinks_its_region() -> None:
    """Slopes that promise what no step holds: the search ends, and where it began is the best."""
    asked: list[Sequence[float]] = []

    def evaluate(at: Sequence[float]) -> Evaluation:
        asked.append(at)
        return Evaluation(tuple(at), (-math.dist(at, (0.5, 0.5)),), ((1.0, 0.5),))

    first = evaluate((0.5, 0.5))
    (found,) = search_front(evaluate, [first], [(1.0,)], 30)
    assert len(asked) < 12
    sizes = [math.dist(at, (0.5, 0.5)) for at in asked[1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert math.dist(found.at, (0.5, 0.5)) < 0.05


def test_points_without_a_value_are_never_chosen() -> None:
    def evaluate(at: Sequence[float]) -> Evaluation:
        if at[0] > 0.5:
            return Evaluation(tuple(at), (-math.inf,), ((0.0,),))
        return Evaluation(tuple(at), (at[0],), ((1.0,),))

    (found,) = search_front(evaluate, [evaluate((0.3,))], [(1.0,)], 10)
    assert 0.4 < found.at[0] <= 0.55
    assert math.isfinite(found.utilities[0])


@pytest.mark.parametrize(("objectives", "count"), [(1, 4), (2, 8), (3, 12), (4, 16), (9, 16)])
def test_directions_are_distinct_and_begin_in_the_middle(objectives: int, count: int) -> None:
    found = directions(objectives, count)
    assert len(set(found)) == len(found) == (1 if objectives == 1 else count)
    assert found[0] == pytest.approx((1 / objectives,) * objectives)
    assert all(sum(one) == pytest.approx(1) and min(one) > 0 for one in found)


def test_a_quadratic_is_known_once_its_slopes_span_it() -> None:
    evaluate, _ = world([(0.6, 0.4)])
    history = [evaluate(at) for at in ((0.2, 0.2), (0.4, 0.2), (0.2, 0.5))]
    center, ideal = history[0], ideal_of(history)
    at, predicted = step(history, center, (1.0,), ideal, 0.5)
    assert at == pytest.approx((0.6, 0.4), abs=1e-4)
    assert predicted[0] == pytest.approx(1.0, abs=1e-6)
    assert scalarised((1.0,), ideal, predicted) < scalarised((1.0,), ideal, center.utilities)
    assert APART < 0.05
