"""Two systems on the same items: what `statistics` and `choice` resample together.

Both are aggregated on the same drawn groups, so that what is hard for both does not count as a
difference between them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .resampling import Aggregate, Clusters, Draws, Numbers, resampler

Utility = Callable[[Sequence[float]], float]
"""From the aggregates of all tasks' metrics, in their order, to one number (higher is better)."""


@dataclass(frozen=True, slots=True)
class PairedMetric:
    """One metric of systems A and B on the same items: results of shape (n, width) each."""

    a: Numbers
    b: Numbers
    aggregate: Aggregate


@dataclass(frozen=True, slots=True)
class PairedTask:
    """The items of one task, with the metrics that are resampled together on them."""

    groups: Sequence[str]
    strata: Sequence[str]
    metrics: tuple[PairedMetric, ...]


def utility_difference(
    tasks: Sequence[PairedTask], clusters: Sequence[Clusters], utility: Utility
) -> Callable[[Sequence[Draws]], Numbers]:
    """The function from drawn groups, a draw of shape (..., n) a task, to utility(A) - utility(B).

    Both systems are aggregated on the same drawn groups; the result has shape (...).
    """
    metrics = [(n, metric) for n, task in enumerate(tasks) for metric in task.metrics]
    of_a = [(n, resampler(m.a, m.aggregate, clusters[n])) for n, m in metrics]
    of_b = [(n, resampler(m.b, m.aggregate, clusters[n])) for n, m in metrics]

    def utilities(
        estimates: Sequence[tuple[int, Callable[[Draws], Numbers]]], draws: Sequence[Draws]
    ) -> Numbers:
        aggregates = np.stack([estimate(draws[n]) for n, estimate in estimates], axis=-1)
        flat = [utility(row) for row in aggregates.reshape(-1, len(metrics)).tolist()]
        return np.array(flat).reshape(aggregates.shape[:-1])

    return lambda draws: utilities(of_a, draws) - utilities(of_b, draws)
