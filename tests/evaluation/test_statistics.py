"""Statistics: closed forms, and scipy as reference; `test_coverage.py` has simulated studies."""

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from evaluation.pairing import PairedMetric, PairedTask
from evaluation.resampling import RatioOfSums, clusters_of
from evaluation.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    paired_interval,
    paired_p_value,
    standard_error,
    utility_difference_interval,
)

Numbers = NDArray[np.float64]
MEAN = RatioOfSums()


def ratio_by_hand(values: Numbers) -> float:
    return float(values[:, 0].sum() / values[:, 1].sum())


def names(n: int) -> list[str]:
    return [f"g{i}" for i in range(n)]


def one(n: int) -> list[str]:
    return ["" for _ in range(n)]


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def right(seed: int, n: int, p: float = 0.5) -> Numbers:
    return (generator(seed).random((n, 1)) < p).astype(np.float64)


def test_the_interval_of_a_mean_is_scipys_at_hesterbergs_level() -> None:
    n, values = 80, generator(1).exponential(size=(80, 1))
    plain = stats.bootstrap((values[:, 0],), np.mean, n_resamples=2000, rng=generator(5))
    off = values - values.mean()
    root = max(np.sqrt(n / (n - 1)), off.std(ddof=1) / np.sqrt(n) / plain.standard_error)
    kurtosis = float(n * (off**4).sum() / (off**2).sum() ** 2)
    z = root * stats.t.ppf(0.975, min(n - 1, 2 * n / (kurtosis - 1)))
    assert z > 1.99  # and not 1.96
    percentiles, bca = (
        stats.bootstrap(
            (values[:, 0],),
            np.mean,
            n_resamples=0,
            bootstrap_result=plain,
            method=method,
            confidence_level=2 * stats.norm.cdf(z) - 1,
        ).confidence_interval
        for method in ("percentile", "BCa")
    )
    got = bootstrap_interval(values, names(n), one(n), MEAN, seed=5)
    assert got.value == pytest.approx(values.mean(), rel=1e-15)
    assert got.low == pytest.approx(min(percentiles.low, bca.low), rel=1e-9)
    assert got.high == pytest.approx(max(percentiles.high, bca.high), rel=1e-9)
    assert percentiles.low < bca.low and percentiles.high < bca.high  # an end is each one's
    assert (got.groups, got.items) == (80, 80)


def test_many_groups_have_the_percentile_interval() -> None:
    """And in no time: what is left out in turn are blocks of them."""
    n, values = 20_000, generator(30).normal(size=(20_000, 1))
    expected = stats.bootstrap(
        (values[:, 0],), np.mean, n_resamples=500, rng=generator(5), method="percentile", batch=50
    )
    start = time.process_time()
    got = bootstrap_interval(values, names(n), one(n), MEAN, seed=5, resamples=500)
    assert time.process_time() - start < 10  # leaving out each by itself takes minutes
    ends = expected.confidence_interval
    error = expected.standard_error
    assert got.low is not None and got.high is not None
    assert got.low == pytest.approx(ends.low, abs=0.2 * error) and got.low <= ends.low
    assert got.high == pytest.approx(ends.high, abs=0.2 * error) and got.high >= ends.high


def test_a_small_task_beside_a_large_one_is_widened_as_it_is_alone() -> None:
    few = PairedTask(names(30), one(30), (PairedMetric(right(1, 30), right(2, 30), MEAN),))
    many = PairedTask(
        names(2100), one(2100), (PairedMetric(right(3, 2100), right(4, 2100), MEAN),)
    )
    alone = utility_difference_interval([few], lambda v: v[0], seed=0)
    beside = utility_difference_interval([few, many], lambda v: v[0] + 0 * v[1], seed=0)
    for got, expected in ((beside.low, alone.low), (beside.high, alone.high)):
        assert got is not None and got == pytest.approx(expected, abs=0.04)
    plain = utility_difference_interval([few], lambda v: v[0], seed=0, level=0.9)
    assert beside.low is not None and plain.low is not None and beside.low < plain.low


def test_a_paired_interval_of_gains_and_losses_in_closed_form() -> None:
    """The mean of resampled signs is binomial: (2 Bin(n, 1/2) - n) / n."""
    n = 100
    a, b = np.tile([[1.0], [0.0]], (n // 2, 1)), np.tile([[0.0], [1.0]], (n // 2, 1))
    got = paired_interval(a, b, names(n), one(n), MEAN, seed=0, resamples=20000)
    z = np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1)
    counts = stats.binom.ppf(stats.norm.cdf([-z, z]), n, 0.5)
    assert got.value == 0.0
    assert (got.low, got.high) == pytest.approx((2 * counts - n) / n, abs=2.01 / n)
    assert got.low == pytest.approx(-0.2, abs=0.021) and got.high == pytest.approx(0.2, abs=0.021)


def test_same_seed_same_bits_other_seed_other_bits() -> None:
    values = generator(2).normal(size=(60, 1))
    first, again, other = (
        bootstrap_interval(values, names(60), one(60), MEAN, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("strata", [1, 3])
def test_sums_and_calls_give_the_same_draws(strata: int) -> None:
    rng = generator(3)
    values = np.column_stack([rng.random(150) * 90, rng.integers(10, 40, 150).astype(np.float64)])
    groups = [f"g{i % 50}" for i in range(150)]
    kinds = [f"s{i % 50 % strata}" for i in range(150)]
    fast, slow = RatioOfSums(), ratio_by_hand
    a = bootstrap_interval(values, groups, kinds, fast, seed=0, resamples=400)
    b = bootstrap_interval(values, groups, kinds, slow, seed=0, resamples=400)
    assert (a.low, a.high) == pytest.approx((b.low, b.high), rel=1e-12)
    assert standard_error(values, groups, kinds, fast) == pytest.approx(
        standard_error(values, groups, kinds, slow), rel=1e-9
    )
    other = values[::-1].copy()
    assert paired_p_value(values, other, groups, fast, seed=1, resamples=300) == paired_p_value(
        values, other, groups, slow, seed=1, resamples=300
    )


def test_standard_error_of_a_mean_is_the_sample_deviation_over_root_n() -> None:
    values = generator(4).normal(size=(37, 1))
    expected = values.std(ddof=1) / math.sqrt(37)
    assert standard_error(values, names(37), one(37), MEAN) == pytest.approx(expected)
    assert standard_error(values[:1], ["a"], ["b"], MEAN) is None


def test_standard_error_counts_groups_not_rows() -> None:
    values = generator(5).normal(size=(40, 1))
    rows = np.repeat(values, 7, axis=0)
    groups = [name for name in names(40) for _ in range(7)]
    alone = standard_error(values, names(40), one(40), MEAN)
    assert standard_error(rows, groups, one(280), MEAN) == pytest.approx(alone)


def test_strata_take_the_difference_between_them_out() -> None:
    values = generator(6).normal(size=(80, 1)) + np.repeat([[0.0], [10.0]], 40, axis=0)
    kinds = ["a"] * 40 + ["b"] * 40
    within = bootstrap_interval(values, names(80), kinds, MEAN, seed=0)
    without = bootstrap_interval(values, names(80), one(80), MEAN, seed=0)
    assert within.low is not None and within.high is not None
    assert without.low is not None and without.high is not None
    assert (within.high - within.low) * 3 < without.high - without.low


def test_small_strata_are_pooled_so_that_variance_is_kept() -> None:
    sizes = {"a": 2, "b": 3, "c": 6, "d": 25}
    kinds = [kind for kind, n in sizes.items() for _ in range(n)]
    strata = clusters_of(names(36), kinds).strata
    assert sorted(len(stratum) for stratum in strata) == [11, 25]
    assert sorted(np.concatenate(strata).tolist()) == list(range(36))


def test_a_group_takes_the_stratum_of_its_first_row() -> None:
    clusters = clusters_of(["x", "y", "x"], ["1", "2", "2"])
    assert clusters.codes.tolist() == [0, 1, 0]
    assert [stratum.tolist() for stratum in clusters.strata] == [[0, 1]]


def test_too_few_groups_have_no_interval() -> None:
    values = right(0, 58)
    groups = [f"g{i // 2}" for i in range(58)]
    got = bootstrap_interval(values, groups, one(58), MEAN, seed=0)
    assert got == Interval(float(values.mean()), None, None, 29, 58)


def test_equal_results_have_an_interval_of_no_width() -> None:
    got = bootstrap_interval(np.full((40, 1), 0.7), names(40), one(40), MEAN, seed=0)
    assert (got.value, got.low, got.high) == pytest.approx((0.7, 0.7, 0.7), rel=1e-12)


def test_an_aggregate_that_is_sometimes_undefined_still_has_an_interval() -> None:
    values = np.zeros((40, 1))
    values[0] = 1.0

    def undefined_at_zero(rows: Numbers) -> float:
        return float(1 / rows.sum()) if rows.any() else math.nan

    got = bootstrap_interval(values, names(40), one(40), undefined_at_zero, seed=0, resamples=200)
    assert got.low is not None and got.high is not None
    assert 0 < got.low <= got.value <= got.high == 1.0


def test_an_aggregate_that_is_never_defined_has_none() -> None:
    got = bootstrap_interval(right(0, 40), names(40), one(40), lambda _: math.nan, seed=0)
    assert (got.low, got.high) == (None, None)


def test_a_pair_is_compared_on_the_same_items() -> None:
    a = generator(7).normal(size=(100, 1)) * 50
    got = paired_interval(a + 1.0, a, names(100), one(100), MEAN, seed=0)
    assert (got.value, got.low, got.high) == pytest.approx((1.0, 1.0, 1.0))


def test_a_paired_mean_is_the_mean_of_differences() -> None:
    a, b = right(8, 120, 0.6), right(9, 120, 0.5)
    pair = paired_interval(a, b, names(120), one(120), MEAN, seed=2)
    alone = bootstrap_interval(a - b, names(120), one(120), MEAN, seed=2)
    assert (pair.low, pair.high) == pytest.approx((alone.low, alone.high), abs=1e-12)


def test_the_utility_of_one_task_is_the_paired_interval() -> None:
    a, b = right(10, 90, 0.7), right(11, 90, 0.5)
    task = PairedTask(names(90), one(90), (PairedMetric(a, b, MEAN),))
    claim = utility_difference_interval([task], min, seed=6)
    assert claim == paired_interval(a, b, names(90), one(90), MEAN, seed=6)


def test_tasks_are_resampled_independently_and_metrics_of_a_task_together() -> None:
    n = 400
    x, zero = generator(12).normal(size=(n, 1)), np.zeros((n, 1))
    metric = PairedMetric(x, zero, MEAN)
    alone = PairedTask(names(n), one(n), (metric,))

    def width(tasks: list[PairedTask], utility: Callable[..., float] = sum) -> float:
        got = utility_difference_interval(tasks, utility, seed=0)
        assert got.low is not None and got.high is not None
        return got.high - got.low

    single = width([alone])
    assert width([alone, alone]) / single == pytest.approx(math.sqrt(2), rel=0.08)
    assert width([PairedTask(names(n), one(n), (metric, metric))]) / single == pytest.approx(
        2, rel=0.08
    )


def test_a_claim_needs_every_task_to_have_enough_groups() -> None:
    many = PairedTask(names(50), one(50), (PairedMetric(right(0, 50), right(1, 50), MEAN),))
    few = PairedTask(names(20), one(20), (PairedMetric(right(2, 20), right(3, 20), MEAN),))
    got = utility_difference_interval([many, few], min, seed=0)
    assert (got.low, got.high, got.groups, got.items) == (None, None, 20, 70)


def test_the_randomisation_test_is_uniform_where_nothing_differs() -> None:
    p_values = []
    for study in range(200):
        rng = generator(2000 + study)
        a, b = rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
        p_values.append(paired_p_value(a, b, names(40), MEAN, seed=study, resamples=299))
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_the_randomisation_test_of_right_and_wrong_is_mcnemars() -> None:
    a, b = right(20, 200, 0.6), right(21, 200, 0.5)
    only_a, only_b = int(((a - b) > 0).sum()), int(((b - a) > 0).sum())
    exact = stats.binomtest(only_a, only_a + only_b, 0.5).pvalue  # McNemar's, exact
    got = paired_p_value(a, b, names(200), MEAN, seed=0, resamples=20000)
    assert got == pytest.approx(exact, abs=0.012)


def test_the_randomisation_test_sees_a_difference_and_not_none() -> None:
    a = generator(22).normal(size=(60, 1))
    assert paired_p_value(a + 0.3, a, names(60), MEAN, seed=0, resamples=999) == 0.001
    assert paired_p_value(a, a, names(60), MEAN, seed=0, resamples=99) == 1.0


def test_holm_in_closed_form() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.5]) == (1.0, 1.0)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(
    p_values: list[float], level: float
) -> None:
    """Holm (1979): from the smallest on, until one is above level / (how many are left)."""
    rejected, left = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
    while left and p_values[left[0]] * len(left) <= level:
        rejected.add(left.pop(0))
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p >= raw for p, raw in zip(adjusted, p_values, strict=True))
