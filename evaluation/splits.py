"""Which split each row of a task serves: calibration, search, select or test.

Rows are assigned by the hash of their group (rows that share a passage or a template are never
separated), balanced within strata and over the whole task, and an appended row moves none of the
rows before it.

No rule can do that and ignore the order of the file as well: what neither order nor appended rows
may move can depend on the group alone, and then balance is that of coin tosses (150 rows would
give 30 +- 5 to a test split of a fifth). This rule gives up the order. Groups are walked as they
first appear, and each group's hash tosses a biased coin (Efron 1971, doi:10.1093/biomet/58.3.403)
that leans to the splits that are behind, so little that a group's place in the file still says
nothing about its split (files often repeat their kinds in turn), and enough that counts differ
from their shares by less than one (standard deviation), in each stratum and over all. A file whose
rows were shuffled, or removed or inserted before others, is another file: rows may change splits.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import EvaluationError

SPLITS = ("calibration", "search", "select", "test")
DEFAULT_FRACTIONS: Mapping[str, float] = {
    "calibration": 0.15,
    "search": 0.45,
    "select": 0.2,
    "test": 0.2,
}
MIN_GROUPS = 10
"""A split that is not empty on purpose must hold this many groups, else the task is refused."""
MIN_CLAIM_GROUPS = 30
"""Under this many groups nothing is claimed: a 95% bootstrap of 20 groups covers 93%, of 4 80%."""

_CALM = 4.0
"""Simulated: 0 gives the exact counts and an order that files can follow, 4 a bias below 0.01."""


@dataclass(frozen=True, slots=True)
class SplitCount:
    """What one split holds."""

    items: int
    groups: int


def check_fractions(fractions: Mapping[str, float]) -> dict[str, float]:
    """The fraction of each split in the order of SPLITS, scaled to sum to 1; a missing one is 0.

    Raises:
        EvaluationError: an unknown split, a fraction that is no finite number >= 0, a sum off 1
            by more than 1e-6, or nothing left for `search`.
    """
    unknown = [name for name in fractions if name not in SPLITS]
    if unknown:
        raise EvaluationError(f"split: {unknown[0]!r} is not one of {', '.join(SPLITS)}")
    wrong = {n: f for n, f in fractions.items() if not (math.isfinite(f) and f >= 0)}
    for name, fraction in wrong.items():
        raise EvaluationError(f"split.{name}: expected a fraction from 0 to 1, got {fraction}")
    total = math.fsum(fractions.values())
    if abs(total - 1) > 1e-6:
        raise EvaluationError(f"split: the fractions must sum to 1, these sum to {total:g}")
    if not fractions.get("search", 0):
        raise EvaluationError("split.search: must be above 0, candidates are scored on it")
    return {name: fractions.get(name, 0.0) / total for name in SPLITS}


def assign_splits(
    groups: Sequence[str], strata: Sequence[str], fractions: Mapping[str, float], seed: int
) -> tuple[str, ...]:
    """The split of every row, in the order of the rows.

    Args:
        groups: One name a row, in the order of the file; rows of one group share a split.
        strata: One name a row; a group belongs to the stratum of its first row.
        fractions: Split to fraction of the groups, summing to 1; 0 leaves a split empty.
        seed: Another seed gives another draw.

    Raises:
        EvaluationError: fractions that `check_fractions` refuses.
    """
    shares = tuple(check_fractions(fractions).values())
    overall = [0] * len(SPLITS)
    by_stratum: dict[str, list[int]] = {}
    chosen: dict[str, int] = {}
    for group, stratum in zip(groups, strata, strict=True):
        if group not in chosen:
            counts = by_stratum.setdefault(stratum, [0] * len(SPLITS))
            split = _draw(_weights(shares, counts, overall), _position(seed, group))
            counts[split] += 1
            overall[split] += 1
            chosen[group] = split
    return tuple(SPLITS[chosen[group]] for group in groups)


def assign_bound_splits(
    groups: Sequence[str],
    strata: Sequence[str],
    bound: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> tuple[str, ...]:
    """The same where some rows are bound to `test`: all others share the other splits.

    Args:
        groups: One name a row, in the order of the file.
        strata: One name a row.
        bound: `test` where a row is bound to it, else empty. If no row is, `test` is drawn.
        fractions: Split to fraction of the groups, summing to 1; if rows are bound, `test` has no
            fraction and the others are scaled up.
        seed: Another seed gives another draw.

    Raises:
        EvaluationError: fractions that `check_fractions` refuses.
    """
    if not any(bound):
        return assign_splits(groups, strata, fractions, seed)
    others = {name: share for name, share in check_fractions(fractions).items() if name != "test"}
    total = math.fsum(others.values())
    scaled = {name: share / total for name, share in others.items()}
    free = [row for row, split in enumerate(bound) if not split]
    drawn = iter(
        assign_splits([groups[row] for row in free], [strata[row] for row in free], scaled, seed)
    )
    return tuple(split or next(drawn) for split in bound)


def split_counts(groups: Sequence[str], splits: Sequence[str]) -> dict[str, SplitCount]:
    """Items and distinct groups of every split, in the order of SPLITS."""
    members: dict[str, list[str]] = {name: [] for name in SPLITS}
    for group, split in zip(groups, splits, strict=True):
        members[split].append(group)
    return {name: SplitCount(len(rows), len(set(rows))) for name, rows in members.items()}


def split_faults(
    groups: Sequence[str], splits: Sequence[str], fractions: Mapping[str, float]
) -> tuple[str, ...]:
    """One message for each split that was asked for and holds fewer than MIN_GROUPS groups."""
    counts = split_counts(groups, splits)
    return tuple(
        f"split {name!r} has {counts[name].groups} of the {len(set(groups))} groups, at least "
        f"{MIN_GROUPS} are needed: add rows, or change `split`"
        for name in SPLITS
        if fractions.get(name, 0) > 0 and counts[name].groups < MIN_GROUPS
    )


def _weights(
    shares: Sequence[float], stratum: Sequence[int], overall: Sequence[int]
) -> tuple[float, ...]:
    """What the coin gives each split: its share, plus what it lacks so far.

    Without the cut at 0 the mean of every weight is in proportion to its share, wherever a group
    stands; the cut is rare because _CALM shares are added.
    """
    k, n = sum(stratum) + 1, sum(overall) + 1
    return tuple(
        max(0.0, (share * k - here) + (share * n - there) + _CALM * share)
        for share, here, there in zip(shares, stratum, overall, strict=True)
    )


def _draw(weights: Sequence[float], position: float) -> int:
    """The split whose stretch of the cumulative weights holds `position`, a number in [0, 1)."""
    target = position * math.fsum(weights)
    last = 0
    for split, weight in enumerate(weights):
        if weight > 0:
            last = split
            if target < weight:
                return split
            target -= weight
    return last


def _position(seed: int, group: str) -> float:
    """The group's place in [0, 1), the same in every process: the first 53 bits of its hash."""
    digest = hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
