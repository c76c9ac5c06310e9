"""Arcee Fusion and NearSwap on the compiled kernels: two models, element by element.

Arcee Fusion takes quartiles of importance. They are exact order statistics of the whole tensor
here, where mergekit samples tensors of more than a million elements.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..methods.formula import NearSwap
from .combine import ROWS, spread
from .jit import Array, compiled, inlined
from .largest import nth_largest
from .numbers import BLOCK
from .operands import Run
from .primitives import load, magnitudes_of, store, subtract
from .transcendental import exp_below, log_of

SOFT = 1e-8
"""Added to probabilities before their logarithm is taken."""
SMALLEST = 1e-6


def nearswap(table: Array, formula: NearSwap, elements: int, out: Array, run: Run) -> None:
    """Fills `out`; table: base and expert as (address, dtype code), out: the target's."""
    t: Any = np.float32(formula.t)
    smallest: Any = np.float32(SMALLEST)
    run(lambda a, b: swap(out, table, t, smallest, a, b), elements)


def fusion(table: Array, shape: Sequence[int], out: Array, run: Run) -> None:
    """Fills `out`; table: base and expert as (address, dtype code), out: the target's."""
    elements = math.prod(shape)
    width = shape[-1] if shape else 1
    rows = np.empty(elements // width, np.float32)
    run(lambda a, b: divergences(table, width, rows, a, b), len(rows), 64)

    def words(out: Array, start: int) -> None:
        importances(table, rows, width, out, start, start + len(out))

    ordered = [
        _quantile(nth_largest(words, elements - rank, elements, run)[0])
        for rank in quartiles(elements)
    ]
    cut = threshold(*ordered)
    run(lambda a, b: fuse(out, table, rows, width, cut, a, b), elements)


def quartiles(elements: int) -> tuple[int, int, int]:
    """The places of the quartiles among the sorted elements, from 0."""
    return (elements - 1) // 4, (elements - 1) // 2, 3 * (elements - 1) // 4


def threshold(first: Any, median: Any, third: Any) -> Any:
    """The importance from which an element counts: the median + 1.5 x the interquartile range."""
    return np.float32(median + np.float32(np.float32(1.5) * np.float32(third - first)))


def _quantile(bits: int) -> Any:
    return np.array([bits], np.uint32).view(np.float32)[0]


@compiled
def swap(out: Array, tensors: Array, t: float, smallest: float, start: int, stop: int) -> None:
    """The expert's part is t / |expert - base|, at most 1."""
    one: Any = np.float32(1)
    a, b = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    mixed = np.empty(BLOCK, np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        load(tensors[0, 0], tensors[0, 1], block, count, a)
        load(tensors[1, 0], tensors[1, 1], block, count, b)
        for i in range(count):
            off = abs(a[i] - b[i])
            share = t / (smallest if off < smallest else off)  # a NaN stays
            share = one if share > one else share
            mixed[i] = share * b[i] + (one - share) * a[i]
        store(out[0], out[1], block, count, mixed)


@inlined
def _soften(tensor: Array, start: int, width: int, room: Array, row: Array) -> None:
    """The softmax of a row, and a little more: row float64 [width]."""
    top = np.float32(-np.inf)
    for first in range(0, width, BLOCK):
        count = min(BLOCK, width - first)
        load(tensor[0], tensor[1], start + first, count, room)
        for i in range(count):
            top = max(top, room[i])
            row[first + i] = room[i]
    mass = np.float64(0)
    for first in range(0, width, BLOCK):
        part = row[first : min(first + BLOCK, width)]
        for i in range(len(part)):
            part[i] -= top
        exp_below(part, len(part), part)
        mass += _total(part, len(part))
    share, soft = 1 / mass, np.float64(SOFT)
    for i in range(width):
        row[i] = row[i] * share + soft


@inlined
def _total(values: Array, count: int) -> float:
    """Four running sums, which one instruction adds to."""
    a = b = c = d = np.float64(0)
    whole = count // 4 * 4
    for i in range(0, whole, 4):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
    for i in range(whole, count):
        a += values[i]
    total: float = (a + b) + (c + d)
    return total


@compiled
def divergences(tensors: Array, width: int, out: Array, start: int, stop: int) -> None:
    """The divergence of the expert's softmax from the base's in rows [start, stop): float32."""
    room = np.empty(BLOCK, np.float32)
    q, p, logs = np.empty(width), np.empty(width), np.empty(min(width, BLOCK))
    for row in range(start, stop):
        _soften(tensors[0], row * width, width, room, q)
        _soften(tensors[1], row * width, width, room, p)
        total = np.float64(0)
        for first in range(0, width, BLOCK):
            count = min(BLOCK, width - first)
            for i in range(count):
                logs[i] = p[first + i] / q[first + i]
            log_of(logs, count, logs)
            for i in range(count):
                logs[i] *= p[first + i]
            total += _total(logs, count)
        out[row] = np.float32(0 if total < 0 else total)  # rounding alone; a NaN stays


@inlined
def _importance(
    tensors: Array, rows: Array, width: int, start: int, count: int, base: Array, room: Array
) -> None:
    """Leaves the delta in room[0], the importance in room[1]."""
    subtract(tensors[0], tensors[1], start, count, base, room[0])
    spread(rows, ROWS, width, start, count, room[1])
    for i in range(count):
        room[1, i] *= abs(room[0, i])


@compiled
def importances(
    tensors: Array, rows: Array, width: int, out: Array, start: int, stop: int
) -> None:
    """The bits of |expert - base| x the row's divergence: uint32 [stop - start]."""
    base, room = np.empty(BLOCK, np.float32), np.empty((2, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        _importance(tensors, rows, width, block, count, base, room)
        magnitudes_of(room[1], count, out[block - start :])


@compiled
def fuse(
    out: Array, tensors: Array, rows: Array, width: int, cut: float, start: int, stop: int
) -> None:
    """The base + the delta where its importance is not below `cut`."""
    base, room = np.empty(BLOCK, np.float32), np.empty((2, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        _importance(tensors, rows, width, block, count, base, room)
        for i in range(count):
            room[0, i] = base[i] + room[0, i] * np.float32(room[1, i] >= cut)
        store(out[0], out[1], block, count, room[0])
