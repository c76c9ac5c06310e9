"""The Pareto front and its hypervolume, by moocore.

The hypervolume is told on a common scale: every objective is shifted and divided so that the
reference models span [0, 1] from their worst to their best, higher better; the reference point
is the worst of each. So 1 would be a candidate as good as the best reference at everything, and
a point counts only where it beats the worst reference at everything. The scale is fixed by the
references, so the history never falls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray


def pareto_front(values: ArrayLike, higher_is_better: Sequence[bool]) -> list[int]:
    """Indices, ascending, of the points that no other dominates; equal points are all kept.

    Args:
        values: Shape (points, objectives). A point with a NaN or an infinity is never on the
            front.
        higher_is_better: One direction an objective.
    """
    points = _matrix(values, higher_is_better)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not finite.size:
        return []
    kept = moocore.is_nondominated(
        points[finite], maximise=list(higher_is_better), keep_weakly=True
    )
    return [int(index) for index in finite[kept]]


def hypervolume(
    values: ArrayLike, higher_is_better: Sequence[bool], references: ArrayLike
) -> float:
    """The volume that points dominate, on the scale of the references, at least 0.

    Args:
        values: Shape (points, objectives), at least 0 points.
        higher_is_better: One direction an objective.
        references: Shape (models, objectives), at least 1 model: what 0 and 1 are.
    """
    history = hypervolume_history(values, higher_is_better, references)
    return history[-1] if history else 0.0


def hypervolume_history(
    values: ArrayLike, higher_is_better: Sequence[bool], references: ArrayLike
) -> list[float]:
    """The hypervolume of the first 1, 2, ... points, which never falls; see `hypervolume`."""
    points = _matrix(values, higher_is_better)
    placed = reference_scale(references, higher_is_better).of(points)
    scaled = np.where(np.isfinite(points), placed, -1.0)
    front = np.empty((0, len(higher_is_better)))
    history: list[float] = []
    for point in scaled:
        volume = history[-1] if history else 0.0
        if (point > 0).all() and not (front >= point).all(axis=1).any():
            front = np.vstack([front, point])
            front = front[moocore.is_nondominated(front, maximise=True)]
            volume = float(moocore.hypervolume(front, ref=0.0, maximise=True))
        history.append(max(volume, history[-1] if history else 0.0))
    return history


@dataclass(frozen=True, slots=True)
class Scale:
    """What 0 is and how long 1 is, shape (objectives,); higher is better on it."""

    zero: NDArray[np.float64]
    unit: NDArray[np.float64]

    def of(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of shape (points, objectives) on the scale."""
        return (points - self.zero) / self.unit


def reference_scale(references: ArrayLike, higher_is_better: Sequence[bool]) -> Scale:
    """The scale of the references' values; a unit of 1 where all of them are equal.

    Args:
        references: Shape (models, objectives), at least 1 model.
        higher_is_better: One direction an objective.
    """
    models = _matrix(references, higher_is_better)
    lowest, highest = models.min(axis=0), models.max(axis=0)
    up = np.array(higher_is_better)
    zero, best = np.where(up, lowest, highest), np.where(up, highest, lowest)
    unit = np.where(best == zero, np.where(up, 1.0, -1.0), best - zero)
    return Scale(zero, unit)


def _matrix(values: ArrayLike, higher_is_better: Sequence[bool]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(-1, len(higher_is_better))
