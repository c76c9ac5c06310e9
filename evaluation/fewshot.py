"""Which worked examples stand before a question.

Shots come from a pool (the calibration split, or a file). With `same` every question gets the
first n of one seeded order, else each draws its own. Both are functions of the seed and of the
rows' content, not of their order in the file; a question never meets its own row, nor a row of its
group.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from .errors import TaskError


@dataclass(frozen=True, slots=True)
class Shot:
    """A member of the pool: its key, its group, and its number for the caller."""

    key: str
    group: str
    number: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Shots in a seeded order, and how many each group has."""

    seed: int
    shots: tuple[Shot, ...]
    groups: Counter[str]


def make_pool(shots: Sequence[Shot], seed: int) -> Pool:
    """The pool in an order that depends on seed and keys alone."""
    ordered = sorted(shots, key=lambda shot: (draw(seed, shot.key), shot.key))
    return Pool(seed, tuple(ordered), Counter(shot.group for shot in shots))


def choose(pool: Pool, n: int, same: bool, key: str, group: str) -> list[int]:
    """The numbers of n shots for the question `key` of `group`.

    Raises:
        TaskError: the pool has fewer than n rows of other groups.
    """
    usable = len(pool.shots) - pool.groups[group]
    if usable < n:
        raise TaskError(
            f"fewshot: asks for {n} examples, but only {usable} rows are there that do not belong "
            "to the question itself; ask for fewer, or give a file of examples (fewshot.from)"
        )
    fit: Callable[[Shot], bool] = lambda shot: shot.group != group  # noqa: E731
    if same:
        return list(islice((shot.number for shot in pool.shots if fit(shot)), n))
    chosen: dict[int, int] = {}
    attempt = 0
    while len(chosen) < n:
        place = draw(pool.seed, f"{key}/{attempt}") % len(pool.shots)
        attempt += 1
        if fit(pool.shots[place]):
            chosen.setdefault(place, pool.shots[place].number)
    return list(chosen.values())


def draw(seed: int, text: str) -> int:
    """64 bits from seed and text."""
    data = f"{seed}\0{text}".encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
