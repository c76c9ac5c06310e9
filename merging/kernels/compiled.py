"""The compiled CPU kernels: bf16, fp16 and fp32 tensors in, one merged tensor out, float32 between.

Each kernel is a serial function over elements [start, stop) that frees the interpreter lock; a pool runs it
on several spans at once (`merging.kernels.engine`). It works through blocks of 4,096 elements that stay in
the first-level cache, so tensors are read and written once a pass. No fast-math: LLVM neither reorders nor
fuses, and bits equal those of the torch twin (`merging.kernels.twin`), whatever the spans.

Tensors come as (address, dtype code), so one compilation serves any number of experts and mix of dtypes.
Integers are wrapped in uint32 at every step: without it numba computes in 64 bits and nothing vectorises.

All that a kernel inlines stands in this file: numba's cache does not see edits elsewhere.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import carray, njit, types, uint32
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK = 4096
FLOAT32, BFLOAT16, FLOAT16 = 0, 1, 2
ALL, CUT, RANDOM, BYTES = 0, 1, 2, 3

Array = np.ndarray[Any, Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    """Compiles at the first call; keeps the code where a cache folder is writable, else does without."""
    try:
        return cast(Function, njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return _inlined(function)


def _inlined(function: Function) -> Function:
    return cast(Function, njit(nogil=True)(function))


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def _bits(context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], cgutils.int32_t)

    return types.uint32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def _float(context: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), generate


@_inlined
def _load(address: int, code: int, start: int, count: int, out: Array) -> None:
    """Reads elements [start, start + count) as float32."""
    if code == FLOAT32:
        single = carray(_pointer(address + 4 * start), count, np.float32)
        for i in range(count):
            out[i] = single[i]
        return
    half = carray(_pointer(address + 2 * start), count, np.uint16)
    if code == BFLOAT16:
        for i in range(count):
            out[i] = _float(uint32(uint32(half[i]) << uint32(16)))
        return
    for i in range(count):
        word = uint32(half[i])
        magnitude = uint32(uint32(word & uint32(0x7FFF)) << uint32(13))
        # 2^112 moves the exponent bias from 15 to 127 and makes subnormals normal, exactly.
        finite = _bits(_float(magnitude) * np.float32(2.0**112))
        special = uint32(magnitude | uint32(0x7F800000))
        moved = special if magnitude >= uint32(0x0F800000) else finite
        out[i] = _float(uint32(moved | uint32(uint32(word & uint32(0x8000)) << uint32(16))))


@_inlined
def _store(address: int, code: int, start: int, count: int, values: Array) -> None:
    """Writes float32 values as elements [start, start + count): nearest, ties to even, NaN stays."""
    if code == FLOAT32:
        single = carray(_pointer(address + 4 * start), count, np.float32)
        for i in range(count):
            single[i] = values[i]
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
        # 0xC8000000: the exponent bias from 127 back to 15; 0xFFF and the last kept bit: half up, to even.
        normal = uint32(uint32(uint32(magnitude + uint32(0xC8000FFF)) + odd) >> uint32(13))
        # Adding 0.5 rounds a value below 2^-14 to multiples of 2^-24, the steps of fp16's subnormals.
        small = uint32(_bits(_float(magnitude) + np.float32(0.5)) - uint32(0x3F000000))
        huge = uint32(0x7E00) if magnitude > uint32(0x7F800000) else uint32(0x7C00)
        result = small if magnitude < uint32(0x38800000) else normal
        result = huge if magnitude >= uint32(0x47800000) else result
        half[i] = np.uint16(uint32(result | uint32(uint32(word >> uint32(16)) & uint32(0x8000))))


@_inlined
def _draw(index: int, k0: int, k1: int) -> int:
    """The 24-bit draw of one element; the twin and the specification are in `merging.kernels.masks`."""
    x = uint32(uint32(index) ^ k0)
    x = uint32(x ^ uint32(x >> uint32(16)))
    x = uint32(x * uint32(0x7FEB352D))
    x = uint32(x ^ uint32(x >> uint32(15)))
    x = uint32(x + k1)
    x = uint32(x * uint32(0x846CA68B))
    x = uint32(x ^ uint32(x >> uint32(16)))
    return uint32(x >> uint32(8))


@_inlined
def _delta(base: Array, expert: Array, start: int, count: int, tuned: Array, out: Array) -> None:
    """Writes expert - base, and leaves the base in `tuned`'s place untouched: tensors are (address, code)."""
    _load(base[0], base[1], start, count, tuned)
    _load(expert[0], expert[1], start, count, out)
    for i in range(count):
        out[i] -= tuned[i]


@_inlined
def _keep(rule: Array, keys: Array, start: int, count: int, delta: Array) -> None:
    """Multiplies what is not kept by zero (a NaN stays); rule: (kind, number, index, address)."""
    if rule[0] == CUT:
        cut, last = uint32(rule[1]), rule[2]
        for i in range(count):
            magnitude = uint32(_bits(delta[i]) & uint32(0x7FFFFFFF))
            kept = (magnitude > cut) | ((magnitude == cut) & (start + i <= last))
            delta[i] *= np.float32(1) if kept else np.float32(0)
    elif rule[0] == RANDOM:
        k0, k1 = keys[start >> 32]
        first, below = uint32(start & 0xFFFFFFFF), uint32(rule[1])
        for i in range(count):
            kept = _draw(uint32(first + uint32(i)), k0, k1) < below
            delta[i] *= np.float32(1) if kept else np.float32(0)
    elif rule[0] == BYTES:
        mask = carray(_pointer(rule[3] + start), count, np.uint8)
        for i in range(count):
            delta[i] *= np.float32(mask[i])


@_inlined
def _norm(values: Array, count: int) -> float:
    """The L1 norm of a block: scaled by a power of two to 30 bits, truncated, added in integers."""
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
