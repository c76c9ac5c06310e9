"""Which elements of a delta are kept, as kernels read it: rules in integers.

A rule is a row of nine numbers: its kind, then for RANGED (magnitudes, as the bits of a float32
without its sign) the lowest word that is kept, the elements from which and up to which that word
is kept, the highest word, and the element up to which that one is kept; for DRAWN the limit of
the draws; for RANKED the limit of the lowest rank, 2^8 x the step from a rank to the next, and
the address of the ranks' bytes.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from .elements import peek
from .jit import Array, generated, inlined
from .primitives import bits_of, draw, int64, uint32

RANGED, DRAWN, RANKED = 0, 1, 2
TOP = 0x7FFFFFFF
"""The largest magnitude there is, as a word: a NaN's."""

NOTHING = 0x80000000
"""More than any magnitude: it has the highest bit."""

WORD = 1 << 32
byte: Any = np.uint8(0)

ALL = (RANGED, 0, 0, WORD * WORD // 4, TOP, WORD * WORD // 4, 0, 0, 0)


def ranged(low: int, begin: int, end: int, high: int, last: int) -> tuple[int, ...]:
    """Keeps the magnitudes from `low` (elements [begin, end] of it) to `high` (up to `last`)."""
    return (RANGED, low, begin, end, high, last, 0, 0, 0)


def drawn(below: int) -> tuple[int, ...]:
    """Keeps what is drawn below a limit."""
    return (DRAWN, 0, 0, 0, 0, 0, below, 0, 0)


def ranked(below: int, step: int, ranks: int) -> tuple[int, ...]:
    """Keeps what is drawn below the limit of its rank: below + step x rank / 256."""
    return (RANKED, 0, 0, 0, 0, 0, below, step, ranks)


@inlined
def ranged_numbers(rule: Any, at: int) -> Any:
    """What `is_kept` takes for RANGED: the lowest word, and the span of words from there.

    Like the two below it holds for the elements from `at` on, as many as `steps_to_change` says.
    """
    low, high = rule[1], rule[4]
    if at < rule[2] or at > rule[3]:
        low += 1
    if at > rule[5]:
        high -= 1
    if high < low:
        low = high = int64(NOTHING)
    return uint32(low), uint32(high - low)


@inlined
def drawn_numbers(rule: Any, keys: Any, at: int) -> Any:
    """For DRAWN: two keys, and the limit of the draws."""
    k0, k1 = keys[at >> 32]
    return uint32(k0), uint32(k1), uint32(rule[6])


@inlined
def ranked_numbers(rule: Any, keys: Any, at: int) -> Any:
    """For RANKED: two keys, the lowest rank's limit, the step, and the address of the ranks."""
    k0, k1 = keys[at >> 32]
    return uint32(k0), uint32(k1), uint32(rule[6]), uint32(rule[7]), rule[8]


def numbers_at(rule: tuple[int, ...], keys: Any, at: int) -> tuple[int, ...]:
    """The same for any rule without numba, which takes its time for a few numbers."""
    if rule[0] != RANGED:
        own = (rule[6],) if rule[0] == DRAWN else (rule[6], rule[7], rule[8])
        return (*keys[at >> 32].tolist(), *own)
    low = rule[1] + (at < rule[2] or at > rule[3])
    high = rule[4] - (at > rule[5])
    return (low, high - low) if low <= high else (NOTHING, 0)


def stretches(rules: Sequence[tuple[int, ...]], start: int, stop: int) -> list[tuple[int, int]]:
    """The runs of elements of [start, stop) for which the rules' numbers are the same."""
    edges = {edge for rule in rules for edge in (rule[2], rule[3] + 1, rule[5] + 1)}
    edges |= set(range((start // WORD + 1) * WORD, stop, WORD))
    inside = sorted(edge for edge in edges if start < edge < stop)
    return list(itertools.pairwise([start, *inside, stop]))


@inlined
def steps_to_change(rules: Array, at: int, count: int) -> int:
    """How many of the next `count` elements have the same numbers, for all experts."""
    stop = min(at + count, ((at >> 32) + 1) << 32)
    for e in range(len(rules)):
        rule = rules[e]
        if rule[0] == RANGED:
            for edge in (rule[2], rule[3] + 1, rule[5] + 1):
                if at < edge < stop:
                    stop = edge
    return stop - at


@generated
def is_kept(typing: Any, delta: Any, index: Any, numbers: Any) -> Any:
    """Whether the rule, which the numbers' count tells, keeps an element.

    A function for each, passed as an argument, would keep numba from caching the kernels.
    """
    python = {2: _in_range, 3: _is_drawn, 5: _is_ranked}[len(numbers)]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.compile_internal(builder, python, signature, arguments)

    return types.boolean(types.float32, types.int64, numbers), generate


def _in_range(delta: Any, index: Any, numbers: Any) -> Any:
    word = uint32(bits_of(delta) & uint32(0x7FFFFFFF))
    return uint32(word - uint32(numbers[0])) <= uint32(numbers[1])


def _is_drawn(delta: Any, index: Any, numbers: Any) -> Any:
    return draw(uint32(index), uint32(numbers[0]), uint32(numbers[1])) < uint32(numbers[2])


def _is_ranked(delta: Any, index: Any, numbers: Any) -> Any:
    rank = uint32(peek(numbers[4], index, byte))
    above = uint32(uint32(uint32(numbers[3]) * rank) >> uint32(8))
    limit = uint32(uint32(numbers[2]) + above)
    return draw(uint32(index), uint32(numbers[0]), uint32(numbers[1])) < limit
