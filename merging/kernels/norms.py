"""L1 norms of deltas, whole and masked, which rescaling compares.

A norm is a sum in a fixed order: in each block of 4,096 elements 128 running sums in float32, each
over every 128th element; these are added pairwise in float64, and so are the blocks, one by one.
"""

from typing import Any

import numpy as np

from .elements import held, poke_sum, read
from .jit import Array, compiled, inlined
from .numbers import BLOCK, LANES
from .rules import (
    DRAWN,
    RANKED,
    drawn_numbers,
    is_kept,
    ranged_numbers,
    ranked_numbers,
    steps_to_change,
)

ROUNDS = 4
"""Taken at once: sums are read and written once for them."""

zero: Any = np.float32(0)


@compiled
def block_norms(
    tensors: Array, like: Any, rules: Array, keys: Array, out: Array, start: int, stop: int
) -> None:
    """The norms of each block, before and after masking: float64 [experts, blocks, 2].

    tensors, rules and keys as in `compiled.task_vectors`; start is where a block begins.
    """
    room, folded = np.empty(2 * LANES, np.float32), np.empty(LANES, np.float64)
    sums = room.ctypes.data
    for block in range(start, stop, BLOCK):
        for e in range(len(rules)):
            room[:] = 0
            _add_block(tensors, e, like, rules, keys[e], sums, block, min(block + BLOCK, stop))
            out[e, block // BLOCK, 0] = _folded(room[:LANES], folded)
            out[e, block // BLOCK, 1] = _folded(room[LANES:], folded)


@compiled
def totals(blocks: Array, out: Array) -> None:
    """The sums over the blocks, one by one: float64 [experts, 2]."""
    out[:] = 0
    for e in range(len(out)):
        for block in range(blocks.shape[1]):
            out[e, 0] += blocks[e, block, 0]
            out[e, 1] += blocks[e, block, 1]


@inlined
def _add_block(
    tensors: Array, e: int, like: Any, rules: Array, keys: Array, sums: int, block: int, stop: int
) -> None:
    rule, at = rules[e], block
    while at < stop:
        lane = (at - block) % LANES
        count = steps_to_change(rules[e : e + 1], at, stop - at)
        count = min(count, LANES - lane) if lane or count < LANES else count - count % LANES
        if rule[0] == DRAWN:
            numbers = drawn_numbers(rule, keys, at)
            _add(tensors[0], tensors[1 + e], like, numbers, at, count, sums, lane)
        elif rule[0] == RANKED:
            ranks = ranked_numbers(rule, keys, at)
            _add(tensors[0], tensors[1 + e], like, ranks, at, count, sums, lane)
        else:
            words = ranged_numbers(rule, at)
            _add(tensors[0], tensors[1 + e], like, words, at, count, sums, lane)
        at += count


@inlined
def _add(
    base: int, expert: int, like: Any, numbers: Any, at: int, count: int, sums: int, lane: int
) -> None:
    """Adds whole rounds of the lanes, or what stays within one."""
    if count % LANES:
        _add_round(base, expert, like, numbers, at, count, sums, lane)
        return
    many = count // (ROUNDS * LANES) * (ROUNDS * LANES)
    for first in range(at, at + many, ROUNDS * LANES):
        _add_rounds(base, expert, like, numbers, first, sums)
    for first in range(at + many, at + count, LANES):
        _add_round(base, expert, like, numbers, first, LANES, sums, 0)


@inlined
def _add_rounds(base: int, expert: int, like: Any, numbers: Any, at: int, sums: int) -> None:
    """`ROUNDS` of them at once; constants, or LLVM would not unroll them."""
    for i in range(LANES):
        whole, kept = held(sums, i), held(sums, LANES + i)
        for step in range(ROUNDS):
            index = at + i + step * LANES
            delta = read(expert, index, like) - read(base, index, like)
            size = abs(delta)
            whole += size
            kept += size if is_kept(delta, index, numbers) else zero
        poke_sum(sums, i, whole)
        poke_sum(sums, LANES + i, kept)


@inlined
def _add_round(
    base: int, expert: int, like: Any, numbers: Any, at: int, count: int, sums: int, lane: int
) -> None:
    for i in range(count):
        delta = read(expert, at + i, like) - read(base, at + i, like)
        size = abs(delta)
        kept = size if is_kept(delta, at + i, numbers) else zero
        poke_sum(sums, lane + i, held(sums, lane + i) + size)
        poke_sum(sums, LANES + lane + i, held(sums, LANES + lane + i) + kept)


@inlined
def _folded(sums: Array, room: Array) -> float:
    for i in range(LANES):
        room[i] = sums[i]
    half = LANES // 2
    while half:
        for i in range(half):
            room[i] += room[half + i]
        half //= 2
    total: float = room[0]
    return total
