"""Order statistics of one expert's delta: where TIES cuts, what DELLA's ranks keep.

Deltas are never stored: each reading subtracts anew, piece by piece, into a buffer that stays in
cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from . import compiled, selection
from .jit import Array

PIECE = 1 << 16
Result = TypeVar("Result")


class Run(Protocol):
    """Does work on spans of whole units of the elements, maybe at once; results in their order."""

    def __call__(
        self, work: Callable[[int, int], Result], elements: int, unit: int = ..., /
    ) -> list[Result]:
        """See the class."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One expert's difference from the base, as kernels read it.

    base and expert: (address, dtype code); keys: the expert's mask keys, uint32 [runs, 2].
    """

    base: Array
    expert: Array
    keys: Array
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    def words(self, start: int, stop: int, piece: int = PIECE) -> Iterator[tuple[int, Array]]:
        """The bits of the magnitudes, by pieces: (index of the first, uint32 [piece or fewer]).

        All pieces share one buffer: use one before the next.
        """
        room = np.empty(min(piece, stop - start), np.uint32)
        for first in range(start, stop, piece):
            words = room[: min(piece, stop - first)]
            compiled.magnitudes(self.base, self.expert, words, first, first + len(words))
            yield first, words


def cut(delta: Delta, count: int, run: Run) -> tuple[int, int]:
    """The smallest magnitude of the `count` largest, and the last element of it that is kept."""
    value, wanted, equal = _value(delta, count, run)
    if wanted == equal:
        return value, delta.elements - 1
    return value, _tie(delta, value, wanted, run)


def ends(delta: Delta, first: int, stop: int, run: Run) -> tuple[int, int, int, int]:
    """The magnitude and the element of the ranks first and stop - 1, rank 0 being the smallest.

    Elements of equal magnitude are ranked in their order. No rank: numbers that keep nothing.
    """
    if first == stop:
        return 0, 0, 0, -1
    found = []
    for rank in (first, stop - 1):
        value, above, equal = _value(delta, delta.elements - rank, run)
        found += [value, _tie(delta, value, equal - above + 1, run)]
    return found[0], found[1], found[2], found[3]


def _value(delta: Delta, count: int, run: Run) -> tuple[int, int, int]:
    """The smallest of the `count` largest magnitudes, how many of it are among them, and in all.

    Exact: each reading counts one field of the magnitudes that begin as the one looked for.
    """
    value = 0
    for low, bits in selection.LEVELS:
        spans = run(_counter(delta, low, bits, value), delta.elements)
        counts: Array = np.sum(spans, axis=0)
        field, count = _reach(counts, count)
        value = value << bits | field
    return value, count, int(counts[field])


def _counter(delta: Delta, low: int, bits: int, prefix: int) -> Callable[[int, int], Array]:
    def work(start: int, stop: int) -> Array:
        counts = np.zeros(1 << bits, np.int64)
        for _, words in delta.words(start, stop):
            selection.count_field(words, low, bits, prefix, counts)
        return counts

    return work


def rank_mask(delta: Delta, width: int, inner: int, below: Array, run: Run) -> Array:
    """Which elements are kept by rank in rows of (width, inner) slabs: uint8 [elements].

    below: the draw under which each rank is kept, uint32 [width].
    """
    mask = np.empty(delta.elements, np.uint8)
    slab = width * inner
    piece = max(1, PIECE // slab) * slab

    def fill(start: int, stop: int) -> None:
        limits = np.empty(min(piece, stop - start), np.uint32)
        for first, words in delta.words(start, stop, piece):
            end, bounds = first + len(words), limits[: len(words)]
            selection.rank_limits(words, width, inner, below, bounds)
            compiled.mask(bounds, delta.keys, mask[first:end], first, end)

    run(fill, delta.elements, piece)
    return mask


def _tie(delta: Delta, value: int, wanted: int, run: Run) -> int:
    """Where the wanted-th element (from 1) of that magnitude stands."""

    def count(start: int, stop: int) -> list[tuple[int, int]]:
        return [
            (first, selection.count_equal(words, value))
            for first, words in delta.words(start, stop)
        ]

    pieces = [piece for span in run(count, delta.elements) for piece in span]
    reached = np.cumsum([found for _, found in pieces])
    index = int(np.searchsorted(reached, wanted))
    first, found = pieces[index]
    _, words = next(delta.words(first, min(first + PIECE, delta.elements)))
    return first + selection.find_equal(words, value, wanted - int(reached[index]) + found)


def _reach(counts: Any, wanted: int) -> tuple[int, int]:
    """The bin in which the wanted-th from the top lies, and how many of it are wanted."""
    reached = np.cumsum(counts[::-1])
    bin_ = int(np.searchsorted(reached, wanted))
    return len(counts) - 1 - bin_, wanted - int(reached[bin_] - counts[::-1][bin_])
