"""What all kernels inline: reading and writing 16-bit numbers, draws, deltas.

Tensors come as (address, dtype code): one compilation serves any mix of dtypes. Integers are
wrapped in uint32 at every step: numba would compute in 64 bits, and nothing vectorise.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from .jit import Array, inlined

FLOAT32, BFLOAT16, FLOAT16 = 0, 1, 2
uint32: Any = types.uint32
int64: Any = types.int64
"""Wraps a number in 32 bits; `float_of` and `bits_of` change the type of the same bits."""


def _cast(to: Any, source: Any, instruction: str) -> Any:
    """An instruction that numba lacks: the bits of a number stay, its type changes."""

    def typed(context: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(arguments[0], context.get_value_type(to))

        return to(source), generate

    return intrinsic(typed)


def cast_bits(to: Any, source: Any) -> Any:
    """The same bits as another type of the same width."""
    return _cast(to, source, "bitcast")


pointer = _cast(types.voidptr, types.int64, "inttoptr")
bits_of = cast_bits(types.uint32, types.float32)
float_of = cast_bits(types.float32, types.uint32)


@inlined
def from_bfloat16(word: int) -> Any:
    """The float32 of stored bits: exact."""
    return float_of(uint32(uint32(word) << uint32(16)))


@inlined
def to_bfloat16(value: float) -> Any:
    """The bits to store, uint16: nearest, ties to even, NaN stays."""
    word = bits_of(value)
    odd = uint32(uint32(word >> uint32(16)) & uint32(1))
    nearest = uint32(uint32(word + uint32(0x7FFF)) + odd)
    quiet = uint32(word | uint32(0x400000))
    nan = uint32(word & uint32(0x7FFFFFFF)) > uint32(0x7F800000)
    return np.uint16(uint32((quiet if nan else nearest) >> uint32(16)))


@inlined
def from_float16(half: int) -> Any:
    """The float32 of stored bits: exact."""
    word = uint32(np.uint16(half))
    magnitude = uint32(uint32(word & uint32(0x7FFF)) << uint32(13))
    # 2^112 moves the exponent bias from 15 to 127; exact, for subnormals too.
    finite = bits_of(float_of(magnitude) * np.float32(2.0**112))
    special = uint32(magnitude | uint32(0x7F800000))
    moved = special if magnitude >= uint32(0x0F800000) else finite
    return float_of(uint32(moved | uint32(uint32(word & uint32(0x8000)) << uint32(16))))


@inlined
def to_float16(value: float) -> Any:
    """The bits to store, uint16: nearest, ties to even, NaN stays."""
    word = bits_of(value)
    magnitude = uint32(word & uint32(0x7FFFFFFF))
    odd = uint32(uint32(magnitude >> uint32(13)) & uint32(1))
    # 0xC8000000 moves the bias back to 15; 0xFFF and the last kept bit round to even.
    normal = uint32(uint32(uint32(magnitude + uint32(0xC8000FFF)) + odd) >> uint32(13))
    # Adding 0.5 rounds below 2^-14 to multiples of 2^-24, the steps of subnormals.
    small = uint32(bits_of(float_of(magnitude) + np.float32(0.5)) - uint32(0x3F000000))
    huge = uint32(0x7E00) if magnitude > uint32(0x7F800000) else uint32(0x7C00)
    result = small if magnitude < uint32(0x38800000) else normal
    result = huge if magnitude >= uint32(0x47800000) else result
    return np.uint16(uint32(result | uint32(uint32(word >> uint32(16)) & uint32(0x8000))))


@inlined
def load(address: int, code: int, start: int, count: int, out: Array) -> None:
    """Reads elements [start, start + count) as float32."""
    if code == FLOAT32:
        out[:count] = carray(pointer(address + 4 * start), count, np.float32)
        return
    half = carray(pointer(address + 2 * start), count, np.uint16)
    if code == BFLOAT16:
        for i in range(count):
            out[i] = from_bfloat16(half[i])
        return
    for i in range(count):
        out[i] = from_float16(half[i])


@inlined
def store(address: int, code: int, start: int, count: int, values: Array) -> None:
    """Writes elements [start, start + count): nearest, ties to even, NaN stays."""
    if code == FLOAT32:
        carray(pointer(address + 4 * start), count, np.float32)[:] = values[:count]
        return
    half = carray(pointer(address + 2 * start), count, np.uint16)
    if code == BFLOAT16:
        for i in range(count):
            half[i] = to_bfloat16(values[i])
        return
    for i in range(count):
        half[i] = to_float16(values[i])


@inlined
def draw(index: int, k0: int, k1: int) -> Any:
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
def subtract(base: Array, expert: Array, start: int, count: int, shelf: Array, out: Array) -> None:
    """Leaves the base in `shelf` and expert - base in `out`; a tensor is (address, code)."""
    load(base[0], base[1], start, count, shelf)
    load(expert[0], expert[1], start, count, out)
    for i in range(count):
        out[i] -= shelf[i]


@inlined
def subtract_all(tensors: Array, start: int, count: int, shelf: Array, out: Array) -> None:
    """Each expert less the base, which is `tensors[0]`, in a row of `out`; see `subtract`."""
    for e in range(len(out)):
        subtract(tensors[0], tensors[1 + e], start, count, shelf, out[e])


@inlined
def magnitudes_of(delta: Array, count: int, out: Array) -> None:
    """The bits of |delta|, which order as the numbers do: uint32."""
    for i in range(count):
        out[i] = uint32(bits_of(delta[i]) & uint32(0x7FFFFFFF))
