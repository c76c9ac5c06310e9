"""SCE on the compiled kernels: where experts vary most, weighted by energy, signs elected."""

import math
from typing import Any

import numpy as np
import torch

from ..methods.formula import Selected
from .elements import LIKE
from .jit import Array, compiled, inlined
from .numbers import BLOCK
from .operands import Run
from .order import find_equal, nth_largest
from .primitives import magnitudes_of, store, subtract_all

SMALLEST = 1e-6
"""Mean squares below this count as equal weights, and sums of weights are not below it."""

NOTHING = 0xFFFFFFFF
"""Bits that no variance reaches."""


def selected(table: Array, formula: Selected, elements: int, out: Array, run: Run) -> None:
    """Fills `out`; table: base and experts as (address, dtype code), out: the target's."""
    cut, last = 0, elements
    if formula.share < 1:
        cut, last = _cut(table, formula.share, elements, run)
    blocks = np.empty((-(-elements // BLOCK), len(table) - 1))
    run(lambda a, b: energies(table, cut, last, blocks, a, b), elements)
    weights = shares([math.fsum(column) / elements for column in blocks.T])
    smallest: Any = np.float32(SMALLEST)
    run(lambda a, b: elect(out, table, cut, last, weights, smallest, a, b), elements)


def shares(means: list[float]) -> Array:
    """Weights that add up to 1, from mean squares: float32 [experts]."""
    total = math.fsum(means)
    if abs(total) < SMALLEST:
        return np.full(len(means), 1 / len(means), np.float32)
    return (np.array(means) / total).astype(np.float32)


def _cut(table: Array, share: float, elements: int, run: Run) -> tuple[int, int]:
    """The smallest variance that is kept (its bits), and the last element of it that is."""
    found, zeros = np.empty(elements, np.float32), np.zeros(elements, np.float32)
    run(lambda a, b: variances(table, found, a, b), elements)
    count = int(np.count_nonzero(found) * share)
    if count == 0:
        return NOTHING, 0
    read = (zeros.ctypes.data, found.ctypes.data, LIKE[torch.float32], elements)
    word, place, _ = nth_largest(*read, count)
    return word, find_equal(*read, word, place)


@inlined
def _sum(deltas: Array, count: int, out: Array) -> None:
    out[:] = 0
    for e in range(len(deltas)):
        delta = deltas[e]
        for i in range(count):
            out[i] += delta[i]


@inlined
def _variance(deltas: Array, count: int, mean: Array, out: Array) -> None:
    """The mean square of what differs from the mean, over the experts."""
    many: Any = np.float32(len(deltas))
    _sum(deltas, count, mean)
    for i in range(count):
        mean[i] /= many
    out[:] = 0
    for e in range(len(deltas)):
        delta = deltas[e]
        for i in range(count):
            off = delta[i] - mean[i]
            out[i] += off * off
    for i in range(count):
        out[i] /= many


@inlined
def _mask(
    deltas: Array, cut: int, last: int, start: int, count: int, spare: Array, bits: Array
) -> None:
    """Multiplies by zero where the variance is not among the largest; cut 0 keeps everything."""
    if cut == 0:
        return
    variance = spare[1]
    _variance(deltas, count, spare[0], variance)
    magnitudes_of(variance, count, bits)
    for i in range(count):
        word = np.int64(bits[i])
        spare[0, i] = np.float32((word > cut) | ((word == cut) & (start + i <= last)))
    for e in range(len(deltas)):
        delta, kept = deltas[e], spare[0]
        for i in range(count):
            delta[i] *= kept[i]


@compiled
def variances(tensors: Array, out: Array, start: int, stop: int) -> None:
    """The variance over the experts: float32 [elements of the tensor]."""
    shelf, mean = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    variance = np.empty(BLOCK, np.float32)
    deltas = np.empty((len(tensors) - 1, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        subtract_all(tensors, block, count, shelf, deltas)
        _variance(deltas, count, mean, variance)
        out[block : block + count] = variance[:count]


@compiled
def energies(tensors: Array, cut: int, last: int, out: Array, start: int, stop: int) -> None:
    """The sums of squares of the masked deltas in each block: float64 [blocks, experts]."""
    shelf, bits = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.uint32)
    spare = np.empty((2, BLOCK), np.float32)
    deltas = np.empty((len(tensors) - 1, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        subtract_all(tensors, block, count, shelf, deltas)
        _mask(deltas, cut, last, block, count, spare, bits)
        for e in range(len(deltas)):
            delta = deltas[e]
            total = np.float64(0)
            for i in range(count):
                total += np.float64(delta[i]) * np.float64(delta[i])
            out[block // BLOCK, e] = total


@inlined
def _vote(
    delta: Array, total: Array, weight: float, merged: Array, weights: Array, count: int
) -> None:
    """Adds an expert's delta where it has the sign of the sum; a NaN stays."""
    one: Any = np.float32(1)
    for i in range(count):
        side = one if total[i] >= 0 else -one
        share = weight * np.float32(delta[i] * side > 0)
        merged[i] += delta[i] * share
        weights[i] += share


@inlined
def _finish(
    merged: Array, weights: Array, base: Array, smallest: float, count: int, out: Array
) -> None:
    for i in range(count):
        out[i] = base[i] + merged[i] / max(weights[i], smallest)


@compiled
def elect(
    out: Array,
    tensors: Array,
    cut: int,
    last: int,
    weights: Array,
    smallest: float,
    start: int,
    stop: int,
) -> None:
    """The base + the weighted mean of the masked deltas that agree; weights float32 [experts]."""
    shelf, bits = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.uint32)
    room, spare = np.empty((4, BLOCK), np.float32), np.empty((2, BLOCK), np.float32)
    deltas = np.empty((len(tensors) - 1, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        subtract_all(tensors, block, count, shelf, deltas)
        _mask(deltas, cut, last, block, count, spare, bits)
        _sum(deltas, count, room[0])
        room[1:3] = 0
        for e in range(len(deltas)):
            _vote(deltas[e], room[0], weights[e], room[1], room[2], count)
        _finish(room[1], room[2], shelf, smallest, count, room[3])
        store(out[0], out[1], block, count, room[3])
