"""Which numbers of a tensor are largest, exactly, by counting the fields of their bits.

For numbers that are never negative the bits of a float32 order as the numbers do. Nothing is
sorted and nothing but counts is kept: the numbers are computed anew in each of three readings.
"""

from typing import Protocol

import numpy as np

from . import selection
from .jit import Array
from .operands import Run

PIECE = 1 << 16


class Words(Protocol):
    """Computes the bits of the numbers [start, start + len(out)) of a tensor: uint32."""

    def __call__(self, out: Array, start: int, /) -> None:
        """See the class."""


def nth_largest(words: Words, count: int, elements: int, run: Run) -> tuple[int, int]:
    """The bits of the `count`-th largest number (from 1), and its place among equal ones."""
    value = 0
    for low, bits in selection.LEVELS:
        spans = run(_counter(words, low, bits, value), elements)
        counts: Array = np.sum(spans, axis=0)
        reached = np.cumsum(counts[::-1])
        place = int(np.searchsorted(reached, count))
        field = len(counts) - 1 - place
        count -= int(reached[place] - counts[field])
        value = value << bits | field
    return value, count


def last_kept(words: Words, value: int, wanted: int, elements: int, run: Run) -> int:
    """Where the `wanted`-th number (from 1) of these bits stands, in element order."""

    def count(start: int, stop: int) -> list[tuple[int, int]]:
        room = np.empty(min(PIECE, stop - start), np.uint32)
        found = []
        for first in range(start, stop, PIECE):
            piece = room[: min(PIECE, stop - first)]
            words(piece, first)
            found.append((first, selection.count_equal(piece, value)))
        return found

    pieces = [piece for span in run(count, elements) for piece in span]
    reached = np.cumsum([found for _, found in pieces])
    index = int(np.searchsorted(reached, wanted))
    first, found = pieces[index]
    room = np.empty(min(PIECE, elements - first), np.uint32)
    words(room, first)
    return first + selection.find_equal(room, value, wanted - int(reached[index]) + found)


class _Counter(Protocol):
    def __call__(self, start: int, stop: int, /) -> Array: ...


def _counter(words: Words, low: int, bits: int, prefix: int) -> _Counter:
    def work(start: int, stop: int) -> Array:
        counts = np.zeros(1 << bits, np.int64)
        room = np.empty(min(PIECE, stop - start), np.uint32)
        for first in range(start, stop, PIECE):
            piece = room[: min(PIECE, stop - first)]
            words(piece, first)
            selection.count_field(piece, low, bits, prefix, counts)
        return counts

    return work
