"""How sure a score is: intervals over groups of items, and tests of two systems on the same items.

Items of one group are not independent (they share a passage or a template), so groups are drawn,
never items, within strata: the cluster bootstrap with BCa ends. Differences are paired: both
systems are aggregated on the same drawn groups. Everything is a function of the arguments and the
seed. Under MIN_CLAIM_GROUPS groups there is no interval, and nothing may be claimed.

Not here: tests that look again while a search runs (racing), item response models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ends import bootstrap_ends
from .pairing import PairedTask, Utility, utility_difference
from .resampling import (
    Aggregate,
    Clusters,
    Draws,
    Numbers,
    SumAggregate,
    clusters_of,
    group_sums,
    resampler,
)
from .splits import MIN_CLAIM_GROUPS
from .unseen import Room, paired_room, room_of, utility_room, with_room

Swaps = NDArray[np.bool_]
"""Which groups change sides, shape (n, groups)."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its interval: `low` and `high` are None where there are too few groups."""

    value: float
    low: float | None
    high: float | None
    groups: int
    """Of the task with the fewest, where there are several."""
    items: int


def bootstrap_interval(
    values: Numbers,
    groups: Sequence[str],
    strata: Sequence[str],
    aggregate: Aggregate,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """The aggregate of item results, shape (n, width), with its bootstrap interval.

    Args:
        values: Item results, one row an item.
        groups: The group of each row.
        strata: The stratum of each row; a group belongs to that of its first row.
        aggregate: Results to value; fast if it is a SumAggregate, else called once a resample.
        seed: The same seed gives the same interval.
        resamples: Draws of all groups.
        level: Coverage, in (0, 1).
    """
    clusters = clusters_of(groups, strata)
    estimate = resampler(values, aggregate, clusters)
    return _interval(
        aggregate(values),
        [clusters],
        lambda draws: estimate(draws[0]),
        room=room_of(values, aggregate, clusters.groups, level),
        seed=seed,
        resamples=resamples,
        level=level,
    )


def paired_interval(
    a: Numbers,
    b: Numbers,
    groups: Sequence[str],
    strata: Sequence[str],
    aggregate: Aggregate,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """aggregate(a) - aggregate(b) on the same items; the arguments are `bootstrap_interval`'s."""
    clusters = clusters_of(groups, strata)
    first, second = (resampler(values, aggregate, clusters) for values in (a, b))
    return _interval(
        aggregate(a) - aggregate(b),
        [clusters],
        lambda draws: first(draws[0]) - second(draws[0]),
        room=paired_room(a, b, aggregate, clusters.groups, level),
        seed=seed,
        resamples=resamples,
        level=level,
    )


def utility_difference_interval(
    tasks: Sequence[PairedTask],
    utility: Utility,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval:
    """utility(A) - utility(B): the one claim of a study.

    Each task is resampled by itself, its metrics and both systems together. `utility` gets the
    aggregates of all metrics of all tasks, in their order (think of the smallest or a weighted
    mean of scaled metrics).
    """
    clusters = [clusters_of(task.groups, task.strata) for task in tasks]
    metrics = [(n, metric) for n, task in enumerate(tasks) for metric in task.metrics]
    values_a = [metric.aggregate(metric.a) for _, metric in metrics]
    value_b = utility([metric.aggregate(metric.b) for _, metric in metrics])
    rooms = [paired_room(m.a, m.b, m.aggregate, clusters[n].groups, level) for n, m in metrics]
    return _interval(
        utility(values_a) - value_b,
        clusters,
        utility_difference(tasks, clusters, utility),
        room=utility_room(values_a, rooms, utility),
        seed=seed,
        resamples=resamples,
        level=level,
    )


def standard_error(
    values: Numbers, groups: Sequence[str], strata: Sequence[str], aggregate: Aggregate
) -> float | None:
    """The delete-one-group jackknife standard error of an aggregate; None under two groups.

    For a mean over items that are their own groups it is the sample deviation over the root of n,
    as lm-eval reports it (Efron and Tibshirani 1993, eq. 11.5, summed over strata).
    """
    clusters = clusters_of(groups, strata)
    if clusters.groups < 2:
        return None
    without = _leave_one_out(values, aggregate, clusters)
    variance = 0.0
    for stratum in clusters.strata:
        parts, n = without[stratum], len(stratum)
        variance += float((n - 1) / n * ((parts - parts.mean()) ** 2).sum())
    return float(np.sqrt(variance))


def paired_p_value(
    a: Numbers,
    b: Numbers,
    groups: Sequence[str],
    aggregate: Aggregate,
    *,
    seed: int,
    resamples: int = 9999,
) -> float:
    """The two-sided p-value of "A and B are exchangeable" on the same items.

    The approximate randomisation test (Noreen 1989): for each group a coin says which system is
    called A. It holds for any metric and any number of groups; the smallest value it can give is
    1 / (resamples + 1).
    """
    clusters = clusters_of(groups, [""] * len(groups))
    rng = np.random.Generator(np.random.PCG64(seed))
    difference = _swapper(a, b, aggregate, clusters)
    observed = abs(difference(np.zeros((1, clusters.groups), dtype=np.bool_))[0])
    batch = max(1, 2**22 // clusters.groups)
    extreme = 0
    for start in range(0, resamples, batch):
        swaps = rng.random((min(batch, resamples - start), clusters.groups)) < 0.5
        tolerance = 1e-12 * max(1.0, observed)
        extreme += int((np.abs(difference(swaps)) >= observed - tolerance).sum())
    return (1 + extreme) / (1 + resamples)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values (1979), in the order given; compare each with the level itself."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def _interval(
    value: float,
    clusters: Sequence[Clusters],
    statistic: Callable[[Sequence[Draws]], Numbers],
    *,
    room: Room,
    seed: int,
    resamples: int,
    level: float,
) -> Interval:
    """The interval of a statistic of one draw a task; all strata are independent samples."""
    groups = min(task.groups for task in clusters)
    items = sum(task.items for task in clusters)
    if groups < MIN_CLAIM_GROUPS:
        return Interval(value, None, None, groups, items)
    samples = [stratum for task in clusters for stratum in task.strata]
    cuts = np.cumsum([0, *(len(task.strata) for task in clusters)])

    def of_samples(drawn: Sequence[Draws]) -> Numbers:
        pairs = zip(cuts[:-1], cuts[1:], strict=True)
        # Without its last bits: equal counts of right items are ties, as BCa needs them.
        return np.round(statistic([_joined(drawn[start:stop]) for start, stop in pairs]), 12)

    ends = bootstrap_ends(samples, of_samples, seed=seed, resamples=resamples, level=level)
    low, high = (None, None) if ends is None else with_room(value, ends, room)
    return Interval(value, low, high, groups, items)


def _joined(strata: Sequence[Draws]) -> Draws:
    """The draws of a task's strata, shapes (..., n_s), as one of shape (..., sum of n_s)."""
    lead = np.broadcast_shapes(*(stratum.shape[:-1] for stratum in strata))
    return np.concatenate([np.broadcast_to(s, (*lead, s.shape[-1])) for s in strata], axis=-1)


def _leave_one_out(values: Numbers, aggregate: Aggregate, clusters: Clusters) -> Numbers:
    """The aggregate without each group in turn, shape (groups,)."""
    if isinstance(aggregate, SumAggregate):
        table = group_sums(values, aggregate, clusters)
        rest = table.sum(axis=0) - table
        return aggregate.from_sums(rest[:, :-1], rest[:, -1])
    return np.array([aggregate(values[clusters.codes != g]) for g in range(clusters.groups)])


def _swapper(
    a: Numbers, b: Numbers, aggregate: Aggregate, clusters: Clusters
) -> Callable[[Swaps], Numbers]:
    """The function from swaps to the difference of aggregates after each, shape (n,)."""
    if isinstance(aggregate, SumAggregate):
        by_sums = aggregate.from_sums
        one, two = (group_sums(rows, aggregate, clusters) for rows in (a, b))

        def from_sums(swaps: Swaps) -> Numbers:
            # einsum, not @: a matrix product's last bits follow the number of threads
            shift = np.einsum("rg,gw->rw", swaps.astype(np.float64), two - one)
            left, right = one.sum(axis=0) + shift, two.sum(axis=0) - shift
            return by_sums(left[:, :-1], left[:, -1]) - by_sums(right[:, :-1], right[:, -1])

        return from_sums

    def one_by_one(swaps: Swaps) -> Numbers:
        masks = (swap[clusters.codes][:, None] for swap in swaps)
        return np.array(
            [aggregate(np.where(m, b, a)) - aggregate(np.where(m, a, b)) for m in masks]
        )

    return one_by_one
