"""Numbers that both engines take from one place, so that their bits cannot drift apart."""

import math
from collections.abc import Iterable

import numpy as np

from ..methods.formula import Sparsity, TaskVectors

BLOCK = 4096
"""Elements whose L1 norm is added in integers; the blocks' norms are then added exactly."""

SMALLEST_NORM = 1e-7
SMALLEST_WEIGHT = 1e-8


def rescaling(before: Iterable[float], after: Iterable[float]) -> float:
    """The factor that gives what is kept the L1 norm of the whole; 1 where either is tiny.

    Takes the norms of the blocks; their sums are exact (fsum), so their order does not matter.
    """
    whole, kept = math.fsum(before), math.fsum(after)
    if whole < SMALLEST_NORM or kept < SMALLEST_NORM:
        return 1.0
    return float(np.float32(whole / kept))


def common_divisor(formula: TaskVectors) -> float | None:
    """What the merged delta is divided by everywhere: 1 is nothing, None differs by element."""
    if not formula.normalize:
        return 1.0
    if formula.elect:
        return None
    total = math.fsum(formula.weights)
    return 1.0 if abs(total) < SMALLEST_WEIGHT else float(np.float32(total))


def kept(sparsity: Sparsity, elements: int) -> int:
    """How many elements the magnitude rule keeps."""
    return max(1, int(sparsity.density * elements))


def band(sparsity: Sparsity, elements: int) -> tuple[int, int]:
    """The ranks [first, stop) that the band rule keeps, 0 being the smallest magnitude."""
    count = int(sparsity.density * elements)
    first = max(0, elements - count - int(sparsity.gamma * elements))
    return first, first + count


def rows(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, inner) of the rows that ranks are taken in, along dimension 1 or a vector."""
    if len(shape) < 2:
        return math.prod(shape), 1
    return shape[1], math.prod(shape[2:])


def limits(sparsity: Sparsity, width: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """The draw below which each rank is kept: uint32 [width], ascending; `threshold` of many."""
    ranks = np.arange(width, dtype=np.float64) / (width - 1) if width > 1 else np.array([0.5])
    kept_share = (sparsity.density - sparsity.epsilon) + 2 * sparsity.epsilon * ranks
    return np.rint(kept_share * (1 << 24)).astype(np.uint32)
