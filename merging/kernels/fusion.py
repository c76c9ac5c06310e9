"""Arcee Fusion and NearSwap on the compiled kernels: two models, element by element.

Arcee Fusion takes quartiles of importance. They are exact order statistics of the whole tensor
here, where mergekit samples tensors of more than a million elements.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..methods.formula import NearSwap
from .combine import ROWS, spread
from .elements import LIKE
from .jit import Array, compiled, inlined
from .numbers import BLOCK
from .operands import Run
from .order import nth_largest
from .primitives import bits_of, float_of, load, store, subtract, uint32
from .transcendental import exp_below, log_of

SOFT = 1e-8
"""Added to probabilities before their logarithm is taken."""
SMALLEST = 1e-6
NEAR = 0x42C80000
"""The bits of 100: twice as far below it exp is still a normal number."""


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

    found, zeros = np.empty(elements, np.float32), np.zeros(elements, np.float32)
    run(lambda a, b: importances(table, rows, width, found, a, b), elements)
    read = (zeros.ctypes.data, found.ctypes.data, LIKE[torch.float32], elements)
    ranks = quartiles(elements)
    spans = run(
        lambda a, b: [nth_largest(*read, elements - ranks[i])[0] for i in range(a, b)], 3, 1
    )
    ordered = [_number(word) for words in spans for word in words]
    cut = threshold(*ordered)
    run(lambda a, b: fuse(out, table, rows, width, cut, a, b), elements)


def quartiles(elements: int) -> tuple[int, int, int]:
    """The places of the quartiles among the sorted elements, from 0."""
    return (elements - 1) // 4, (elements - 1) // 2, 3 * (elements - 1) // 4


def threshold(first: Any, median: Any, third: Any) -> Any:
    """The importance from which an element counts: the median + 1.5 x the interquartile range."""
    return np.float32(median + np.float32(np.float32(1.5) * np.float32(third - first)))


def _number(bits: int) -> Any:
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
def _peak(tensor: Array, start: int, width: int, room: Array) -> float:
    """A number that exp can be taken below: the largest magnitude, or where that is far, the top.

    A maximum of integers is vectorised, one of floats is not.
    """
    word = uint32(0)
    for first in range(0, width, BLOCK):
        count = min(BLOCK, width - first)
        load(tensor[0], tensor[1], start + first, count, room)
        for i in range(count):
            word = max(word, uint32(bits_of(room[i]) & uint32(0x7FFFFFFF)))
    if word < uint32(NEAR):
        return np.float64(float_of(word))
    top = np.float32(-np.inf)
    for first in range(0, width, BLOCK):
        count = min(BLOCK, width - first)
        load(tensor[0], tensor[1], start + first, count, room)
        for i in range(count):
            top = room[i] if room[i] > top else top
    return np.float64(top)


@inlined
def _soften(tensor: Array, start: int, width: int, room: Array, wide: Array, row: Array) -> None:
    """The softmax of a row, and a little more: row float64 [width].

    What a loop writes is none of what it reads: overlapping arrays would not be vectorised.
    """
    peak, mass = _peak(tensor, start, width, room), np.float64(0)
    for first in range(0, width, BLOCK):
        count = min(BLOCK, width - first)
        load(tensor[0], tensor[1], start + first, count, room)
        for i in range(count):
            wide[i] = np.float64(room[i]) - peak
        part = row[first : first + count]
        exp_below(wide, count, part)
        mass += _total(part, count)
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
    room, wide = np.empty(BLOCK, np.float32), np.empty(BLOCK)
    q, p, logs = np.empty(width), np.empty(width), np.empty(BLOCK)
    for row in range(start, stop):
        _soften(tensors[0], row * width, width, room, wide, q)
        _soften(tensors[1], row * width, width, room, wide, p)
        total = np.float64(0)
        for first in range(0, width, BLOCK):
            count = min(BLOCK, width - first)
            for i in range(count):
                wide[i] = p[first + i] / q[first + i]
            log_of(wide, count, logs)
            for i in range(count):
                wide[i] = logs[i] * p[first + i]
            total += _total(wide, count)
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
    """|expert - base| x the row's divergence: float32 [elements of the tensor]."""
    base, room = np.empty(BLOCK, np.float32), np.empty((2, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        _importance(tensors, rows, width, block, count, base, room)
        out[block : block + count] = room[1, :count]


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
