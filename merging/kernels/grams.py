"""Kernels for inner products and for sums with coefficients: what angle methods are made of.

Inner products are taken in float64, in which the product of two float32 numbers is exact, over
fixed blocks in a fixed order; `merging.kernels.span` adds the blocks up exactly. A tensor is seen
as [slabs, length, inner], with vectors along the middle: a row has inner 1.

Tensors come as in `merging.kernels.compiled`. `origin` 1: the first of them is subtracted from the
others, and added to the sum in the end.
"""

from typing import Any

import numpy as np
from numba import types

from .jit import Array, compiled, inlined
from .numbers import BLOCK
from .primitives import load, subtract

float64: Any = types.float64


@inlined
def _dot(x: Array, y: Array, count: int) -> float:
    """Eight running sums, which one instruction adds to four at a time."""
    a = b = c = d = e = f = g = h = float64(0)
    whole = count // 8 * 8
    for i in range(0, whole, 8):
        a += float64(x[i]) * float64(y[i])
        b += float64(x[i + 1]) * float64(y[i + 1])
        c += float64(x[i + 2]) * float64(y[i + 2])
        d += float64(x[i + 3]) * float64(y[i + 3])
        e += float64(x[i + 4]) * float64(y[i + 4])
        f += float64(x[i + 5]) * float64(y[i + 5])
        g += float64(x[i + 6]) * float64(y[i + 6])
        h += float64(x[i + 7]) * float64(y[i + 7])
    for i in range(whole, count):
        a += float64(x[i]) * float64(y[i])
    total: float = ((a + b) + (c + d)) + ((e + f) + (g + h))
    return total


@inlined
def _vectors(
    tensors: Array, origin: int, start: int, count: int, shelf: Array, out: Array
) -> None:
    """Reads [start, start + count) of every vector: out float32 [vectors, BLOCK]."""
    for e in range(len(out)):
        if origin:
            subtract(tensors[0], tensors[1 + e], start, count, shelf, out[e])
        else:
            load(tensors[e, 0], tensors[e, 1], start, count, out[e])


@compiled
def block_grams(
    tensors: Array, origin: int, vectors: int, out: Array, start: int, stop: int
) -> None:
    """The inner products of each block: out float64 [blocks of the tensor, vectors, vectors]."""
    shelf, room = np.empty(BLOCK, np.float32), np.empty((vectors, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        _vectors(tensors, origin, block, count, shelf, room)
        for i in range(vectors):
            for j in range(i, vectors):
                product = _dot(room[i], room[j], count)
                out[block // BLOCK, i, j] = product
                out[block // BLOCK, j, i] = product


@compiled
def row_grams(
    tensors: Array, origin: int, vectors: int, length: int, out: Array, start: int, stop: int
) -> None:
    """The inner products of rows [start, stop): out float64 [rows, vectors, vectors]."""
    shelf, room = np.empty(BLOCK, np.float32), np.empty((vectors, BLOCK), np.float32)
    for row in range(start, stop):
        out[row] = 0
        for first in range(row * length, (row + 1) * length, BLOCK):
            count = min(BLOCK, (row + 1) * length - first)
            _vectors(tensors, origin, first, count, shelf, room)
            for i in range(vectors):
                for j in range(vectors):
                    out[row, i, j] += _dot(room[min(i, j)], room[max(i, j)], count)


@compiled
def column_grams(
    tensors: Array,
    origin: int,
    vectors: int,
    length: int,
    inner: int,
    out: Array,
    start: int,
    stop: int,
) -> None:
    """Of columns [start, stop) of [length, inner]: out float64 [inner, vectors, vectors]."""
    shelf, room = np.empty(BLOCK, np.float32), np.empty((vectors, BLOCK), np.float32)
    for first in range(start, stop, BLOCK):
        count = min(BLOCK, stop - first)
        sums = np.zeros((vectors, vectors, BLOCK), np.float64)
        for j in range(length):
            _vectors(tensors, origin, j * inner + first, count, shelf, room)
            for x in range(vectors):
                for y in range(x, vectors):
                    _add_products(room[x], room[y], sums[x, y], count)
        for x in range(vectors):
            for y in range(vectors):
                out[first : first + count, x, y] = sums[min(x, y), max(x, y), :count]


@inlined
def _add_products(x: Array, y: Array, sums: Array, count: int) -> None:
    for i in range(count):
        sums[i] += float64(x[i]) * float64(y[i])
