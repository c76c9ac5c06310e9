"""RAM on the compiled kernels: deltas of one expert alone are raised, shared ones averaged."""

from typing import Any

import numpy as np

from ..methods.formula import Overlap
from .jit import Array, compiled, inlined
from .numbers import BLOCK
from .operands import Run
from .primitives import store, subtract_all


def overlap(table: Array, formula: Overlap, elements: int, out: Array, run: Run) -> None:
    """Fills `out`; table: base and experts as (address, dtype code), out: the target's."""
    threshold: Any = np.float32(formula.threshold)
    counts = np.zeros((len(table) - 1, 2), np.int64)
    if formula.rate:
        spans = run(lambda a, b: _counted(table, threshold, a, b), elements)
        counts = np.sum(spans, axis=0)
    factors = raised(formula, counts)
    run(lambda a, b: average(out, table, threshold, factors, a, b), elements)


def raised(formula: Overlap, counts: Array) -> Array:
    """What each expert's own elements are multiplied by: float32 [experts].

    counts int64 [experts, 2]: elements it shares with another, elements it has alone.
    """
    shared, alone = counts[:, 0].astype(np.float64), counts[:, 1]
    with np.errstate(all="ignore"):  # nothing alone: as much as counts
        ratio = np.where(shared > 0, shared / np.maximum(alone, formula.threshold), 0.0)
    factors: Array = 1 + formula.rate * np.clip(ratio, 0, formula.ceiling)
    return factors.astype(np.float32)


def _counted(table: Array, threshold: float, start: int, stop: int) -> Array:
    counts = np.zeros((len(table) - 1, 2), np.int64)
    count_overlap(table, threshold, counts, start, stop)
    return counts


@inlined
def _count_beyond(deltas: Array, threshold: float, count: int, out: Array) -> None:
    """How many experts have a difference beyond the threshold, by element: float32."""
    out[:] = 0
    for e in range(len(deltas)):
        delta = deltas[e]
        for i in range(count):
            out[i] += np.float32(abs(delta[i]) > threshold)


@compiled
def count_overlap(tensors: Array, threshold: float, counts: Array, start: int, stop: int) -> None:
    """Adds to counts int64 [experts, 2] what each expert shares, and what it has alone."""
    shelf, many = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    deltas = np.empty((len(tensors) - 1, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        subtract_all(tensors, block, count, shelf, deltas)
        _count_beyond(deltas, threshold, count, many)
        for e in range(len(deltas)):
            shared = alone = np.int32(0)
            for i in range(count):
                beyond = abs(deltas[e, i]) > threshold
                shared += np.int32(beyond & (many[i] > 1))
                alone += np.int32(beyond & (many[i] == 1))
            counts[e, 0] += shared
            counts[e, 1] += alone


@inlined
def _add_average(
    total: Array, delta: Array, many: Array, threshold: float, factor: float, count: int
) -> None:
    """Adds what one expert has alone, times a factor, and its part of what is shared."""
    one: Any = np.float32(1)
    for i in range(count):
        kept = delta[i] * np.float32(abs(delta[i]) > threshold)
        alone = many[i] == 1
        total[i] += kept * (factor if alone else one) / (one if alone else max(many[i], one))


@inlined
def _add(total: Array, values: Array, count: int) -> None:
    for i in range(count):
        total[i] += values[i]


@compiled
def average(
    out: Array, tensors: Array, threshold: float, factors: Array, start: int, stop: int
) -> None:
    """The base + each element's deltas beyond the threshold; factors float32 [experts]."""
    shelf, many = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    total = np.empty(BLOCK, np.float32)
    deltas = np.empty((len(tensors) - 1, BLOCK), np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        subtract_all(tensors, block, count, shelf, deltas)
        _count_beyond(deltas, threshold, count, many)
        total[:] = 0
        for e in range(len(deltas)):
            _add_average(total, deltas[e], many, threshold, factors[e], count)
        _add(total, shelf, count)
        store(out[0], out[1], block, count, total)
