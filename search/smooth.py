"""Estimates of candidates made better by their neighbours': a Gaussian process over the space.

Recipes that are near each other score alike, so what was seen of one says something of the other.
The posterior at the candidates themselves is their estimates without most of the noise, with the
noise of each taken as known: little was seen of some, all of others. Matern 5/2, one length for
all coordinates; length and signal by the largest marginal likelihood on a grid, so there is
nothing to converge (Rasmussen and Williams 2006, equations 2.25, 2.26 and 2.30). Where too little
is known for that, estimates are drawn towards their mean (James and Stein 1961).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LEAST = 8
"""Fewer candidates than this are drawn towards their mean, whatever their neighbours say."""
_LENGTHS = (0.15, 0.3, 0.5, 0.8, 1.3)
"""Of the kernel, in units of a coordinate's range times the root of their number."""
_SIGNALS = (0.3, 1.0, 3.0)
"""Variance of the process, in units of the estimates' variance."""
_NUGGET = 0.02
"""Variance of what no neighbour can know, in the same units."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the variance of its error; the variance is 0 where nothing is known of it."""

    value: float
    variance: float


def smoothed(estimates: Sequence[Estimate], places: Sequence[Numbers | None]) -> list[Estimate]:
    """The posterior of each estimate.

    Args:
        estimates: Of one objective.
        places: Coordinates of each in the unit cube, all of one length; None: it has none, and
            is drawn towards the mean.
    """
    known = [n for n, place in enumerate(places) if place is not None]
    result = towards_mean(estimates)
    if len(known) < LEAST:
        return result
    values = np.array([estimates[n].value for n in known])
    noise = np.array([estimates[n].variance for n in known])
    spread = float(values.var())
    if not spread > 0.0:
        return result
    points = np.array([places[n] for n in known])
    means, variances = _posterior(values, noise, spread, _distances(points))
    for n, mean, variance in zip(known, means.tolist(), variances.tolist(), strict=True):
        result[n] = Estimate(mean, max(variance, 0.0))
    return result


def towards_mean(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Each estimate drawn towards the mean of all, by the share of their spread that is noise.

    Under three estimates stay as they are.
    """
    if len(estimates) < 3:
        return list(estimates)
    values = np.array([one.value for one in estimates])
    mean, spread = float(values.mean()), float(values.var(ddof=1))
    noise = float(np.mean([one.variance for one in estimates]))
    real = max(spread - noise, 0.1 * spread)
    return [_drawn(one, mean, real) for one in estimates]


def _drawn(one: Estimate, mean: float, real: float) -> Estimate:
    total = real + one.variance
    if not total > 0.0 or not math.isfinite(total):
        return one
    share = real / total
    return Estimate(mean + share * (one.value - mean), share * one.variance)


def _distances(points: Numbers) -> Numbers:
    """Between all points, over the root of the dimensions; shape (points, points)."""
    gaps = points[:, None, :] - points[None, :, :]
    found: Numbers = np.sqrt((gaps**2).mean(axis=2))
    return found


def _posterior(
    values: Numbers, noise: Numbers, spread: float, distances: Numbers
) -> tuple[Numbers, Numbers]:
    """Means and variances at the points, under the likeliest length and signal."""
    best = (-math.inf, values, noise)
    for length in _LENGTHS:
        root = math.sqrt(5.0) * distances / length
        shape = (1.0 + root + root**2 / 3.0) * np.exp(-root)
        for signal in _SIGNALS:
            kernel = signal * spread * shape + _NUGGET * spread * np.eye(len(values))
            found = _conditioned(values, noise, kernel)
            if found[0] > best[0]:
                best = found
    return best[1], best[2]


def _conditioned(
    values: Numbers, noise: Numbers, kernel: Numbers
) -> tuple[float, Numbers, Numbers]:
    """Log marginal likelihood, means and variances; the mean of the process by least squares."""
    from scipy.linalg import cho_factor, cho_solve

    factor = cho_factor(kernel + np.diag(noise + 1e-9 * kernel[0, 0]), lower=True)
    ones = np.ones(len(values))
    weights = cho_solve(factor, ones)
    mean = float(weights @ values / (weights @ ones))
    rest = values - mean
    solved = cho_solve(factor, rest)
    likelihood = -0.5 * float(rest @ solved) - float(np.log(np.diag(factor[0])).sum())
    means = mean + kernel @ solved
    variances = np.diag(kernel) - np.einsum("ij,ji->i", kernel, cho_solve(factor, kernel))
    return likelihood, means, variances
