"""Drawing groups of items again and again.

The machinery under `statistics`: which rows form a group, which groups a stratum, and what an
aggregate is on drawn groups. Aggregates that depend on sums alone are computed for all resamples
at once; any other is called once a resample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Draws = NDArray[np.int64]
"""Numbers of groups, shape (..., groups): the last axis is one draw."""
Aggregate = Callable[[Numbers], float]
"""Item results, shape (n, width), to a value."""

_SMALLEST_STRATUM = 10
"""Drawing n groups of n shrinks the variance to (n - 1) / n: smaller strata are pooled."""


@runtime_checkable
class SumAggregate(Protocol):
    """An aggregate that depends on column sums and the number of rows alone: fast to resample."""

    def __call__(self, values: Numbers) -> float:
        """The value of item results, shape (n, width)."""
        ...

    def from_sums(self, sums: Numbers, counts: Numbers) -> Numbers:
        """The same from column sums, shape (..., width), and numbers of rows, shape (...)."""
        ...


@runtime_checkable
class WideSumAggregate(SumAggregate, Protocol):
    """One whose sums are not those of the rows as they are, but of `columns`."""

    def columns(self, values: Numbers) -> Numbers:
        """Item results, shape (n, width), as the rows that `from_sums` has the sums of."""
        ...


@dataclass(frozen=True, slots=True)
class RatioOfSums:
    """`scale` times the first column's sum over the second's, or over the rows if it is alone."""

    scale: float = 1.0

    def __call__(self, values: Numbers) -> float:
        """The value of item results, shape (n, 1 or 2)."""
        return float(self.from_sums(values.sum(axis=0), np.array(float(len(values)))))

    def from_sums(self, sums: Numbers, counts: Numbers) -> Numbers:
        """The same from sums, shape (..., 1 or 2), and counts, shape (...)."""
        return self.scale * sums[..., 0] / (sums[..., 1] if sums.shape[-1] > 1 else counts)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Groups of items: `codes` is the group of each row, `strata` the groups of each stratum."""

    codes: Draws
    strata: tuple[Draws, ...]
    groups: int

    @property
    def items(self) -> int:
        """The number of rows."""
        return len(self.codes)


def clusters_of(groups: Sequence[str], strata: Sequence[str]) -> Clusters:
    """Groups numbered as they first appear, each in the stratum of its first row."""
    numbers: dict[str, int] = {}
    members: dict[str, list[int]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        if group not in numbers:
            members.setdefault(stratum, []).append(len(numbers))
            numbers[group] = len(numbers)
    codes = np.array([numbers[group] for group in groups], dtype=np.int64)
    return Clusters(codes, _pooled(list(members.values())), len(numbers))


def _pooled(strata: list[list[int]]) -> tuple[Draws, ...]:
    """The strata, the smallest of them joined until none has under _SMALLEST_STRATUM groups."""
    ordered = sorted(strata, key=len)
    while len(ordered) > 1 and len(ordered[0]) < _SMALLEST_STRATUM:
        ordered = sorted([ordered[0] + ordered[1], *ordered[2:]], key=len)
    return tuple(np.array(sorted(groups), dtype=np.int64) for groups in ordered)


def laid_out(values: Numbers, aggregate: SumAggregate) -> Numbers:
    """The rows of whose sums `aggregate` is a function."""
    return aggregate.columns(values) if isinstance(aggregate, WideSumAggregate) else values


def group_sums(values: Numbers, aggregate: SumAggregate, clusters: Clusters) -> Numbers:
    """What `aggregate` needs of every group: column sums and rows, shape (groups, width + 1)."""
    values = laid_out(values, aggregate)
    table = np.zeros((clusters.groups, values.shape[1] + 1))
    np.add.at(table, clusters.codes, np.column_stack([values, np.ones(len(values))]))
    return table


def resampler(
    values: Numbers, aggregate: Aggregate, clusters: Clusters
) -> Callable[[Draws], Numbers]:
    """The function from drawn groups, shape (..., n), to the aggregate on them, shape (...)."""
    if isinstance(aggregate, SumAggregate):
        by_sums = aggregate.from_sums
        table = group_sums(values, aggregate, clusters)
        columns = [np.ascontiguousarray(column) for column in table.T]

        def from_sums(draws: Draws) -> Numbers:
            # Not counts @ table: the last bits of a matrix product follow the number of threads.
            sums = np.stack([column.take(draws).sum(axis=-1) for column in columns], axis=-1)
            return by_sums(sums[..., :-1], sums[..., -1])

        return from_sums

    def one_by_one(draws: Draws) -> Numbers:
        flat = draws.reshape(-1, draws.shape[-1])
        results = [aggregate(values[rows_of(draw, clusters)]) for draw in flat]
        return np.array(results).reshape(draws.shape[:-1])

    return one_by_one


def rows_of(draw: Draws, clusters: Clusters) -> Draws:
    """The rows of one draw's groups, in the order of the rows, a group drawn twice twice."""
    times = np.bincount(draw, minlength=clusters.groups)
    return np.repeat(np.arange(clusters.items), times[clusters.codes])
