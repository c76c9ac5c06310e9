"""What a merge must know of one expert's delta beforehand: where it is cut, its ranks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import order, rules
from .jit import Array
from .operands import Run
from .ranks import row_ranks

EVERYWHERE = 1 << 62
"""Beyond the last element of any tensor."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One expert's difference from the base, as kernels read it: addresses and `elements.LIKE`."""

    base: int
    expert: int
    like: Any
    elements: int


def cut(delta: Delta, count: int) -> tuple[int, ...]:
    """The rule that keeps the `count` largest magnitudes, equal ones in element order."""
    word, wanted, equal = order.nth_largest(*_read(delta), count)
    last = EVERYWHERE if wanted == equal else order.find_equal(*_read(delta), word, wanted)
    return rules.ranged(word, 0, last, rules.TOP, EVERYWHERE)


def band(delta: Delta, first: int, stop: int) -> tuple[int, ...]:
    """The rule that keeps the ranks [first, stop), rank 0 being the smallest magnitude.

    Elements of equal magnitude are ranked in their order.
    """
    if first == stop:
        return rules.ranged(1, 0, EVERYWHERE, 0, EVERYWHERE)
    low, begin = _ranked(delta, first)
    high, last = _ranked(delta, stop - 1)
    return rules.ranged(low, begin, EVERYWHERE, high, last)


def ranks(delta: Delta, width: int, inner: int, run: Run) -> Array:
    """DELLA's ranks in rows of (width, inner) slabs, see `ranks.row_ranks`: uint8 [elements]."""
    out = np.empty(delta.elements, np.uint8)
    rows = delta.elements // width

    def fill(start: int, stop: int) -> None:
        fixed = (delta.base, delta.expert, delta.like, width, inner, out.ctypes.data)
        row_ranks(*fixed, start, stop)

    run(fill, rows, max(1, (1 << 18) // width))
    return out


def _ranked(delta: Delta, rank: int) -> tuple[int, int]:
    """The magnitude of a rank, as a word, and which element has that rank."""
    word, place, equal = order.nth_largest(*_read(delta), delta.elements - rank)
    return word, order.find_equal(*_read(delta), word, equal - place + 1)


def _read(delta: Delta) -> tuple[int, int, Any, int]:
    return delta.base, delta.expert, delta.like, delta.elements
