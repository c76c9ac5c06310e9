"""Exact order statistics of magnitudes, in integers: what TIES and DELLA need to know of a delta.

The bits of a float32 without its sign order as the magnitudes do (infinity and NaN are the
largest), so selection and ranks are counting and radix sorting: exact, stable in element order,
the same whatever the threads. The kernels read words that `merging.kernels.compiled.magnitudes`
wrote.
"""

import numpy as np

from .jit import Array, compiled, inlined

UPPER, LOWER = 1 << 15, 1 << 16
"""Of 31 bits, selection counts the upper 15 first, then the lower 16 of one upper half."""


@compiled
def count_upper(words: Array, counts: Array) -> None:
    """Adds to counts int64 [UPPER]: how many words have each upper half."""
    for i in range(len(words)):
        counts[np.int64(words[i]) >> 16] += 1


@compiled
def count_lower(words: Array, upper: int, counts: Array) -> None:
    """Adds to counts int64 [LOWER]: how many words with that upper half have each lower half."""
    for i in range(len(words)):
        word = np.int64(words[i])
        if word >> 16 == upper:
            counts[word & 0xFFFF] += 1


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
    keys, spare = np.empty(width, np.uint32), np.empty(width, np.uint32)
    order, room = np.empty(width, np.int32), np.empty(width, np.int32)
    counts = np.empty((4, 256), np.int64)
    size = width * inner
    for slab in range(len(words) // size):
        for column in range(inner):
            row = slab * size + column
            for j in range(width):
                keys[j] = words[row + j * inner]
                order[j] = j
            _sort(keys, order, spare, room, counts)
            for rank in range(width):
                limits[row + order[rank] * inner] = below[rank]


@inlined
def _sort(keys: Array, order: Array, spare: Array, room: Array, counts: Array) -> None:
    """Sorts the keys and their order, ascending and stable: four passes over bytes."""
    counts[:] = 0
    for i in range(len(keys)):
        for byte in range(4):
            counts[byte, (keys[i] >> np.uint32(8 * byte)) & np.uint32(0xFF)] += 1
    for byte in range(4):
        position = 0
        for digit in range(256):
            held = counts[byte, digit]
            counts[byte, digit] = position
            position += held
        for i in range(len(keys)):
            digit = (keys[i] >> np.uint32(8 * byte)) & np.uint32(0xFF)
            spare[counts[byte, digit]] = keys[i]
            room[counts[byte, digit]] = order[i]
            counts[byte, digit] += 1
        keys, spare = spare, keys
        order, room = room, order
