"""Numbers that both engines take from one place, so that their bits cannot drift apart."""

import math
from collections.abc import Sequence

import numpy as np

from ..methods.formula import Sparsity, TaskVectors

BLOCK = 4096
"""Elements over which a sum is taken in a fixed order, before the blocks are added up."""

LANES = 128
"""Running sums of a block's L1 norm, see `merging.kernels.norms`."""

RANKS = 254
NARROW = 255
"""The largest of DELLA's ranks, see `merging.kernels.ranks`; even, so that a half is one."""

OCTAVES = 16 << 7
"""How far below a row's largest bfloat16 magnitude ranks are told apart, in their bits."""

SMALLEST_NORM = 1e-7
SMALLEST_WEIGHT = 1e-8


def rescaling(whole: float, kept: float) -> float:
    """The factor that gives what is kept the L1 norm of the whole; 1 where either is tiny."""
    if whole < SMALLEST_NORM or kept < SMALLEST_NORM:
        return 1.0
    return whole / kept


def common_divisor(formula: TaskVectors) -> float | None:
    """What the merged delta is divided by everywhere: 1 is nothing, None differs by element."""
    if not formula.normalize:
        return 1.0
    if formula.elect:
        return None
    total = math.fsum(formula.weights)
    return 1.0 if abs(total) < SMALLEST_WEIGHT else total


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


def top_rank(width: int) -> int:
    """The byte of the largest magnitude of a row, the smallest has 0; of a row of one too."""
    return width - 1 if 1 < width <= NARROW else RANKS


def rank_limits(sparsity: Sparsity, width: int) -> tuple[int, int]:
    """The limit of the draws for byte 0, and 2^8 x the step of limits from one byte to the next.

    The limit of byte r is below + (step r) >> 8, in 24 bits.
    """
    below = round((sparsity.density - sparsity.epsilon) * (1 << 24))
    return below, round(2 * sparsity.epsilon * (1 << 32) / top_rank(width))


def factors(
    formula: TaskVectors, rescalings: Sequence[float]
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """What each expert's delta is multiplied by, and what its weight counts: float32 [experts, 2].

    Without an election everything is one product: weight, rescaling, scale, over the divisor.
    """
    divisor = common_divisor(formula)
    common = 1.0 if formula.elect or divisor is None else formula.scale / divisor
    pairs = zip(formula.weights, rescalings, strict=True)
    rows = [(weight * rescale * common, weight) for weight, rescale in pairs]
    return np.array(rows, np.float32)
