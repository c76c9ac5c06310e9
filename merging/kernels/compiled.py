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

from .elements import held, poke_row, poke_sum, read, row, write
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
SIZE = 4 * STEP + 64
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
                poke_sum(total, i, held(total, i) / divisor)
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
    room = np.empty((3 + experts) * SIZE // 4, np.float32)
    total = room.ctypes.data
    rows = total + 3 * SIZE
    at = change = start
    while at < stop:
        if at == change:
            change = at + steps_to_change(rules, at, stop - at)
        count = min(STEP, change - at)
        _clear(total)
        for e in range(experts):
            place = rows + e * SIZE if elect else 0
            factor = factors[e, 0]
            _sparse(tensors, e, like, rules[e], keys[e], factor, at, count, total, place)
        if elect:
            _elect(total, rows, factors, count)
            _finish_vote(out, tensors[0], like, out_like, total, normalize, scale, at, count)
        else:
            _finish_sum(out, tensors[0], like, out_like, total, at, count)
        at += count
    room[0] = zero  # or numba would free it once its address is taken


@inlined
def _clear(total: int) -> None:
    for i in range(STEP):
        poke_sum(total, i, zero)


@inlined
def _add_weighted(tensor: int, like: Any, weight: float, at: int, count: int, total: int) -> None:
    for i in range(count):
        poke_sum(total, i, held(total, i) + read(tensor, at + i, like) * weight)


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
    place: int,
) -> None:
    """Delta x factor where it is kept, x 0 elsewhere (a NaN stays): to a row, or added."""
    base, expert = tensors[0], tensors[1 + e]
    if rule[0] == DRAWN:
        numbers = drawn_numbers(rule, keys, at)
        _masked(base, expert, like, numbers, factor, at, count, total, place)
    elif rule[0] == RANKED:
        ranks = ranked_numbers(rule, keys, at)
        _masked(base, expert, like, ranks, factor, at, count, total, place)
    else:
        words = ranged_numbers(rule, at)
        _masked(base, expert, like, words, factor, at, count, total, place)


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
    place: int,
) -> None:
    """Place 0: added to the total."""
    dropped = factor * zero
    if place == 0:
        for i in range(count):
            delta = read(expert, at + i, like) - read(base, at + i, like)
            delta *= factor if is_kept(delta, at + i, numbers) else dropped
            poke_sum(total, i, held(total, i) + delta)
    else:
        for i in range(count):
            delta = read(expert, at + i, like) - read(base, at + i, like)
            delta *= factor if is_kept(delta, at + i, numbers) else dropped
            poke_row(place, i, delta)


@inlined
def _finish_sum(
    out: int, base: int, like: Any, out_like: Any, total: int, at: int, count: int
) -> None:
    for i in range(count):
        write(out, at + i, read(base, at + i, like) + held(total, i), out_like)


@inlined
def _elect(total: int, rows: int, factors: Array, count: int) -> None:
    """The total of the rows; what of it has its sign; the weights of the rows that have it.

    Three rows at a time, whose sums stay in registers.
    """
    merged, weights = total + SIZE, total + 2 * SIZE
    experts = len(factors)
    _clear(merged)
    _clear(weights)
    for e in range(0, experts, 3):
        left = experts - e
        first = rows + e * SIZE
        if left >= 3:
            _add_rows(total, (first, first + SIZE, first + 2 * SIZE), count)
        elif left == 2:
            _add_rows(total, (first, first + SIZE), count)
        else:
            _add_rows(total, (first,), count)
    for e in range(0, experts, 3):
        left = experts - e
        first = rows + e * SIZE
        if left >= 3:
            heavy = (factors[e, 1], factors[e + 1, 1], factors[e + 2, 1])
            _vote(total, (first, first + SIZE, first + 2 * SIZE), heavy, count)
        elif left == 2:
            _vote(total, (first, first + SIZE), (factors[e, 1], factors[e + 1, 1]), count)
        else:
            _vote(total, (first,), (factors[e, 1],), count)


@inlined
def _add_rows(total: int, rows: Any, count: int) -> None:
    for i in range(count):
        value = held(total, i)
        for e in range(len(rows)):
            value += row(rows[e], i)
        poke_sum(total, i, value)


@inlined
def _vote(total: int, rows: Any, heavy: Any, count: int) -> None:
    """Rows are turned so that the winning side is the positive one."""
    merged, weights = total + SIZE, total + 2 * SIZE
    for i in range(count):
        whole, change, weight = held(total, i), held(merged, i), held(weights, i)
        for e in range(len(rows)):
            turned = _turned(row(rows[e], i), whole)
            change += turned if turned > zero else zero
            weight += heavy[e] if turned > zero else zero
        poke_sum(merged, i, change)
        poke_sum(weights, i, weight)


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
    merged, weights = total + SIZE, total + 2 * SIZE
    if normalize:
        for i in range(count):
            heavy = held(weights, i)
            poke_sum(merged, i, held(merged, i) / (one if heavy == zero else heavy))
    for i in range(count):
        whole = held(total, i)
        change = _turned(held(merged, i), whole)
        change = change if whole == whole else whole  # a NaN stays
        write(out, at + i, read(base, at + i, like) + change * scale, out_like)
