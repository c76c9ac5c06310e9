"""The compiled CPU kernels: bf16, fp16 and fp32 tensors in, one tensor out, float32 between.

Each is a serial function over the elements [start, stop) that frees the interpreter lock; an
engine runs it on several spans at once (`merging.kernels.engine`). It works through blocks of
4,096 elements that stay in the first-level cache, so a pass reads and writes each tensor once. No
fast-math: LLVM neither reorders nor fuses, and bits equal those of the torch twin, whatever the
spans.

Tensors come as (address, dtype code): one compilation serves any number of experts and mix of
dtypes. Integers are wrapped in uint32 at every step: numba would compute in 64 bits, and nothing
vectorise. All that a kernel inlines stands in this file: numba's cache does not see edits
elsewhere.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from .jit import Array, compiled, inlined

BLOCK = 4096
FLOAT32, BFLOAT16, FLOAT16 = 0, 1, 2
ALL, CUT, RANDOM, BYTES = 0, 1, 2, 3
uint32: Any = types.uint32


def _cast(to: Any, source: Any, instruction: str) -> Any:
    """An instruction that numba lacks: the bits of a number stay, its type changes."""

    def typed(context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(arguments[0], context.get_value_type(to))

        return to(source), generate

    return intrinsic(typed)


_pointer = _cast(types.voidptr, types.int64, "inttoptr")
_bits = _cast(types.uint32, types.float32, "bitcast")
_float = _cast(types.float32, types.uint32, "bitcast")


@inlined
def _load(address: int, code: int, start: int, count: int, out: Array) -> None:
    """Reads elements [start, start + count) as float32."""
    if code == FLOAT32:
        out[:count] = carray(_pointer(address + 4 * start), count, np.float32)
        return
    half = carray(_pointer(address + 2 * start), count, np.uint16)
    if code == BFLOAT16:
        for i in range(count):
            out[i] = _float(uint32(uint32(half[i]) << uint32(16)))
        return
    for i in range(count):
        word = uint32(half[i])
        magnitude = uint32(uint32(word & uint32(0x7FFF)) << uint32(13))
        # 2^112 moves the exponent bias from 15 to 127; exact, for subnormals too.
        finite = _bits(_float(magnitude) * np.float32(2.0**112))
        special = uint32(magnitude | uint32(0x7F800000))
        moved = special if magnitude >= uint32(0x0F800000) else finite
        out[i] = _float(uint32(moved | uint32(uint32(word & uint32(0x8000)) << uint32(16))))


@inlined
def _store(address: int, code: int, start: int, count: int, values: Array) -> None:
    """Writes elements [start, start + count): nearest, ties to even, NaN stays."""
    if code == FLOAT32:
        carray(_pointer(address + 4 * start), count, np.float32)[:] = values[:count]
        return
    half = carray(_pointer(address + 2 * start), count, np.uint16)
    if code == BFLOAT16:
        for i in range(count):
            word = _bits(values[i])
            odd = uint32(uint32(word >> uint32(16)) & uint32(1))
            nearest = uint32(uint32(word + uint32(0x7FFF)) + odd)
            quiet = uint32(word | uint32(0x400000))
            nan = uint32(word & uint32(0x7FFFFFFF)) > uint32(0x7F800000)
            half[i] = np.uint16(uint32((quiet if nan else nearest) >> uint32(16)))
        return
    for i in range(count):
        word = _bits(values[i])
        magnitude = uint32(word & uint32(0x7FFFFFFF))
        odd = uint32(uint32(magnitude >> uint32(13)) & uint32(1))
        # 0xC8000000 moves the bias back to 15; 0xFFF and the last kept bit round to even.
        normal = uint32(uint32(uint32(magnitude + uint32(0xC8000FFF)) + odd) >> uint32(13))
        # Adding 0.5 rounds below 2^-14 to multiples of 2^-24, the steps of subnormals.
        small = uint32(_bits(_float(magnitude) + np.float32(0.5)) - uint32(0x3F000000))
        huge = uint32(0x7E00) if magnitude > uint32(0x7F800000) else uint32(0x7C00)
        result = small if magnitude < uint32(0x38800000) else normal
        result = huge if magnitude >= uint32(0x47800000) else result
        half[i] = np.uint16(uint32(result | uint32(uint32(word >> uint32(16)) & uint32(0x8000))))


@inlined
def _draw(index: int, k0: int, k1: int) -> Any:
    """The 24-bit draw of one element; twin and specification: `merging.kernels.masks`."""
    x = uint32(uint32(index) ^ k0)
    x = uint32(x ^ uint32(x >> uint32(16)))
    x = uint32(x * uint32(0x7FEB352D))
    x = uint32(x ^ uint32(x >> uint32(15)))
    x = uint32(x + k1)
    x = uint32(x * uint32(0x846CA68B))
    x = uint32(x ^ uint32(x >> uint32(16)))
    return uint32(x >> uint32(8))


@inlined
def _delta(base: Array, expert: Array, start: int, count: int, shelf: Array, out: Array) -> None:
    """Leaves the base in `shelf` and expert - base in `out`; a tensor is (address, code)."""
    _load(base[0], base[1], start, count, shelf)
    _load(expert[0], expert[1], start, count, out)
    for i in range(count):
        out[i] -= shelf[i]


@inlined
def _keep(rule: Array, keys: Array, start: int, count: int, delta: Array) -> None:
    """Multiplies what is not kept by zero (a NaN stays); rule: (kind, number, index, address)."""
    if rule[0] == CUT:
        cut, last = uint32(rule[1]), rule[2]
        for i in range(count):
            magnitude = uint32(_bits(delta[i]) & uint32(0x7FFFFFFF))
            kept = (magnitude > cut) | ((magnitude == cut) & (start + i <= last))
            delta[i] *= np.float32(kept)
    elif rule[0] == RANDOM:
        k0, k1 = keys[start >> 32]
        first, below = uint32(start & 0xFFFFFFFF), uint32(rule[1])
        for i in range(count):
            delta[i] *= np.float32(_draw(uint32(first + uint32(i)), k0, k1) < below)
    elif rule[0] == BYTES:
        mask = carray(_pointer(rule[3] + start), count, np.uint8)
        for i in range(count):
            delta[i] *= np.float32(mask[i])


@inlined
def _norm(values: Array, count: int) -> float:
    """The L1 norm: scaled by a power of two to 30 bits, truncated, added in integers."""
    top = uint32(0)
    for i in range(count):
        top = max(top, uint32(_bits(values[i]) & uint32(0x7FFFFFFF)))
    if top >= uint32(0x7F800000):
        return np.nan
    exponent = min(np.int64(283) - np.int64(uint32(top >> uint32(23))), np.int64(254))
    scale = _float(uint32(uint32(exponent) << uint32(23)))
    total = np.int64(0)
    for i in range(count):
        total += np.int64(np.int32(abs(values[i]) * scale))
    return np.float64(total) / np.float64(scale)


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
            _load(tensors[e, 0], tensors[e, 1], block, count, one)
            _add(total, one, weights[e], count)
        if divisor != 1:
            one[:] = divisor
            _divide(total, one, count)
        _store(out[0], out[1], block, count, total)


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

    tensors int64 [1 + experts, 2], the base first; rules int64 [experts, 4]; keys uint32 [experts,
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
            _delta(tensors[0], tensors[1 + e], block, count, origin, delta)
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
        _store(out[0], out[1], block, count, origin)


@compiled
def norms(
    base: Array, expert: Array, rule: Array, keys: Array, out: Array, start: int, stop: int
) -> None:
    """L1 norms, before and after masking, of each block: float64 [blocks of the tensor, 2]."""
    shelf, delta = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        _delta(base, expert, block, count, shelf, delta)
        out[block // BLOCK, 0] = _norm(delta, count)
        _keep(rule, keys, block, count, delta)
        out[block // BLOCK, 1] = _norm(delta, count)


@inlined
def _magnitudes(delta: Array, count: int, out: Array) -> None:
    for i in range(count):
        out[i] = uint32(_bits(delta[i]) & uint32(0x7FFFFFFF))


@compiled
def magnitudes(base: Array, expert: Array, out: Array, start: int, stop: int) -> None:
    """The bits of |expert - base|, which order as the numbers do: uint32 [stop - start]."""
    shelf, delta = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    for block in range(start, stop, BLOCK):
        count = min(BLOCK, stop - block)
        _delta(base, expert, block, count, shelf, delta)
        _magnitudes(delta, count, out[block - start :])


@compiled
def mask(limits: Array, keys: Array, out: Array, start: int, stop: int) -> None:
    """1 where an element's draw is below its limit; limits uint32, out uint8 [stop - start]."""
    for block in range(start // BLOCK * BLOCK, stop, BLOCK):
        low, high = max(block, start), min(block + BLOCK, stop)
        k0, k1 = keys[low >> 32]
        first, part = uint32(low & 0xFFFFFFFF), out[low - start : high - start]
        bounds = limits[low - start : high - start]
        for i in range(len(part)):
            part[i] = _draw(uint32(first + uint32(i)), k0, k1) < bounds[i]
