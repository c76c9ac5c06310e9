"""The kernel that adds up vectors times coefficients, which may differ by row or by column."""

import numpy as np

from .jit import Array, compiled, inlined
from .numbers import BLOCK
from .primitives import load, store, subtract

TENSOR, ROWS, COLUMNS = 0, 1, 2
"""What one coefficient is for: all elements, a row of `width`, a column of rows of `width`."""


@inlined
def spread(
    coefficients: Array, groups: int, width: int, start: int, count: int, out: Array
) -> None:
    """The coefficient of each of `count` elements, one run of equal group or order at a time."""
    done = 0
    while done < count:
        place = start + done
        run = min(width - place % width, count - done)
        if groups == ROWS:
            out[done : done + run] = coefficients[place // width]
        else:
            first = place % width
            out[done : done + run] = coefficients[first : first + run]
        done += run


@inlined
def _add_scaled(total: Array, values: Array, factors: Array, count: int) -> None:
    for i in range(count):
        total[i] += values[i] * factors[i]


@inlined
def _add(total: Array, values: Array, count: int) -> None:
    for i in range(count):
        total[i] = values[i] + total[i]


@compiled
def combine(
    out: Array,
    tensors: Array,
    origin: int,
    coefficients: Array,
    groups: int,
    width: int,
    start: int,
    stop: int,
) -> None:
    """The origin + the sum of coefficient x (tensor - origin), rounded once.

    tensors int64 [(1 +) vectors, 2]; coefficients float32 [vectors, groups]; `origin` 1: the first
    tensor is it. A coefficient of exactly 1 alone, beside zeros, is not special here.
    """
    one = np.empty(BLOCK, np.float32)
    total, base = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    vectors = len(coefficients)
    factors = np.empty((vectors, BLOCK), np.float32)
    for e in range(vectors):
        factors[e] = coefficients[e, 0]
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        total[:] = 0
        for e in range(vectors):
            if origin:
                subtract(tensors[0], tensors[1 + e], block, count, base, one)
            else:
                load(tensors[e, 0], tensors[e, 1], block, count, one)
            if groups != TENSOR:
                spread(coefficients[e], groups, width, block, count, factors[e])
            _add_scaled(total, one, factors[e], count)
        if origin:
            _add(total, base, count)
        store(out[0], out[1], block, count, total)
