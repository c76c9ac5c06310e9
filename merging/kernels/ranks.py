"""DELLA's ranks: where a delta stands by magnitude in its row, in one byte.

In rows of up to 255 the byte is the rank, equal magnitudes in element order; a row of one has 127.
In wider rows magnitudes are compared as bfloat16 numbers (cut, not rounded), those below 2^-16 of
the row's largest as if they were equal to that, equal ones share the mean of their ranks, and
bytes run from 0 to 254, for the smallest and the largest: counting finds them, in three readings
of a row that stays in cache.
"""

from typing import Any

import numpy as np

from .elements import poke, read
from .jit import Array, compiled, inlined
from .numbers import NARROW, OCTAVES, RANKS
from .primitives import bits_of, int64, uint32


@compiled
def row_ranks(
    base: int, expert: int, like: Any, width: int, inner: int, out: int, start: int, stop: int
) -> None:
    """The ranks of rows [start, stop) to the bytes at `out`.

    The tensors are [slabs, width, inner]; a row lies along the width, inner x slab + column is
    its number.
    """
    words, whole = np.empty(width, np.uint16), np.empty(width, np.uint32)
    counts, twice = np.empty(1 << 15, np.int32), np.empty(width, np.int32)
    scale = RANKS / (2.0 * max(width - 1, 1))
    for row in range(start, stop):
        first = row // inner * width * inner + row % inner
        if 1 < width <= NARROW:
            _load_whole(base, expert, like, first, inner, whole)
            _compare(whole, twice)
            for i in range(width):
                poke(out, first + i * inner, np.uint8(twice[i]))
            continue
        if inner == 1:
            _load(base, expert, like, first, 1, words)
        else:
            _load(base, expert, like, first, inner, words)
        _double(words, _offset(words), counts, twice)
        for i in range(width):
            poke(out, first + i * inner, np.uint8(twice[i] * scale + 0.5))


@inlined
def _load(base: int, expert: int, like: Any, first: int, step: int, out: Array) -> None:
    for i in range(len(out)):
        place = first + i * step
        delta = read(expert, place, like) - read(base, place, like)
        out[i] = np.uint16(uint32(bits_of(delta) & uint32(0x7FFFFFFF)) >> uint32(16))


@inlined
def _load_whole(base: int, expert: int, like: Any, first: int, step: int, out: Array) -> None:
    for i in range(len(out)):
        place = first + i * step
        delta = read(expert, place, like) - read(base, place, like)
        out[i] = uint32(bits_of(delta) & uint32(0x7FFFFFFF))


@inlined
def _compare(words: Array, out: Array) -> None:
    """The rank of each element, by comparing each with all."""
    for i in range(len(words)):
        rank, word = np.int32(0), words[i]
        for j in range(i):
            rank += np.int32(words[j] <= word)
        for j in range(i + 1, len(words)):
            rank += np.int32(words[j] < word)
        out[i] = rank


@inlined
def _offset(words: Array) -> int:
    """Makes words count from the smallest that is told apart; returns the largest."""
    low, high = words[0], words[0]
    for i in range(len(words)):
        low, high = min(low, words[i]), max(high, words[i])
    first = np.uint16(max(int64(low), int64(high) - OCTAVES))
    for i in range(len(words)):
        words[i] = np.uint16(max(words[i], first) - first)
    last: int = int64(high) - int64(first)
    return last


@inlined
def _double(words: Array, last: int, counts: Array, out: Array) -> None:
    """Twice the mean rank of each element: a whole number; 1 in a row of one, half-way up."""
    alone = np.int32(len(words) == 1)
    counts[: last + 1] = 0
    for i in range(len(words)):
        counts[words[i]] += 1
    below = np.int32(0)
    for word in range(last + 1):
        equal = counts[word]
        counts[word] = below + below + equal - 1
        below += equal
    for i in range(len(words)):
        out[i] = counts[words[i]] + alone
