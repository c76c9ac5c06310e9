"""Estimates of candidates made better by their neighbours': a Gaussian process over the space.

Recipes that are near each other score alike, so what was seen of one says something of the other.
The posterior at the candidates themselves is their estimates without most of the noise, with the
noise of each taken as known: little was seen of some, all of others. The same process says what
points are worth that were never tried. Kernel and lengths as in `kernel`; the signal by the
largest marginal likelihood on a grid (Rasmussen and Williams 2006, equations 2.25, 2.26 and 2.30).
Where too little is known for that, estimates are drawn towards their mean (James and Stein 1961).

Costs the cube of the candidates. So of more than TOLD only those that were scored on most items
tell others of themselves; each of the rest is placed by these and its own estimate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .kernel import climbed, matern

Numbers = NDArray[np.float64]

LEAST = 8
"""Fewer candidates than this are drawn towards their mean, whatever their neighbours say."""
MOST = 64
"""Lengths are chosen by so many candidates, those that are known best."""
TOLD = 256
"""Candidates that tell others of themselves: with more a proposal would wait for the estimates."""
_SIGNALS = (0.3, 1.0, 3.0)
"""Variance of the process, in units of the estimates' variance."""
_NUGGET = 0.02
"""Variance of what no neighbour can know, in the same units."""
_GAIN = 0.5
"""An axis has a length of its own where that raises the log likelihood by so much."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and the variance of its error; the variance is 0 where nothing is known of it."""

    value: float
    variance: float


@dataclass(frozen=True, slots=True)
class Process:
    """A process over the space, conditioned on noisy values at points."""

    points: Numbers
    values: Numbers
    noise: Numbers
    lengths: Numbers
    signal: float
    nugget: float

    def likelihood(self) -> float:
        """Log marginal likelihood, up to a constant; the mean of the process by least squares."""
        factor, mean = self._factor()
        rest = self.values - mean
        solved = _solved(factor, rest)
        return -0.5 * float(rest @ solved) - float(np.log(np.diag(factor[0])).sum())

    def at_points(self) -> tuple[Numbers, Numbers]:
        """Means and variances at the points themselves."""
        kernel = self._kernel()
        return self._posterior(kernel, np.diag(kernel))

    def at(self, places: Numbers) -> tuple[Numbers, Numbers]:
        """Means and variances elsewhere, shape (places,)."""
        near = self.signal * matern(places, self.points, self.lengths)
        return self._posterior(near, np.full(len(places), self.signal + self.nugget))

    def _posterior(self, near: Numbers, own: Numbers) -> tuple[Numbers, Numbers]:
        factor, mean = self._factor()
        means = mean + near @ _solved(factor, self.values - mean)
        variances = own - np.einsum("ij,ji->i", near, _solved(factor, near.T))
        return means, np.maximum(variances, 0.0)

    def _kernel(self) -> Numbers:
        shape = self.signal * matern(self.points, self.points, self.lengths)
        return shape + self.nugget * np.eye(len(self.values))

    def _factor(self) -> tuple[tuple[Numbers, bool], float]:
        from scipy.linalg import cho_factor

        kernel = self._kernel()
        factor = cho_factor(kernel + np.diag(self.noise + 1e-9 * kernel[0, 0]), lower=True)
        weights = _solved(factor, np.ones(len(self.values)))
        return factor, float(weights @ self.values / weights.sum())


Memory = dict[bytes, tuple[Numbers, float]]
"""Lengths and signal by the numbers that they were chosen by, the latest few."""
_REMEMBERED = 16


def process(
    values: Numbers, noise: Numbers, points: Numbers, memory: Memory | None = None
) -> Process | None:
    """The likeliest process; None where all values are equal.

    Args:
        values: Shape (points,).
        noise: Variance of the error of each.
        points: Shape (points, axes), in the unit cube.
        memory: Keeps what was chosen; nothing that is found depends on it.
    """
    memory = {} if memory is None else memory
    spread = float(values.var())
    if not spread > 0.0:
        return None
    best = np.sort(np.argsort(noise, kind="stable")[:MOST])
    nugget = _NUGGET * spread

    def of(lengths: Numbers, signal: float) -> Process:
        return Process(points[best], values[best], noise[best], lengths, signal, nugget)

    def likelihood(lengths: Numbers, signal: float) -> float:
        return of(lengths, signal).likelihood()

    chosen_by = [np.array([spread]), values[best], noise[best], points[best]]
    key = b"".join(one.tobytes() for one in chosen_by)
    if key not in memory:
        signals = [share * spread for share in _SIGNALS]
        memory[key] = climbed(likelihood, points.shape[1], signals, gain=_GAIN)
        if len(memory) > _REMEMBERED:
            del memory[next(iter(memory))]
    lengths, signal = memory[key]
    return Process(points, values, noise, lengths, signal, nugget)


def smoothed(
    estimates: Sequence[Estimate],
    places: Sequence[Numbers | None],
    memory: Memory | None = None,
    items: Sequence[int] | None = None,
) -> list[Estimate]:
    """The posterior of each estimate.

    Args:
        estimates: Of one objective.
        places: Coordinates of each in the unit cube, all of one length; None: it has none, and
            is drawn towards the mean.
        memory: As in `process`.
        items: How many each was scored on; None: all on as many.
    """
    known = [n for n, place in enumerate(places) if place is not None]
    result = towards_mean(estimates)
    found = around(estimates, places, memory, items)
    if found is not None:
        told = _told(known, items)
        means, variances = found.at_points()
        for at, mean, variance in zip(told, means.tolist(), variances.tolist(), strict=True):
            result[known[at]] = Estimate(mean, variance)
        if rest := sorted(set(range(len(known))) - set(told)):
            others = [known[at] for at in rest]
            means, variances = found.at(np.array([places[n] for n in others]))
            for n, mean, variance in zip(others, means.tolist(), variances.tolist(), strict=True):
                result[n] = _both(estimates[n], Estimate(mean, variance))
    return result


def _told(known: Sequence[int], items: Sequence[int] | None) -> list[int]:
    """Places in `known` of those that tell others of themselves, ascending.

    Those scored on most, of equals the first. Not the least noisy: the noise of who was lucky with
    a few items is small as well, and everybody would be drawn to the lucky.
    """
    counts = np.array([0 if items is None else -items[n] for n in known])
    return sorted(np.argsort(counts, kind="stable")[:TOLD].tolist())


def _both(own: Estimate, around: Estimate) -> Estimate:
    """What a candidate's own items and its neighbours say together."""
    total = own.variance + around.variance
    if not total > 0.0:
        return own
    share = around.variance / total
    return Estimate(around.value + share * (own.value - around.value), share * own.variance)


def around(
    estimates: Sequence[Estimate],
    places: Sequence[Numbers | None],
    memory: Memory | None = None,
    items: Sequence[int] | None = None,
) -> Process | None:
    """The process of estimates that have a place; None where they are too few, or all equal."""
    known = [n for n, place in enumerate(places) if place is not None]
    if len(known) < LEAST:
        return None
    known = [known[at] for at in _told(known, items)]
    values = np.array([estimates[n].value for n in known])
    noise = np.array([estimates[n].variance for n in known])
    return process(values, noise, np.array([places[n] for n in known]), memory)


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


def _solved(factor: tuple[Numbers, bool], right: Numbers) -> Numbers:
    from scipy.linalg import cho_solve

    found: Numbers = cho_solve(factor, right, check_finite=False)
    return found
