"""Accuracies from margins: what a candidate would score on items that it was not asked.

An item is right where its margin is above 0. Of an item that a candidate was scored on the result
stands; of the others the chance of being right, by what `factors` says of their margins. So a
trial that was scored on sixteen items, and a point of the space that was never tried, are
estimated on all items of the split.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .factors import Factors, Memory, Skills, fitted

Numbers = NDArray[np.float64]

_CAUTION = 1.5
"""On recipes that were left out errors were so many times as large, squared, as the model says."""
_LARGEST = 3.0
"""Times as large as the typical candidate's margins are those of another at most."""
_CHUNK = 256
"""Candidates that are estimated at once: ten arrays of a number an item are held of them."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A task's accuracy over the space; `numbers` and `margins` are NaN where not scored."""

    numbers: Numbers
    """1 where an item was right, shape (candidates, items)."""
    margins: Numbers
    places: Numbers
    factors: Factors

    def of_candidates(self) -> tuple[Numbers, Numbers]:
        """Accuracy of each candidate on all items, and the variance of its error."""
        skills = self._skills()
        parts = [
            self._shares(Skills(skills.means[part], skills.covariances[part]), self.numbers[part])
            for part in _chunks(len(self.numbers))
        ]
        values, variances = zip(*parts, strict=True)
        return np.concatenate(values), np.concatenate(variances)

    def at(self, places: Numbers) -> tuple[Numbers, Numbers]:
        """The same of points of the unit cube, shape (points, axes)."""
        unknown = np.full((len(places), self.numbers.shape[1]), np.nan)
        return self._shares(self.factors.at(places), unknown)

    def _skills(self) -> Skills:
        """Of members as fitted; of others by the members around them and their own items."""
        factors, count = self.factors, len(self.numbers)
        known = factors.known
        means = np.zeros((count, known.means.shape[1]))
        covariances = np.tile(np.eye(means.shape[1]), (count, 1, 1))
        placed = np.isfinite(self.places).all(axis=1)
        around = factors.at(self.places[placed])
        means[placed], covariances[placed] = around.means, around.covariances
        for part in _chunks(count):
            one = factors.told(Skills(means[part], covariances[part]), self.margins[part])
            means[part], covariances[part] = one.means, one.covariances
        means[factors.members] = known.means
        covariances[factors.members] = known.covariances
        return Skills(means, covariances)

    def _shares(self, skills: Skills, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Shares of right items and their variances: one skill moves many items together."""
        from scipy.special import ndtr

        means, variances = self.factors.margins(skills)
        errors = np.sqrt(variances)
        unseen = ~np.isfinite(numbers)
        chances = ndtr(means / errors)
        slopes = np.exp(-0.5 * (means / errors) ** 2) / np.sqrt(2 * np.pi) / errors * unseen
        moved = slopes @ self.factors.table[:, 1:]
        together = np.einsum("cr,crs,cs->c", moved, skills.covariances, moved)
        alone = (chances * (1.0 - chances) * unseen).sum(axis=1)
        items = numbers.shape[1]
        values = np.where(unseen, chances, numbers).mean(axis=1)
        return values, _CAUTION * (together + alone) / items**2


def _chunks(count: int) -> list[slice]:
    """Candidates in runs of at most _CHUNK."""
    return [slice(start, start + _CHUNK) for start in range(0, count, _CHUNK)]


def accuracy(
    numbers: Numbers, margins: Numbers, places: Numbers, memory: Memory | None = None
) -> Accuracy:
    """The accuracy of a task over the space.

    Args:
        numbers: 1 where an item was right, 0 where wrong, NaN where a candidate was not scored;
            shape (candidates, items). Every item was scored for someone.
        margins: How far the gold choice was ahead, NaN as well where it was not scored.
        places: Shape (candidates, axes), in the unit cube; NaN for one without a place.
        memory: Keeps the model that was fitted last.
    """
    tamed = _tamed(margins)
    return Accuracy(numbers, tamed, places, fitted(tamed, places, memory))


def _tamed(margins: Numbers) -> Numbers:
    """Margins of merges that collapsed, scaled down: they are many times as large as others.

    Only signs say who is right; a few such candidates would decide what items have in common.
    """
    sizes = np.concatenate(
        [np.nanmedian(np.abs(margins[part]), axis=1) for part in _chunks(len(margins))]
    )
    largest = _LARGEST * float(np.median(sizes))
    if not largest > 0.0:
        return margins
    shares: Numbers = largest / np.maximum(sizes, largest)
    return margins * shares[:, None]
