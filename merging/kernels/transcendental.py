"""exp and log in float64 that vectorise, and give the same bits on every machine.

The C library's are called one number at a time, and differ from one version to the next. These are
sums and products alone, to 2e-16 or so of the value; a NaN stays, and nothing is checked.

exp: x = n ln 2 + r with |r| <= ln(2) / 2, Taylor's polynomial for r (Cody and Waite 1980). log:
x = 2^n m with m in [sqrt(1/2), sqrt(2)), 2 artanh((m - 1) / (m + 1)).
"""

from typing import Any

from numba import types

from .jit import Array, inlined
from .primitives import cast_bits

float64: Any = types.float64
int64: Any = types.int64
long_of = cast_bits(types.int64, types.float64)
double_of = cast_bits(types.float64, types.int64)

MAGIC = 6755399441055744.0
"""1.5 x 2^52: added, it leaves a number's nearest whole one in the lowest bits."""
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
LEAST = -708.0
"""Below it exp counts as exp(-708), 3e-308: nothing beside any probability."""


@inlined
def exp_below(values: Array, count: int, out: Array) -> None:
    """The exponential of numbers up to 0."""
    for i in range(count):
        x = values[i]
        x = float64(LEAST) if x < LEAST else x
        whole = x * LOG2_E + MAGIC
        n = whole - MAGIC
        r = (x - n * LN2_HIGH) - n * LN2_LOW
        p = float64(1 / 479001600)
        p = p * r + 1 / 39916800
        p = p * r + 1 / 3628800
        p = p * r + 1 / 362880
        p = p * r + 1 / 40320
        p = p * r + 1 / 5040
        p = p * r + 1 / 720
        p = p * r + 1 / 120
        p = p * r + 1 / 24
        p = p * r + 1 / 6
        p = p * r + 0.5
        p = p * r + 1
        p = p * r + 1
        power = double_of(int64(int64(long_of(whole) << int64(52)) + int64(1023 << 52)))
        out[i] = p * power


@inlined
def log_of(values: Array, count: int, out: Array) -> None:
    """The natural logarithm of normal positive numbers."""
    for i in range(count):
        bits = long_of(values[i])
        # The exponent of x / sqrt(1/2): m is in [sqrt(1/2), sqrt(2)).
        shifted = int64(bits - int64(0x3FE6A09E667F3BCD))
        n = int64(shifted >> int64(52))
        m = double_of(int64(bits - int64(n << int64(52))))
        s = (m - 1) / (m + 1)
        z = s * s
        p = float64(1 / 21)
        p = p * z + 1 / 19
        p = p * z + 1 / 17
        p = p * z + 1 / 15
        p = p * z + 1 / 13
        p = p * z + 1 / 11
        p = p * z + 1 / 9
        p = p * z + 1 / 7
        p = p * z + 1 / 5
        p = p * z + 1 / 3
        # n as a number: a magic one's low bits take it.
        power = double_of(int64(n + int64(0x4338000000000000))) - MAGIC
        out[i] = power * LN2_HIGH + (power * LN2_LOW + 2 * (s + s * z * p))
