"""Exact order statistics of magnitudes, in integers: what TIES and DELLA need to know of a delta.

The bits of a float32 without its sign order as the magnitudes do (infinity and NaN are the
largest), so selection and ranks are counting and radix sorting: exact, stable in element order,
the same whatever the threads. The kernels read words that `merging.kernels.compiled.magnitudes`
wrote.
"""

from typing import Any

import numpy as np
from numba import types

from .jit import Array, compiled, inlined

LEVELS = ((20, 11), (10, 10), (0, 10))
"""Of a word's 31 bits, selection counts these fields, (lowest bit, bits), from the top down."""

uint64: Any = types.uint64


@compiled
def count_field(words: Array, low: int, bits: int, prefix: int, counts: Array) -> None:
    """Adds to counts int64 [2^bits]: the field's values where the bits above it are `prefix`."""
    last = (1 << bits) - 1
    for i in range(len(words)):
        field = np.int64(words[i]) >> low
        if field >> bits == prefix:
            counts[field & last] += 1


@compiled
def count_equal(words: Array, value: int) -> int:
    """How many words are `value`."""
    found = 0
    for i in range(len(words)):
        found += np.int64(words[i]) == value
    return found


@compiled
def find_equal(words: Array, value: int, wanted: int) -> int:
    """Where the wanted-th word (from 1) that is `value` stands; -1 if there are fewer."""
    for i in range(len(words)):
        wanted -= np.int64(words[i]) == value
        if wanted == 0:
            return i
    return -1


@compiled
def rank_limits(words: Array, width: int, inner: int, below: Array, limits: Array) -> None:
    """Gives every word the limit of its rank: limits[i] = below[rank]; all uint32.

    words and limits are [slabs, width, inner], rows lie along the width; below is [width]. Ranks
    count up from the smallest magnitude, equal ones in element order.
    """
    row, spare = np.empty(width, np.uint64), np.empty(width, np.uint64)
    counts = np.empty(256, np.int64)
    size = width * inner
    for slab in range(len(words) // size):
        for column in range(inner):
            first = slab * size + column
            for j in range(width):
                row[j] = uint64(uint64(words[first + j * inner]) << uint64(32)) | uint64(j)
            for rank, word in enumerate(_sorted(row, spare, counts)):
                place = np.int64(uint64(word & uint64(0xFFFFFFFF)))
                limits[first + place * inner] = below[rank]


@inlined
def _sorted(row: Array, spare: Array, counts: Array) -> Array:
    """Sorts by the upper 32 bits, ascending and stable, byte by byte; the result is row or spare.

    Bytes that are the same in all words need no pass: of differences of bfloat16 numbers, the low
    ones.
    """
    varied = uint64(0)
    for i in range(len(row)):
        varied |= row[i] ^ row[0]
    for low in range(32, 64, 8):
        if uint64(varied >> uint64(low)) & uint64(0xFF):
            _pass(row, spare, low, counts)
            row, spare = spare, row
    return row


@inlined
def _pass(row: Array, out: Array, low: int, counts: Array) -> None:
    """Moves the words to `out` in the order of one byte."""
    counts[:] = 0
    for i in range(len(row)):
        counts[np.int64(uint64(row[i] >> uint64(low)) & uint64(0xFF))] += 1
    position = 0
    for digit in range(256):
        held = counts[digit]
        counts[digit] = position
        position += held
    for i in range(len(row)):
        byte = np.int64(uint64(row[i] >> uint64(low)) & uint64(0xFF))
        out[counts[byte]] = row[i]
        counts[byte] += 1
