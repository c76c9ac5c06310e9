"""Exact order statistics of one expert's delta, without sorting or keeping it.

The bits of a float32 without its sign order as the magnitudes do (infinity and NaN are the
largest). A sample of the tensor says between which two words the one looked for lies; one reading
counts what is above, and keeps what is between, a few in a hundred; counting finds it among those.
Where the sample was wrong, counting begins with the whole tensor: the result is exact whatever it
said.
"""

from typing import Any

import numpy as np

from .elements import poke, read
from .jit import Array, compiled, inlined
from .primitives import bits_of, int64, uint32
from .rules import TOP
from .sift import LANES, sift

BLOCK = 2048
BINS = 2048
RUN, STRIDE = 4, 512
"""The sample takes runs of so many neighbours, one from each so many elements."""

NONE = 0x80000000
"""More than any magnitude."""


@compiled
def nth_largest(base: int, expert: int, like: Any, elements: int, count: int) -> Any:
    """The count-th largest magnitude (from 1): its word, its place among its equals, these all.

    base and expert are addresses; `like` as in `elements`.
    """
    counts = np.empty(BINS + 1, np.int64)
    words = np.empty(max(elements // 8, min(elements, 1 << 14), BLOCK) + LANES, np.uint32)
    low, high = int64(0), int64(NONE)
    if elements > len(words) - LANES:
        low, high = _guess(base, expert, like, elements, count, words, counts)
    for _ in range(2):
        inside, above, tops, bottoms = _gather(base, expert, like, elements, low, high, words)
        left = count - above
        if left > 0 and left <= tops:
            return high, left, tops
        left -= tops
        if left > 0 and left <= inside <= len(words) - LANES:
            return _narrowed(words, inside, low + 1, high - 1, left, counts)
        left -= inside
        if left > 0 and left <= bottoms:
            return low, left, bottoms
        low, high = _surely(base, expert, like, elements, count, words, counts)
    return low, count, count  # never: the second attempt knows


@compiled
def find_equal(base: int, expert: int, like: Any, elements: int, word: int, wanted: int) -> int:
    """Where the wanted-th element (from 1) stands whose magnitude is that word; -1: nowhere."""
    words = np.empty(BLOCK, np.uint32)
    for block in range(0, elements, BLOCK):
        size = min(BLOCK, elements - block)
        _words(base, expert, like, block, size, words.ctypes.data)
        found = uint32(0)
        for i in range(size):
            found += uint32(words[i] == uint32(word))
        if wanted > found:
            wanted -= int64(found)
            continue
        for i in range(size):
            wanted -= int64(words[i] == uint32(word))
            if wanted == 0:
                return block + i
    return -1


@inlined
def _words(base: int, expert: int, like: Any, first: int, count: int, out: int) -> None:
    for i in range(count):
        poke(out, i, _word(base, expert, like, first + i))


@inlined
def _word(base: int, expert: int, like: Any, index: int) -> Any:
    delta = read(expert, index, like) - read(base, index, like)
    return uint32(bits_of(delta) & uint32(0x7FFFFFFF))


@inlined
def _guess(
    base: int, expert: int, like: Any, elements: int, count: int, words: Array, counts: Array
) -> Any:
    """Two words between which the one looked for lies, or is equal to: all but surely.

    Four standard errors of a sample in which neighbours are somewhat alike.
    """
    runs = elements // STRIDE
    size, share = runs * RUN, count / elements
    for run in range(runs):
        _words(base, expert, like, run * STRIDE, RUN, words.ctypes.data + 4 * RUN * run)
    words[size : 2 * size] = words[:size]
    slack = 4 * (1.2 * size * share * (1 - share)) ** 0.5 + RUN
    first, last = int(size * share - slack), int(size * share + slack)
    low, high = int64(0), int64(NONE)
    if first > 0:
        high = _narrowed(words, size, 0, TOP, first, counts)[0]
    if last <= size:
        low = _narrowed(words[size:], size, 0, TOP, last, counts)[0]
    return low, high


@inlined
def _gather(
    base: int, expert: int, like: Any, elements: int, low: int, high: int, words: Array
) -> Any:
    """Keeps the words between low and high, as far as there is room.

    Returns:
        How many are between, above high, equal to high, equal to low.
    """
    target = words.ctypes.data
    between = above = tops = bottoms = int64(0)
    limit = len(words) - LANES
    bottom, top = uint32(low), uint32(high)
    whole = elements - elements % LANES
    for at in range(0, whole, LANES):
        place = target + 4 * min(between, limit)
        a, b, c, d = sift(base, expert, like, at, bottom, top, place)
        between += a
        above += b
        tops += c
        bottoms += d
    for at in range(whole, elements):
        word = _word(base, expert, like, at)
        if bottom < word < top:
            words[min(between, limit)] = word
            between += 1
        above += int64(word > top)
        tops += int64(word == top)
        bottoms += int64(word == bottom)
    return between, above, tops, bottoms


@inlined
def _narrowed(words: Array, size: int, low: int, high: int, count: int, counts: Array) -> Any:
    """The count-th largest of some words in [low, high], as `nth_largest`; the words are lost."""
    while low < high:
        shift = _shift(low, high)
        counts[:] = 0
        for i in range(size):
            counts[(int64(words[i]) - low) >> shift] += 1
        bin_, count = _reached(counts, count)
        low, high = low + (bin_ << shift), min(high, low + ((bin_ + 1) << shift) - 1)
        size = _kept(words, size, low, high)
    return low, count, size


@inlined
def _surely(
    base: int, expert: int, like: Any, elements: int, count: int, words: Array, counts: Array
) -> Any:
    """Two words around the one looked for, between which few enough lie; or twice that one."""
    low, high = int64(0), int64(TOP)
    room = words.ctypes.data
    while low < high:
        shift = _shift(low, high)
        counts[:] = 0
        for block in range(0, elements, BLOCK):
            size = min(BLOCK, elements - block)
            _words(base, expert, like, block, size, room)
            for i in range(size):
                inside = low <= int64(words[i]) <= high
                counts[(int64(words[i]) - low) >> shift if inside else BINS] += 1
        bin_, count = _reached(counts, count)
        low, high = low + (bin_ << shift), min(high, low + ((bin_ + 1) << shift) - 1)
        if counts[bin_] <= len(words) - LANES:
            return max(low - 1, int64(0)), high + 1
    return low, high


@inlined
def _shift(low: int, high: int) -> int:
    """By how many bits to shift offsets, so that they fall into the bins."""
    shift = 0
    while (high - low) >> shift >= BINS:
        shift += 1
    return shift


@inlined
def _reached(counts: Array, count: int) -> Any:
    """The bin in which the count-th from the top lies, and its place there."""
    bin_ = BINS - 1
    while count > counts[bin_]:
        count -= counts[bin_]
        bin_ -= 1
    return bin_, count


@inlined
def _kept(words: Array, size: int, low: int, high: int) -> int:
    """Moves the words in [low, high] to the front."""
    kept = 0
    for i in range(size):
        word = words[i]
        words[kept] = word
        kept += int64((int64(word) >= low) & (int64(word) <= high))
    return kept
