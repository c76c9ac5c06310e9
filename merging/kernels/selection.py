"""Counting fields of words: what exact order statistics of computed numbers are made of.

The bits of a float32 without its sign order as the magnitudes do (infinity and NaN are the
largest), so selection is counting: exact, the same whatever the threads. For deltas there is a
faster way (`merging.kernels.order`).
"""

import numpy as np

from .jit import Array, compiled

LEVELS = ((20, 11), (10, 10), (0, 10))
"""Of a word's 31 bits, selection counts these fields, (lowest bit, bits), from the top down."""


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
