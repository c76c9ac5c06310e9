"""Predictions are followed while they rank candidates as their scores do."""

import random

import pytest

from search.predictions import rank_correlation, trusted


def test_rank_correlation_of_what_agrees_is_one_and_of_what_is_turned_minus_one() -> None:
    scored = [(float(n), -float(n)) for n in range(8)]
    assert rank_correlation([(2 * a, 5 * b**3) for a, b in scored], scored) == pytest.approx(1)
    assert rank_correlation([(-a, -b) for a, b in scored], scored) == pytest.approx(-1)


def test_one_objective_that_misleads_halves_it() -> None:
    draw = random.Random(0)
    scored = [(draw.random(), draw.random()) for _ in range(10)]
    predicted = [(one, -other) for one, other in scored]
    assert rank_correlation(predicted, scored) == pytest.approx(0, abs=1e-9)
    assert trusted(predicted, scored) == (False, pytest.approx(0, abs=1e-9))


def test_too_few_are_trusted_and_six_are_looked_at() -> None:
    wrong = [(float(n),) for n in range(6)]
    right = [(-float(n),) for n in range(6)]
    assert trusted(wrong[:5], right[:5]) == (True, None)
    assert trusted(wrong, right) == (False, pytest.approx(-1))
    assert trusted(wrong, wrong) == (True, pytest.approx(1))


def test_scores_that_do_not_differ_rank_nothing() -> None:
    predicted = [(float(n),) for n in range(6)]
    assert rank_correlation(predicted, [(0.5,)] * 6) is None
    assert trusted(predicted, [(0.5,)] * 6) == (False, None)


def test_no_single_candidate_decides() -> None:
    """One outlier makes Pearson's correlation, not this one."""
    predicted = [(0.1,), (0.2,), (0.3,), (0.4,), (0.5,), (9.0,)]
    scored = [(0.5,), (0.4,), (0.3,), (0.2,), (0.1,), (9.0,)]
    assert not trusted(predicted, scored)[0]
