"""Fronts and hypervolumes in closed form."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.front import hypervolume, hypervolume_history, pareto_front

NUMBERS = st.integers(0, 5).map(float)


def test_the_front_is_what_nobody_dominates() -> None:
    points = [(1, 5), (2, 4), (1, 4), (3, 1), (2, 4), (0, 0)]
    assert pareto_front(points, [True, True]) == [0, 1, 3, 4]  # equal points are both kept
    assert pareto_front(points, [True, False]) == [3, 5]
    assert pareto_front([(3.0,), (5.0,), (5.0,)], [False]) == [0]
    assert pareto_front([(3.0,), (5.0,), (5.0,)], [True]) == [1, 2]
    assert pareto_front([], [True, False]) == []


def test_what_is_no_number_is_never_on_the_front() -> None:
    points = [(np.nan, 9), (1, 1), (np.inf, np.inf), (0, 2)]
    assert pareto_front(points, [True, True]) == [1, 3]
    assert pareto_front(points[:1], [True, True]) == []


@given(
    points=st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=12),
    ups=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_the_front_agrees_with_its_definition(
    points: list[tuple[float, float, float]], ups: tuple[bool, bool, bool]
) -> None:
    signed = [
        tuple(value if up else -value for value, up in zip(one, ups, strict=True))
        for one in points
    ]

    def dominated(one: tuple[float, ...]) -> bool:
        return any(
            other != one and all(a >= b for a, b in zip(other, one, strict=True))
            for other in signed
        )

    expected = [index for index, one in enumerate(signed) if not dominated(one)]
    assert pareto_front(points, ups) == expected


def test_the_hypervolume_on_the_scale_of_the_references() -> None:
    references = [(0.2, 3.0), (0.6, 2.0), (0.4, 1.0)]  # accuracy, bits: 0 is (0.2, 3), 1 (0.6, 1)
    directions = [True, False]
    assert hypervolume([(0.6, 1.0)], directions, references) == pytest.approx(1.0)
    assert hypervolume([(0.4, 2.0)], directions, references) == pytest.approx(0.25)
    assert hypervolume([(0.4, 1.0), (0.6, 2.0)], directions, references) == pytest.approx(0.75)
    assert hypervolume([(1.0, 1.0)], directions, references) == pytest.approx(2.0)
    assert hypervolume([(0.9, 3.5)], directions, references) == 0.0  # worse than all at one
    assert hypervolume([], directions, references) == 0.0


def test_references_that_are_equal_leave_the_metrics_own_unit() -> None:
    assert hypervolume([(0.7, 1.5)], [True, False], [(0.5, 2.0)] * 2) == pytest.approx(0.1)


@given(points=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=15))
def test_the_history_never_falls_and_ends_at_the_whole(
    points: list[tuple[float, float]],
) -> None:
    references = [(1.0, 1.0), (3.0, 2.0)]
    history = hypervolume_history(points, [True, True], references)
    assert len(history) == len(points) and history == sorted(history)
    grid = itertools.product(range(5), range(5))  # unit squares above (1, 1)
    squares = sum(any(x + 1 < a and y + 1 < b for a, b in points) for x, y in grid if x >= 0)
    expected = squares / 2.0  # (3 - 1) x (2 - 1)
    assert (history[-1] if history else 0.0) == pytest.approx(expected)


def test_a_failed_point_adds_nothing() -> None:
    history = hypervolume_history([(2.0,), (np.nan,), (3.0,)], [True], [(1.0,), (2.0,)])
    assert history == [1.0, 1.0, 2.0]
