"""The kernel of all Gaussian processes over a search space, and how its lengths are chosen.

Matern 5/2 over the unit cube, with a length for each axis: some numbers of a recipe matter much,
others hardly (Rasmussen and Williams 2006, 4.2.1 and 5.1). Lengths are steps of a grid, climbed
from the best length for all axes, one axis after the other, for as long as the marginal likelihood
rises: nothing to converge, and the same numbers give the same lengths.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LENGTHS = (0.2, 0.3, 0.5, 0.8, 1.3, 2.0, 3.2, 5.0)
"""In units of an axis times the root of their number: a range is one long."""
_SWEEPS = 2
_APART = 24
"""More axes than this share one length: there are too few candidates to tell them apart."""


def matern(points: Numbers, others: Numbers, lengths: Numbers) -> Numbers:
    """Correlations of a process between points, shape (points, others).

    Args:
        points: Shape (points, axes).
        others: Shape (others, axes).
        lengths: Shape (axes,).
    """
    left = points / (lengths * math.sqrt(points.shape[1]))
    right = others / (lengths * math.sqrt(points.shape[1]))
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2.0 * left @ right.T
    root = np.sqrt(5.0 * np.maximum(squares, 0.0))
    found: Numbers = (1.0 + root + root**2 / 3.0) * np.exp(-root)
    return found


def climbed(
    likelihood: Callable[[Numbers, float], float],
    axes: int,
    others: Sequence[float],
    *,
    gain: float = 0.0,
) -> tuple[Numbers, float]:
    """The lengths that are found likeliest, shape (axes,), and the other number.

    Args:
        likelihood: Of lengths and another number: the log marginal likelihood.
        axes: How many.
        others: What the other number may be; it is chosen with one length for all axes.
        gain: A step of one axis must raise the likelihood by more than this.
    """
    grid = np.array(LENGTHS)
    even = [
        (likelihood(np.full(axes, one), other), place, other)
        for other in others
        for place, one in enumerate(grid)
    ]
    best, start, other = max(even, key=lambda one: one[0])
    at = [start] * axes

    def own(lengths: Numbers) -> float:
        return likelihood(lengths, other)

    for _ in range(_SWEEPS if 1 < axes <= _APART else 0):
        before = list(at)
        for axis in range(axes):
            for step in (1, -1):
                best, moved = _along(own, grid, at, axis, step, best, gain)
                if moved:
                    break
        if at == before:
            break
    return grid[at], other


def _along(
    likelihood: Callable[[Numbers], float],
    grid: Numbers,
    at: list[int],
    axis: int,
    step: int,
    best: float,
    gain: float,
) -> tuple[float, bool]:
    """Moves one axis of `at` as far as that helps; the likelihood there, and whether it moved."""
    moved = False
    while 0 <= at[axis] + step < len(grid):
        at[axis] += step
        found = likelihood(grid[at])
        if found <= best + gain:
            at[axis] -= step
            break
        best, moved = found, True
    return best, moved
