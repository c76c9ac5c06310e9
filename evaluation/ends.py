"""The ends of a bootstrap interval, so that it covers what it says with few groups too.

The plain BCa interval of 30 to 60 groups that calls itself 95% covers 85 to 95%
(docs/statistics.md). Three reasons, each with its published remedy:

- It is too narrow. What n groups drawn from n groups vary by is (n - 1) / n of the variance, and a
  normal quantile takes the spread for known. Hesterberg (2015, doi:10.1080/00031305.2015.1089789)
  reads the ends at a wider level, Phi(-sqrt(n / (n - 1)) t): "expanded percentile". The root is
  taken as it is where groups are uneven: the jackknife's standard error over the bootstrap's.
- With uneven groups, long tails or rare errors the spread is known worse than n says. So t has
  Satterthwaite's degrees of freedom, from the kurtosis of the groups' influences (Valliant and
  Rust 2010, "Degrees of freedom approximations and rules-of-thumb").
- BCa (Efron 1987) corrects for a bias and a skewness that it takes from the same few groups. Its
  correction may move an end of the expanded percentile interval outwards, never inwards.

All of it vanishes as groups become many: BCa is left out there.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from .resampling import Draws, Numbers

Statistic = Callable[[Sequence[Draws]], Numbers]
"""From one draw a sample, shapes (..., n), to the statistic, shape (...)."""

_BATCH_NUMBERS = 2**22
"""Numbers held at a time: 32 MiB."""
_MANY = 2000
"""Groups from which on BCa has nothing to correct; its jackknife takes their square in time."""
_BLOCKS = 500
"""The least number of parts that are left out in turn; more groups are left out by the block."""
_FEWEST_DEGREES = 4.0
"""Of freedom. With fewer the ends would be the outermost resamples, and follow their number."""
_WIDEST = 1.5
"""The most by which the jackknife widens: it is wild where a statistic jumps, as a median does."""


def bootstrap_ends(
    samples: Sequence[Draws],
    statistic: Statistic,
    *,
    seed: int,
    resamples: int,
    level: float,
) -> tuple[float, float] | None:
    """The two-sided interval of a statistic of independent samples of groups.

    Where BCa does not exist (all resamples are equal, or on one side of the estimate, or some are
    undefined) the ends are those of the finite resamples; None where there are none.
    """
    drawn = _bootstrap(samples, statistic, seed, n_resamples=resamples, method="percentile")
    finite = drawn.bootstrap_distribution[np.isfinite(drawn.bootstrap_distribution)]
    if not len(finite):
        return None
    with np.errstate(all="ignore"):
        influences = [_influences(place, samples, statistic) for place in range(len(samples))]
    z = widened(influences, float(np.std(finite)), level)
    low, high = np.quantile(finite, stats.norm.cdf([-z, z]))
    if sum(len(sample) for sample in samples) < _MANY:
        wider = float(1 - 2 * stats.norm.cdf(-z))
        options = {"bootstrap_result": drawn, "n_resamples": 0, "confidence_level": wider}
        bca = _bootstrap(samples, statistic, seed, method="BCa", **options).confidence_interval
        if np.isfinite(bca.low) and np.isfinite(bca.high):
            low, high = min(low, bca.low), max(high, bca.high)
    return float(low), float(high)


def widened(influences: Sequence[Numbers], spread: float, level: float) -> float:
    """Where the ends of an interval are, in standard deviations of the normal.

    Args:
        influences: For each sample of n groups, (n - 1) times what the statistic loses without
            each group in turn: the jackknife's pseudo-values about their mean.
        spread: The standard deviation of the resamples.
        level: Coverage, in (0, 1).
    """
    tail = (1 - level) / 2
    sizes = np.array([len(part) for part in influences], dtype=np.float64)
    squares = np.array([(part**2).sum() for part in influences])
    if not (np.isfinite(squares).all() and squares.sum() > 0):
        n, known = sizes.sum(), sizes.sum() - len(sizes)
        return float(-np.sqrt(n / known) * stats.t.ppf(tail, known))
    variances = squares / (sizes * (sizes - 1))
    total = variances.sum()
    fourths = np.array([(part**4).sum() for part in influences])
    kurtosis = sizes * fourths / np.where(squares > 0, squares, 1) ** 2
    noise = np.maximum(1 / (sizes - 1), (kurtosis - 1) / (2 * sizes))
    degrees = max(total**2 / (variances**2 * noise).sum(), _FEWEST_DEGREES)
    drawn = np.sqrt((squares / sizes**2).sum())  # what the bootstrap's deviation is of a mean
    factor = np.sqrt(total) / (min(drawn, spread) if spread else drawn)
    return float(-min(factor, _WIDEST) * stats.t.ppf(tail, degrees))


def _influences(place: int, samples: Sequence[Draws], statistic: Statistic) -> Numbers:
    """What `widened` takes of one sample; of a large one, of blocks of groups in their order."""
    sample = samples[place]
    n, block = len(sample), max(1, len(sample) // _BLOCKS)
    rows = max(1, _BATCH_NUMBERS // (4 * sum(len(other) for other in samples)))
    values = []
    for start in range(0, n // block, rows):
        gone = np.arange(start, min(start + rows, n // block))
        kept = np.arange(n) // block != gone[:, None]
        drawn = [np.broadcast_to(other, (len(gone), len(other))) for other in samples]
        drawn[place] = np.broadcast_to(sample, kept.shape)[kept].reshape(len(gone), n - block)
        values.append(statistic(drawn))
    found = np.concatenate(values)
    return np.asarray((n - block) / block * (found.mean() - found))


def _bootstrap(samples: Sequence[Draws], statistic: Statistic, seed: int, **options: Any) -> Any:
    """The bootstrap of scipy, of independent samples."""
    size = sum(len(sample) for sample in samples)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy says what the ends say: BCa is degenerate
        return stats.bootstrap(
            tuple(samples),
            lambda *drawn, axis: statistic(drawn),
            batch=max(1, _BATCH_NUMBERS // (4 * size)),
            vectorized=True,
            axis=-1,
            rng=np.random.Generator(np.random.PCG64(seed)),
            **options,
        )
