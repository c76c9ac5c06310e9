"""How far out the ends of an interval are, in closed form, and what was not seen."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.ends import widened
from evaluation.pairing import PairedMetric, PairedTask
from evaluation.resampling import RatioOfSums
from evaluation.statistics import (
    bootstrap_interval,
    paired_interval,
    utility_difference_interval,
)
from evaluation.unseen import paired_room, room_of, with_room

MEAN = RatioOfSums()
ALL_RIGHT = np.ones((40, 1))
SHARE = 1 - 0.025 ** (1 / 40)
"""Of groups that may be otherwise although none of 40 was."""


def signs(n: int) -> np.ndarray:
    """Influences whose squares are all 1, so that their spread is known as well as n allows."""
    return np.where(np.arange(n) % 2, 1.0, -1.0)


@pytest.mark.parametrize(("n", "level"), [(30, 0.95), (40, 0.95), (200, 0.9)])
def test_of_even_groups_it_is_hesterbergs(n: int, level: float) -> None:
    expected = math.sqrt(n / (n - 1)) * stats.t.ppf((1 + level) / 2, n - 1)
    assert widened([signs(n)], 1.0, level) == pytest.approx(expected, rel=1e-12)


def test_of_strata_degrees_of_freedom_are_satterthwaites() -> None:
    parts = [signs(20), 3 * signs(10)]
    v = np.array([1 / 19, 9 / 9])
    degrees = v.sum() ** 2 / (v[0] ** 2 / 19 + v[1] ** 2 / 9)
    factor = math.sqrt(v.sum() / (1 / 20 + 9 / 10))
    assert widened(parts, 2.0, 0.95) == pytest.approx(factor * stats.t.ppf(0.975, degrees))
    assert 9 < degrees < 11


def test_long_tails_take_degrees_of_freedom_and_leave_four() -> None:
    normal = stats.norm.ppf((np.arange(60) + 0.5) / 60)
    outlier = np.concatenate([np.zeros(59), [1.0]])
    assert widened([signs(60)], 1.0, 0.95) < widened([normal**3], 9.0, 0.95)
    factor = math.sqrt(60 / 59)
    assert widened([outlier], 1.0, 0.95) == pytest.approx(factor * stats.t.ppf(0.975, 4))


def test_resamples_that_vary_less_than_the_jackknife_widen_up_to_a_half() -> None:
    n = 50
    deviation = 1 / math.sqrt(n - 1)
    t = stats.t.ppf(0.975, n - 1)
    assert widened([signs(n)], deviation / 1.2, 0.95) == pytest.approx(1.2 * t)
    assert widened([signs(n)], deviation / 4, 0.95) == pytest.approx(1.5 * t)


def test_where_a_group_cannot_be_left_out_groups_alone_count() -> None:
    broken = np.array([math.nan, *np.ones(39)])
    expected = math.sqrt(40 / 39) * stats.t.ppf(0.975, 39)
    assert widened([broken], 1.0, 0.95) == pytest.approx(expected)
    assert widened([np.zeros(40)], 0.0, 0.95) == pytest.approx(expected)


def test_nobody_is_right_for_ever_because_forty_were() -> None:
    """The exact bound for none of n, 1 - tail^(1/n), which is 3/n for a tail of 5%."""
    groups, strata = [str(k) for k in range(40)], [""] * 40
    got = bootstrap_interval(ALL_RIGHT, groups, strata, MEAN, seed=0)
    assert (got.low, got.high) == (pytest.approx(0.025 ** (1 / 40)), 1.0)
    got = bootstrap_interval(0 * ALL_RIGHT, groups, strata, MEAN, seed=0)
    assert (got.low, got.high) == (0.0, pytest.approx(SHARE))
    got = paired_interval(ALL_RIGHT, ALL_RIGHT, groups, strata, MEAN, seed=0)
    assert (got.low, got.high) == (pytest.approx(-SHARE), pytest.approx(SHARE))


def test_only_what_was_not_seen_has_room() -> None:
    one_wrong = np.array([[0.0], *[[1.0]] * 39])
    assert room_of(ALL_RIGHT, MEAN, 40, 0.95) == (pytest.approx(SHARE), 0.0)
    assert room_of(one_wrong, MEAN, 40, 0.95) == (0.0, 0.0)
    assert paired_room(ALL_RIGHT, one_wrong, MEAN, 40, 0.95) == (pytest.approx(SHARE), 0.0)
    assert paired_room(one_wrong, ALL_RIGHT, MEAN, 40, 0.95) == (0.0, pytest.approx(SHARE))
    turned = one_wrong[::-1]
    assert paired_room(one_wrong, turned, MEAN, 40, 0.95) == (0.0, 0.0)


def test_only_means_of_right_and_wrong_have_room() -> None:
    half = 0.5 * ALL_RIGHT
    assert room_of(half, MEAN, 40, 0.95) == (0.0, 0.0)
    assert paired_room(half, ALL_RIGHT, MEAN, 40, 0.95) == (0.0, 0.0)
    for other in (RatioOfSums(2.0), lambda values: float(values.mean())):
        assert room_of(ALL_RIGHT, other, 40, 0.95) == (0.0, 0.0)
    assert room_of(np.ones((40, 2)), MEAN, 40, 0.95) == (0.0, 0.0)


def test_room_joins_an_end_by_squares() -> None:
    assert with_room(0.5, (0.2, 0.7), (0.4, 0.0)) == (pytest.approx(0.0), 0.7)
    assert with_room(0.5, (0.2, 0.9), (0.0, 0.3)) == (0.2, pytest.approx(1.0))


def test_a_utility_has_the_room_of_the_metrics_it_follows() -> None:
    groups, strata = [str(k) for k in range(40)], [""] * 40
    one_wrong = np.array([[0.0], *[[1.0]] * 39])
    task = PairedTask(groups, strata, (PairedMetric(ALL_RIGHT, one_wrong, MEAN),))
    pair = paired_interval(ALL_RIGHT, one_wrong, groups, strata, MEAN, seed=0)
    assert utility_difference_interval([task], min, seed=0) == pair
    assert pair.low is not None and pair.low < 0  # one item more right is no gain
    doubled = utility_difference_interval([task], lambda values: 2 * values[0], seed=0)
    assert doubled.low == pytest.approx(2 * pair.low) and doubled.high == pytest.approx(
        2 * pair.high
    )
    both = utility_difference_interval([task, task], lambda v: v[0] + 0 * v[1], seed=0)
    assert both.low == pytest.approx(pair.low, abs=0.01)  # the second task is not followed
