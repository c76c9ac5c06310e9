"""When a race drops a candidate: tests of paired differences on common items.

A candidate is dropped when, against one reference, the upper bound of its difference is below
`margin` on every objective and below 0 on at least one. That it must be so on every objective is
an intersection-union test, which needs no correction over objectives (Berger 1982); alpha is
divided by references times looks (Bonferroni). Right and wrong items: the exact McNemar test, and
for the margin the interval of Agresti and Min (2005), which adds half an item to each cell; other
numbers: the paired t test. One-sided throughout.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]

ALPHA = 0.05
"""Chance that a candidate as good as a reference is dropped for it, over all looks."""
MARGIN = 0.01
"""A difference this small does not matter: a point of accuracy, 1% of the base otherwise."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Candidate minus reference, item by item, higher better; groups by number; 0/1 metrics."""

    items: Numbers
    groups: Sequence[int]
    binary: bool
    margin: float


def dominated(differences: Sequence[Difference], alpha: float) -> bool:
    """Whether the candidate is shown to be no better anywhere, and worse somewhere."""
    if not differences or any(len(one.items) < 2 for one in differences):
        return False
    bounds = [upper_bound(one, alpha) for one in differences]
    if any(bound >= one.margin for bound, one in zip(bounds, differences, strict=True)):
        return False
    return any(worse_p_value(one) <= alpha for one in differences)


def worse_p_value(difference: Difference) -> float:
    """One-sided p-value of the candidate being no worse than the reference."""
    if difference.binary and _single(difference.groups):
        lost = int((difference.items < 0).sum())
        won = int((difference.items > 0).sum())
        if lost + won == 0:
            return 1.0
        return float(stats.binomtest(lost, lost + won, 0.5, alternative="greater").pvalue)
    sums, mean, error = _clustered(difference)
    if error == 0.0:
        return 1.0
    return float(stats.t.cdf(mean / error, len(sums) - 1))


def upper_bound(difference: Difference, alpha: float) -> float:
    """Upper confidence bound of the mean difference, at 1 - alpha."""
    if difference.binary and _single(difference.groups):
        lost = float((difference.items < 0).sum()) + 0.5
        won = float((difference.items > 0).sum()) + 0.5
        count = len(difference.items) + 2.0
        mean = (won - lost) / count
        variance = ((won + lost) / count - mean**2) / count
        return float(mean + stats.norm.isf(alpha) * np.sqrt(variance))
    sums, mean, error = _clustered(difference)
    return float(mean + stats.t.isf(alpha, len(sums) - 1) * error) if error else np.inf


def _single(groups: Sequence[int]) -> bool:
    """Whether every item is a group of its own, so that items are independent."""
    return len(set(groups)) == len(groups)


def _clustered(difference: Difference) -> tuple[Numbers, float, float]:
    """Sums of the groups' differences, the mean over items, its standard error over groups."""
    _, places = np.unique(np.asarray(difference.groups), return_inverse=True)
    sums: Numbers = np.bincount(places, weights=difference.items).astype(np.float64)
    counts = np.bincount(places)
    mean = float(difference.items.mean())
    clusters = len(sums)
    if clusters < 2:
        return sums, mean, 0.0
    rest = sums - mean * counts
    error = np.sqrt(clusters / (clusters - 1) * float((rest**2).sum())) / len(difference.items)
    return sums, mean, float(error)
