"""Simulated studies whose truth is known: how items, groups, strata and systems come about.

A group has an ease that its items share, so that items of one group are not independent. Each
study is drawn from the same population by a generator of its own; `truth` is the population's.
`scripts/bench_statistics.py` and `tests/evaluation/test_statistics.py` draw from here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.pairing import PairedMetric, PairedTask
from evaluation.resampling import RatioOfSums
from evaluation.statistics import (
    Interval,
    bootstrap_interval,
    paired_interval,
    utility_difference_interval,
)

Numbers = NDArray[np.float64]
MEAN = RatioOfSums()
CLUSTER = 3.0
"""The eases of groups are Beta(CLUSTER p, CLUSTER (1 - p)): items of one correlate at 1/4."""
SPREAD = (-0.6, 0.0, 0.6)
"""How strata differ: in logits for accuracy, in half of that as logarithm for rates."""


@dataclass(frozen=True, slots=True)
class Design:
    """How many groups, of how many items ("1", "5" or "uneven": 1 to many, 4 at the mean)."""

    groups: int
    sizes: str = "1"
    strata: int = 1


@dataclass(frozen=True, slots=True)
class Layout:
    """One study's rows: names as the product takes them, and numbers to draw by."""

    groups: list[str]
    strata: list[str]
    codes: NDArray[np.int64]
    kinds: NDArray[np.int64]
    """The stratum of each group."""


Study = Callable[[int, int], Interval]
"""(seed, resamples) to the interval of one simulated study."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """A population: what is true, and how one study of it is drawn and judged."""

    truth: float
    study: Study


def covers(interval: Interval, truth: float) -> bool:
    """Whether the truth lies inside; sums of floats may miss an end by their last bits."""
    assert interval.low is not None and interval.high is not None
    return interval.low - 1e-9 <= truth <= interval.high + 1e-9


def undercovers(inside: int, studies: int, level: float = 0.95) -> bool:
    """Whether so few of the intervals hold the truth that coverage is below nominal, at 1%."""
    return float(stats.binomtest(inside, studies, level, alternative="less").pvalue) < 0.01


def generator(seed: int) -> np.random.Generator:
    """The generator of one study."""
    return np.random.Generator(np.random.PCG64(seed))


def layout(design: Design, rng: np.random.Generator) -> Layout:
    """Rows of a study; strata take turns, so that they have as many groups as each other."""
    if design.sizes == "uneven":
        sizes = rng.geometric(0.25, design.groups)
    else:
        sizes = np.full(design.groups, int(design.sizes))
    codes = np.repeat(np.arange(design.groups), sizes)
    kinds = np.arange(design.groups) % design.strata
    return Layout([f"g{g}" for g in codes], [f"s{kinds[g]}" for g in codes], codes, kinds)


def accuracies(design: Design, accuracy: float) -> Numbers:
    """The accuracy of each stratum, in logits around the one given."""
    if design.strata == 1:
        return np.array([accuracy])
    logits = np.log(accuracy / (1 - accuracy)) + np.array(SPREAD)
    return np.asarray(1 / (1 + np.exp(-logits)))


def over_strata(design: Design, values: Numbers) -> float:
    """The mean over a population that has the strata as the study has."""
    return float(values[np.arange(design.groups) % design.strata].mean())


def eases(rng: np.random.Generator, rows: Layout, means: Numbers) -> Numbers:
    """The probability that an item is answered, one a row."""
    mean = means[rows.kinds]
    return np.asarray(rng.beta(CLUSTER * mean, CLUSTER * (1 - mean))[rows.codes])


def right(rng: np.random.Generator, ease: Numbers) -> Numbers:
    """Right and wrong answers, shape (n, 1)."""
    return (rng.random(len(ease)) < ease).astype(np.float64)[:, None]


def accuracy(design: Design, level: float) -> Simulation:
    """The accuracy of one system."""
    means = accuracies(design, level)

    def study(seed: int, resamples: int) -> Interval:
        rng = generator(seed)
        rows = layout(design, rng)
        values = right(rng, eases(rng, rows, means))
        return bootstrap_interval(
            values, rows.groups, rows.strata, MEAN, seed=seed, resamples=resamples
        )

    return Simulation(over_strata(design, means), study)


def pair(
    rng: np.random.Generator, rows: Layout, means: Numbers, gain: float
) -> tuple[Numbers, Numbers]:
    """Two systems on the same items: half of the items they get right or wrong together.

    System A is right on `gain` of the items that B gets wrong (or, below 0, fails on that share
    of those that B gets right).
    """
    ease = eases(rng, rows, means)
    both = rng.random(len(ease)) < 0.5
    b = right(rng, ease)
    a = np.where(both[:, None], b, right(rng, ease))
    turned = (rng.random(len(ease)) < abs(gain))[:, None]
    return np.where(turned, 1.0 if gain > 0 else 0.0, a), b


def pair_truth(means: Numbers, gain: float) -> Numbers:
    """The true difference of `pair`, for each stratum."""
    return gain * (1 - means) if gain > 0 else gain * means


def difference(design: Design, level: float, gain: float) -> Simulation:
    """Two systems on the same items, by accuracy."""
    means = accuracies(design, level)

    def study(seed: int, resamples: int) -> Interval:
        rng = generator(seed)
        rows = layout(design, rng)
        a, b = pair(rng, rows, means, gain)
        return paired_interval(
            a, b, rows.groups, rows.strata, MEAN, seed=seed, resamples=resamples
        )

    return Simulation(over_strata(design, pair_truth(means, gain)), study)


def texts(
    rng: np.random.Generator, rows: Layout, sizes: float, rates: Numbers
) -> tuple[Numbers, Numbers]:
    """Bytes, log-normal, and bits, whose rate groups share and longer texts lower."""
    logs = rng.normal(size=len(rows.codes)) * sizes
    shared = rng.normal(size=len(rows.kinds)) * 0.2
    rate = shared[rows.codes] + rng.normal(size=len(logs)) * 0.2 - 0.1 * logs
    size = np.exp(5 + logs)
    return size, size * np.exp(rate + rates[rows.kinds][rows.codes])


def bits_per_byte(design: Design, sizes: float) -> Simulation:
    """A ratio of sums; `sizes` is the deviation of the logarithm of a text's bytes."""
    rates = np.array(SPREAD) / 2 if design.strata > 1 else np.zeros(1)

    def study(seed: int, resamples: int) -> Interval:
        rng = generator(seed)
        rows = layout(design, rng)
        size, bits = texts(rng, rows, sizes, rates)
        values = np.column_stack([bits, size])
        return bootstrap_interval(
            values, rows.groups, rows.strata, MEAN, seed=seed, resamples=resamples
        )

    # E exp(0.9 L + N(0, 0.08)) / E exp(L), L ~ N(0, sizes^2)
    truth = np.exp(0.81 * sizes**2 / 2 + 0.04 - sizes**2 / 2) * np.exp(rates)
    return Simulation(over_strata(design, truth), study)


def bits_difference(design: Design, sizes: float, gain: float) -> Simulation:
    """Two systems' bits per byte on the same texts; A has `gain` fewer, as a share."""
    rates = np.array(SPREAD) / 2 if design.strata > 1 else np.zeros(1)

    def study(seed: int, resamples: int) -> Interval:
        rng = generator(seed)
        rows = layout(design, rng)
        size, bits = texts(rng, rows, sizes, rates)
        own = bits * (1 - gain) * np.exp(rng.normal(size=len(bits)) * 0.05 - 0.05**2 / 2)
        a, b = (np.column_stack([one, size]) for one in (own, bits))
        return paired_interval(
            a, b, rows.groups, rows.strata, MEAN, seed=seed, resamples=resamples
        )

    truth = np.exp(0.81 * sizes**2 / 2 + 0.04 - sizes**2 / 2) * np.exp(rates)
    return Simulation(-gain * over_strata(design, truth), study)


def utility(
    design: Design,
    levels: tuple[float, float],
    gains: tuple[float, float],
    zeros: tuple[float, float],
) -> Simulation:
    """The smaller of two tasks' accuracies, each on a scale of base 0 and 0.2 more 1.

    System B has the accuracies `levels`, the base `zeros`; A gains on B as in `pair`.
    """
    means = [accuracies(design, level) for level in levels]
    truths = [over_strata(design, mean) for mean in means]
    moved = [over_strata(design, pair_truth(m, g)) for m, g in zip(means, gains, strict=True)]

    def smallest(values: Sequence[float]) -> float:
        return min((values[0] - zeros[0]) / 0.2, (values[1] - zeros[1]) / 0.2)

    def study(seed: int, resamples: int) -> Interval:
        rng = generator(seed)
        tasks = []
        for mean, gain in zip(means, gains, strict=True):
            rows = layout(design, rng)
            a, b = pair(rng, rows, mean, gain)
            tasks.append(PairedTask(rows.groups, rows.strata, (PairedMetric(a, b, MEAN),)))
        return utility_difference_interval(tasks, smallest, seed=seed, resamples=resamples)

    won = smallest([truth + gain for truth, gain in zip(truths, moved, strict=True)])
    return Simulation(won - smallest(truths), study)
