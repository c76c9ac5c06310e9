"""How much of a difference in utility is noise: what a choice between two systems asks.

The standard error of a paired difference by the cluster bootstrap: groups are drawn within strata,
and both systems are aggregated on the same draws. Seldom are more than 200 of them needed (Efron
and Tibshirani 1993, An Introduction to the Bootstrap, 6.2).

Not here: intervals, which `statistics` gives. One standard error is no evidence; it says when a
choice may follow something else than the scores.
"""

from collections.abc import Sequence

import numpy as np

from .pairing import PairedTask, Utility, utility_difference
from .resampling import Clusters, Draws, clusters_of

RESAMPLES = 200


def utility_difference_error(
    tasks: Sequence[PairedTask], utility: Utility, *, seed: int, resamples: int = RESAMPLES
) -> float:
    """The standard error of utility(A) - utility(B), at least 0.

    Args:
        tasks: Both systems' results; each task is resampled by itself.
        utility: From the aggregates of all metrics of all tasks, in their order, to one number.
        seed: The same seed gives the same error.
        resamples: Draws of all groups.

    Returns:
        The standard deviation over the draws that are finite, without its last bits: systems that
        differ by as much on every item have an error of 0.
    """
    clusters = [clusters_of(task.groups, task.strata) for task in tasks]
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = [_draws(one, rng, resamples) for one in clusters]
    with np.errstate(all="ignore"):
        differences = utility_difference(tasks, clusters, utility)(drawn)
    finite = differences[np.isfinite(differences)]
    return round(float(np.std(finite)), 12) if len(finite) else 0.0


def _draws(clusters: Clusters, rng: np.random.Generator, resamples: int) -> Draws:
    """Groups drawn with replacement, as many of each stratum as it has: (resamples, groups)."""
    parts = [
        stratum[rng.integers(len(stratum), size=(resamples, len(stratum)))]
        for stratum in clusters.strata
    ]
    return np.concatenate(parts, axis=-1)
