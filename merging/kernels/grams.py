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


PART = 1024
"""Elements whose float64 copies, of several vectors, stay in the first-level cache."""


@inlined
def _dot(x: Array, y: Array, count: int) -> float:
    """Eight running sums, which one instruction adds to four at a time."""
    a = b = c = d = e = f = g = h = float64(0)
    whole = count // 8 * 8
    for i in range(0, whole, 8):
        a += x[i] * y[i]
        b += x[i + 1] * y[i + 1]
        c += x[i + 2] * y[i + 2]
        d += x[i + 3] * y[i + 3]
        e += x[i + 4] * y[i + 4]
        f += x[i + 5] * y[i + 5]
        g += x[i + 6] * y[i + 6]
        h += x[i + 7] * y[i + 7]
    for i in range(whole, count):
        a += x[i] * y[i]
    total: float = ((a + b) + (c + d)) + ((e + f) + (g + h))
    return total


@inlined
def _add_gram(room: Array, count: int, wide: Array, out: Array) -> None:
    """Adds the inner products of a block of vectors, room float32 [vectors, BLOCK], to `out`."""
    vectors = len(room)
    for first in range(0, count, PART):
        part = min(PART, count - first)
        for e in range(vectors):
            for i in range(part):
                wide[e, i] = float64(room[e, first + i])
        for i in range(vectors):
            for j in range(i, vectors):
                out[i, j] += _dot(wide[i], wide[j], part)


@inlined
def _mirror(out: Array) -> None:
    for i in range(len(out)):
        for j in range(i):
            out[i, j] = out[j, i]


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
    wide = np.empty((vectors, PART))
    for block in range(start, stop, BLOCK):
        count, place = min(BLOCK, stop - block), block // BLOCK
        _vectors(tensors, origin, block, count, shelf, room)
        out[place] = 0
        _add_gram(room, count, wide, out[place])
        _mirror(out[place])


@compiled
def row_grams(
    tensors: Array, origin: int, vectors: int, length: int, out: Array, start: int, stop: int
) -> None:
    """The inner products of rows [start, stop): out float64 [rows, vectors, vectors]."""
    shelf, room = np.empty(BLOCK, np.float32), np.empty((vectors, BLOCK), np.float32)
    wide = np.empty((vectors, PART))
    for row in range(start, stop):
        out[row] = 0
        for first in range(row * length, (row + 1) * length, BLOCK):
            count = min(BLOCK, (row + 1) * length - first)
            _vectors(tensors, origin, first, count, shelf, room)
            _add_gram(room, count, wide, out[row])
        _mirror(out[row])


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
