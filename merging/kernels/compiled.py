"""The compiled CPU kernels: bf16, fp16 and fp32 tensors in, one tensor out, float32 between.

Each is a serial function over the elements [start, stop) that frees the interpreter lock; an
engine runs it on several spans at once (`merging.kernels.engine`). It works through blocks of
4,096 elements that stay in the first-level cache, so a pass reads and writes each tensor once. No
fast-math: LLVM neither reorders nor fuses, and bits equal those of the torch twin, whatever the
spans.

What they inline from elsewhere is in `primitives`.
"""

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from .jit import Array, compiled, inlined
from .numbers import BLOCK
from .primitives import (
    bits_of,
    draw,
    l1_norm,
    load,
    magnitudes_of,
    pointer,
    store,
    subtract,
    uint32,
)

ALL, CUT, BAND, RANDOM, BYTES = 0, 1, 2, 3, 4
"""What is kept, by the numbers that follow:

ALL; CUT: magnitudes above the first, and those equal to it up to the element of index second;
BAND: those from the first (from the element second on) to the third (to the element fourth);
RANDOM: draws below the first; BYTES: where the bytes at the address first are 1.
"""


@inlined
def _keep(rule: Array, keys: Array, start: int, count: int, delta: Array) -> None:
    """Multiplies what is not kept by zero (a NaN stays); rule: a kind and four numbers."""
    if rule[0] == CUT:
        cut, last = uint32(rule[1]), rule[2]
        for i in range(count):
            magnitude = uint32(bits_of(delta[i]) & uint32(0x7FFFFFFF))
            kept = (magnitude > cut) | ((magnitude == cut) & (start + i <= last))
            delta[i] *= np.float32(kept)
    elif rule[0] == BAND:
        low, begin, high, end = uint32(rule[1]), rule[2], uint32(rule[3]), rule[4]
        for i in range(count):
            magnitude = uint32(bits_of(delta[i]) & uint32(0x7FFFFFFF))
            above = (magnitude > low) | ((magnitude == low) & (start + i >= begin))
            below = (magnitude < high) | ((magnitude == high) & (start + i <= end))
            delta[i] *= np.float32(above & below)
    elif rule[0] == RANDOM:
        k0, k1 = keys[start >> 32]
        first, below = uint32(start & 0xFFFFFFFF), uint32(rule[1])
        for i in range(count):
            delta[i] *= np.float32(draw(uint32(first + uint32(i)), k0, k1) < below)
    elif rule[0] == BYTES:
        mask = carray(pointer(rule[1] + start), count, np.uint8)
        for i in range(count):
            delta[i] *= np.float32(mask[i])


@inlined
def _add(total: Array, values: Array, factor: float, count: int) -> None:
    for i in range(count):
        total[i] += values[i] * factor


@inlined
def _scale(values: Array, first: float, second: float, count: int) -> None:
    for i in range(count):
        values[i] = values[i] * first * second


@inlined
def _divide(total: Array, divisors: Array, count: int) -> None:
    for i in range(count):
        total[i] /= divisors[i] + np.float32(divisors[i] == 0)


@inlined
def _join(
    delta: Array, weight: float, side: float, camp: Array, weights: Array, count: int
) -> None:
    """Adds the deltas of one sign (side 1 or -1) to their camp; a NaN joins both camps."""
    for i in range(count):
        joins = np.float32(delta[i] * side > 0)  # a factor: a branch would not be vectorised
        camp[i] += delta[i] * joins
        weights[i] += weight * joins


@inlined
def _choose(total: Array, above: Array, below: Array, out: Array, count: int) -> None:
    """Takes the winning camp's; vectorised as long as `out` is none of the inputs."""
    for i in range(count):
        up, down = above[i], below[i]
        out[i] = up if total[i] >= 0 else down


@compiled
def weighted_mean(
    out: Array, tensors: Array, weights: Array, divisor: float, start: int, stop: int
) -> None:
    """The sum of weights[e] x tensors[e] / divisor (1: none); weights float32 [experts]."""
    one, total = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        total[:] = 0
        for e in range(len(tensors)):
            load(tensors[e, 0], tensors[e, 1], block, count, one)
            _add(total, one, weights[e], count)
        if divisor != 1:
            one[:] = divisor
            _divide(total, one, count)
        store(out[0], out[1], block, count, total)


@compiled
def task_vectors(
    out: Array,
    tensors: Array,
    rules: Array,
    keys: Array,
    factors: Array,
    elect: bool,
    divisor: float,
    scale: float,
    start: int,
    stop: int,
) -> None:
    """The base + scale x consensus of the sparse, rescaled, weighted deltas.

    tensors int64 [1 + experts, 2], the base first; rules int64 [experts, 5]; keys uint32 [experts,
    runs, 2]; factors float32 [experts, 2]: rescaling, weight. divisor 1: none; 0: the weights that
    agree, by element.
    """
    # Rows are indexed: numba forgets that unpacked ones are dense, and vectorises nothing.
    room = np.empty((9, BLOCK), np.float32)
    origin, delta, merged, weights = room[0], room[1], room[2], room[3]
    total, above, below = room[4], room[5], room[6]
    weights_above, weights_below = room[7], room[8]
    one: Any = np.float32(1)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        room[4:] = 0
        for e in range(len(rules)):
            subtract(tensors[0], tensors[1 + e], block, count, origin, delta)
            _keep(rules[e], keys[e], block, count, delta)
            rescale, weight = factors[e]
            _scale(delta, rescale, weight, count)
            _add(total, delta, one, count)
            if elect:
                _join(delta, weight, one, above, weights_above, count)
                _join(delta, weight, -one, below, weights_below, count)
        if elect:
            _choose(total, weights_above, weights_below, weights, count)
            _choose(total, above, below, merged, count)
        else:
            merged[:] = total
            weights[:] = divisor
        if divisor != 1:
            _divide(merged, weights, count)
        _add(origin, merged, scale, count)
        store(out[0], out[1], block, count, origin)


@compiled
def norms(
    base: Array, expert: Array, rule: Array, keys: Array, out: Array, start: int, stop: int
) -> None:
    """L1 norms, before and after masking, of each block: float64 [blocks of the tensor, 2]."""
    shelf, delta = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        subtract(base, expert, block, count, shelf, delta)
        out[block // BLOCK, 0] = l1_norm(delta, count)
        _keep(rule, keys, block, count, delta)
        out[block // BLOCK, 1] = l1_norm(delta, count)


@compiled
def magnitudes(base: Array, expert: Array, out: Array, start: int, stop: int) -> None:
    """The bits of |expert - base|, which order as the numbers do: uint32 [stop - start]."""
    shelf, delta = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        subtract(base, expert, block, count, shelf, delta)
        magnitudes_of(delta, count, out[block - start :])


@compiled
def mask(limits: Array, keys: Array, out: Array, start: int, stop: int) -> None:
    """1 where an element's draw is below its limit; limits uint32, out uint8 [stop - start]."""
    for block in range(start // BLOCK * BLOCK, stop, BLOCK):
        low, high = max(block, start), min(block + BLOCK, stop)
        k0, k1 = keys[low >> 32]
        first, part = uint32(low & 0xFFFFFFFF), out[low - start : high - start]
        bounds = limits[low - start : high - start]
        for i in range(len(part)):
            part[i] = draw(uint32(first + uint32(i)), k0, k1) < bounds[i]
