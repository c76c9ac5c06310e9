"""Whether the gradient phase predicts what candidates score: its points are used while it does.

The phase predicts utilities of points from losses on `calibration`; candidates are scored on
`search`. Compared are ranks (Spearman), one objective at a time, leaving out one candidate at a
time, so that no single one decides; what is trusted is the mean.
"""

from collections.abc import Sequence

ENOUGH = 6
"""So many candidates must be scored before anything is said."""
TRUSTED = 0.5
"""The rank correlation above which predictions are followed."""


def rank_correlation(
    predicted: Sequence[Sequence[float]], scored: Sequence[Sequence[float]]
) -> float | None:
    """The mean leave-one-out Spearman correlation over objectives; None where nothing ranks.

    Args:
        predicted: Utilities (candidates, objectives), higher is better.
        scored: The same candidates' scores, turned so that higher is better.
    """
    import numpy as np
    from scipy.stats import rankdata

    found: list[float] = []
    for ours, theirs in zip(zip(*predicted, strict=True), zip(*scored, strict=True), strict=True):
        for out in range(len(ours)):
            one = rankdata([value for k, value in enumerate(ours) if k != out])
            two = rankdata([value for k, value in enumerate(theirs) if k != out])
            if np.ptp(one) > 0 and np.ptp(two) > 0:
                found.append(float(np.corrcoef(one, two)[0, 1]))
    return sum(found) / len(found) if found else None


def trusted(
    predicted: Sequence[Sequence[float]], scored: Sequence[Sequence[float]]
) -> tuple[bool, float | None]:
    """Whether to go on with predicted points, and the correlation; yes while few are scored."""
    if len(predicted) < ENOUGH:
        return True, None
    found = rank_correlation(predicted, scored)
    return found is not None and found > TRUSTED, found
