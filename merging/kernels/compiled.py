"""The compiled CPU kernels of weighted means and task vectors: float32 between, one rounding.

Each is a serial function over the elements [start, stop) that frees the interpreter lock; an
engine runs it on several spans at once (`merging.kernels.engine`). It works through steps of 256
elements whose intermediate results stay in the first-level cache, so each tensor is read and
written once. No fast-math: LLVM neither reorders nor fuses, and bits equal those of the torch
twin, whatever the spans.

Tensors come as addresses, dtypes as types (`merging.kernels.elements`).
"""

from typing import Any

import numpy as np

from .elements import held, poke, read, write
from .jit import Array, compiled, inlined
from .primitives import bits_of, float_of, uint32
from .rules import (
    DRAWN,
    RANKED,
    drawn_numbers,
    is_kept,
    ranged_numbers,
    ranked_numbers,
    steps_to_change,
)

STEP = 256
zero: Any = np.float32(0)
one: Any = np.float32(1)


@compiled
def weighted_mean(
    out: int,
    tensors: Array,
    like: Any,
    out_like: Any,
    weights: Array,
    divisor: float,
    start: int,
    stop: int,
) -> None:
    """The sum of weights[e] x tensors[e] / divisor (1: none).

    tensors int64 [experts], addresses; weights float32 [experts].
    """
    room = np.empty(STEP, np.float32)
    total = room.ctypes.data
    for at in range(start, stop, STEP):
        count = min(STEP, stop - at)
        _clear(total)
        for e in range(len(weights)):
            _add_weighted(tensors[e], like, weights[e], at, count, total)
        if divisor != 1:
            for i in range(count):
                poke(total, i, held(total, i) / divisor)
        for i in range(count):
            write(out, at + i, held(total, i), out_like)
    room[0] = zero  # or numba would free it once its address is taken


@compiled
def task_vectors(
    out: int,
    tensors: Array,
    like: Any,
    out_like: Any,
    rules: Array,
    keys: Array,
    factors: Array,
    elect: bool,
    normalize: bool,
    scale: float,
    start: int,
    stop: int,
) -> None:
    """The base + the sum of the sparse deltas, or + scale x what an election leaves of them.

    tensors int64 [1 + experts], addresses, the base first; rules int64 [experts, 9] and keys
    uint32 [experts, runs, 2] as in `rules`; factors float32 [experts, 2]: what deltas are
    multiplied by, and the weight that counts where they are normalised.
    """
    experts = len(rules)
    room = np.empty((3 + experts) * STEP, np.float32)
    total = room.ctypes.data
    row = total + 12 * STEP
    at = start
    while at < stop:
        count = steps_to_change(rules, at, min(STEP, stop - at))
        _clear(total)
        for e in range(experts):
            place = row + 4 * STEP * e if elect else 0
            factor = factors[e, 0]
            _sparse(tensors, e, like, rules[e], keys[e], factor, at, count, total, place)
        if elect:
            _elect(total, row, factors, count)
            _finish_vote(out, tensors[0], like, out_like, total, normalize, scale, at, count)
        else:
            _finish_sum(out, tensors[0], like, out_like, total, at, count)
        at += count
    room[0] = zero  # or numba would free it once its address is taken


@inlined
def _clear(total: int) -> None:
    for i in range(STEP):
        poke(total, i, zero)


@inlined
def _add_weighted(tensor: int, like: Any, weight: float, at: int, count: int, total: int) -> None:
    for i in range(count):
        poke(total, i, held(total, i) + read(tensor, at + i, like) * weight)


@inlined
def _sparse(
    tensors: Array,
    e: int,
    like: Any,
    rule: Array,
    keys: Array,
    factor: float,
    at: int,
    count: int,
    total: int,
    row: int,
) -> None:
    """Delta x factor where it is kept, x 0 elsewhere (a NaN stays): added, and kept in the row."""
    base, expert = tensors[0], tensors[1 + e]
    if rule[0] == DRAWN:
        numbers = drawn_numbers(rule, keys, at)
        _masked(base, expert, like, numbers, factor, at, count, total, row)
    elif rule[0] == RANKED:
        ranks = ranked_numbers(rule, keys, at)
        _masked(base, expert, like, ranks, factor, at, count, total, row)
    else:
        words = ranged_numbers(rule, at)
        _masked(base, expert, like, words, factor, at, count, total, row)


@inlined
def _masked(
    base: int,
    expert: int,
    like: Any,
    numbers: Any,
    factor: float,
    at: int,
    count: int,
    total: int,
    row: int,
) -> None:
    """Row 0: nobody asks for it."""
    dropped = factor * zero
    if row == 0:
        for i in range(count):
            delta = read(expert, at + i, like) - read(base, at + i, like)
            delta *= factor if is_kept(delta, at + i, numbers) else dropped
            poke(total, i, held(total, i) + delta)
    else:
        for i in range(count):
            delta = read(expert, at + i, like) - read(base, at + i, like)
            delta *= factor if is_kept(delta, at + i, numbers) else dropped
            poke(total, i, held(total, i) + delta)
            poke(row, i, delta)


@inlined
def _finish_sum(
    out: int, base: int, like: Any, out_like: Any, total: int, at: int, count: int
) -> None:
    for i in range(count):
        write(out, at + i, read(base, at + i, like) + held(total, i), out_like)


@inlined
def _elect(total: int, row: int, factors: Array, count: int) -> None:
    """Adds up the deltas that have the sign of their total, and the weights of these.

    Rows 1 and 2 of the scratch memory, which begins with the total, take the sums; deltas are
    turned so that the winning side is the positive one.
    """
    merged, weights = total + 4 * STEP, total + 8 * STEP
    _clear(merged)
    _clear(weights)
    for e in range(len(factors)):
        delta, weight = row + 4 * STEP * e, factors[e, 1]
        for i in range(count):
            turned = _turned(held(delta, i), held(total, i))
            poke(merged, i, held(merged, i) + (turned if turned > zero else zero))
            poke(weights, i, held(weights, i) + (weight if turned > zero else zero))


@inlined
def _turned(value: float, total: float) -> Any:
    """The value, with its sign changed where the total is negative (zero is positive)."""
    sign = uint32(0) if total >= zero else uint32(0x80000000)
    return float_of(uint32(bits_of(value) ^ sign))


@inlined
def _finish_vote(
    out: int,
    base: int,
    like: Any,
    out_like: Any,
    total: int,
    normalize: bool,
    scale: float,
    at: int,
    count: int,
) -> None:
    merged, weights = total + 4 * STEP, total + 8 * STEP
    if normalize:
        for i in range(count):
            heavy = held(weights, i)
            poke(merged, i, held(merged, i) / (one if heavy == zero else heavy))
    for i in range(count):
        whole = held(total, i)
        change = _turned(held(merged, i), whole)
        change = change if whole == whole else whole  # a NaN stays
        write(out, at + i, read(base, at + i, like) + change * scale, out_like)
