"""Statistics: closed forms, scipy as reference, and coverage in simulated studies."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from evaluation.resampling import RatioOfSums, clusters_of
from evaluation.statistics import (
    Interval,
    PairedMetric,
    PairedTask,
    bootstrap_interval,
    holm,
    mcnemar_exact,
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


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = generator(1).exponential(size=(80, 1))
    expected = stats.bootstrap(
        (values[:, 0],), np.mean, n_resamples=2000, rng=generator(5), method="BCa"
    ).confidence_interval
    got = bootstrap_interval(values, names(80), one(80), MEAN, seed=5)
    assert got.value == pytest.approx(values.mean(), rel=1e-15)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (got.groups, got.items) == (80, 80)


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
    got = bootstrap_interval(np.ones((40, 1)), names(40), one(40), MEAN, seed=0)
    assert (got.value, got.low, got.high) == (1.0, 1.0, 1.0)


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


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Right and wrong items, five of a group, whose difficulty they share."""
    inside = 0
    for study in range(300):
        rng = generator(study)
        easy = np.repeat(rng.beta(2, 2, size=50), 5)
        values = (rng.random(250) < easy).astype(np.float64)[:, None]
        groups = [f"g{i // 5}" for i in range(250)]
        got = bootstrap_interval(values, groups, one(250), MEAN, seed=study, resamples=400)
        assert got.low is not None and got.high is not None
        inside += got.low <= 0.5 <= got.high
    assert 0.91 <= inside / 300 <= 0.98


def test_claims_are_wrong_as_seldom_as_they_say() -> None:
    """Two equal systems on two tasks, utility the mean: 0 lies outside one time in twenty."""
    wrong = 0
    for study in range(150):
        rng = generator(1000 + study)
        tasks = []
        for _ in range(2):
            hard = rng.random((60, 1))
            a, b = ((rng.random((60, 1)) > hard).astype(np.float64) for _ in range(2))
            tasks.append(PairedTask(names(60), one(60), (PairedMetric(a, b, MEAN),)))
        got = utility_difference_interval(
            tasks, lambda values: sum(values) / 2, seed=study, resamples=300
        )
        assert got.low is not None and got.high is not None
        wrong += not got.low <= 0 <= got.high
    assert 0.01 <= wrong / 150 <= 0.1


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
    got = paired_p_value(a, b, names(200), MEAN, seed=0, resamples=20000)
    assert got == pytest.approx(mcnemar_exact(only_a, only_b), abs=0.012)


def test_the_randomisation_test_sees_a_difference_and_not_none() -> None:
    a = generator(22).normal(size=(60, 1))
    assert paired_p_value(a + 0.3, a, names(60), MEAN, seed=0, resamples=999) == 0.001
    assert paired_p_value(a, a, names(60), MEAN, seed=0, resamples=99) == 1.0


def test_mcnemar_in_closed_form() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0
    assert mcnemar_exact(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar_exact(2, 8) == mcnemar_exact(8, 2)


def test_holm_in_closed_form() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.5]) == (1.0, 1.0)
    assert holm([]) == ()
