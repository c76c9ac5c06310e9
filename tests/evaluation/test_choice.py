"""The standard error of a difference in utility, against its closed form."""

import numpy as np
import pytest

from evaluation.choice import utility_difference_error
from evaluation.pairing import PairedMetric, PairedTask
from evaluation.resampling import RatioOfSums

MEAN = RatioOfSums()


def task(a: np.ndarray, b: np.ndarray, groups: int | None = None) -> PairedTask:
    names = [str(n if groups is None else n % groups) for n in range(len(a))]
    return PairedTask(names, ["s"] * len(a), (PairedMetric(a[:, None], b[:, None], MEAN),))


def test_of_one_mean_it_is_that_of_the_paired_t_test() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(0.2, 1, 400), draw.normal(0, 1, 400)
    found = utility_difference_error([task(a, b)], lambda v: v[0], seed=1, resamples=2000)
    assert found == pytest.approx(np.std(a - b) / 20, rel=0.05)
    halved = utility_difference_error([task(a, b)], lambda v: v[0] / 2, seed=1, resamples=2000)
    assert halved == pytest.approx(found / 2)


def test_it_is_paired_and_by_group() -> None:
    draw = np.random.default_rng(0)
    a = draw.normal(0, 1, 400)
    assert utility_difference_error([task(a, a - 0.3)], lambda v: v[0], seed=1) == 0
    steps = np.repeat(draw.normal(0, 1, (1, 20)), 20, axis=0).ravel()  # equal within 20 groups
    alone = utility_difference_error([task(steps, 0 * a)], lambda v: v[0], seed=1)
    grouped = utility_difference_error([task(steps, 0 * a, 20)], lambda v: v[0], seed=1)
    assert grouped > 3 * alone


def test_of_two_tasks_variances_add() -> None:
    draw = np.random.default_rng(0)
    tasks = [task(draw.normal(0, 1, 400), draw.normal(0, 1, 400)) for _ in range(2)]
    each = [utility_difference_error([one], lambda v: v[0], seed=2, resamples=2000)
            for one in tasks]  # fmt: skip
    both = utility_difference_error(tasks, lambda v: v[0] + v[1], seed=2, resamples=2000)
    assert both == pytest.approx(np.hypot(*each), rel=0.06)


def test_the_same_seed_gives_the_same_error() -> None:
    a = np.random.default_rng(3).normal(0, 1, 50)
    pair = [task(a, a**2)]
    errors = [utility_difference_error(pair, lambda v: v[0], seed=seed) for seed in (1, 1, 2)]
    assert errors[0] == errors[1] != errors[2]
