"""How a first study is divided, and how far it goes: by what its files have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.splits import (
    DEFAULT_FRACTIONS,
    MIN_CLAIM_GROUPS,
    MIN_GROUPS,
    assign_splits,
    split_counts,
    split_faults,
)

from ..errors import StudyError
from .questions import Draft

TRIALS = 100
CANDIDATES = 40
"""Whole candidates that the items of the budget pay for, beside the references."""
SEED = 0
SHARES: tuple[tuple[dict[str, float], str], ...] = (
    (dict(DEFAULT_FRACTIONS), ""),
    (
        {"calibration": 0.1, "search": 0.4, "select": 0.2, "test": 0.3},
        "The files are small: a larger share is sealed as `test`, so that a gain can be claimed.",
    ),
    (
        {"calibration": 0.0, "search": 0.4, "select": 0.3, "test": 0.3},
        "The files are small: nothing is set aside for gradients (`calibration`).",
    ),
    (
        {"calibration": 0.0, "search": 0.5, "select": 0.5, "test": 0.0},
        "The files are too small to seal a `test`: the winner is chosen, and nothing is claimed.",
    ),
)
"""From the default on: what a smaller file can still be divided into."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """`split` (None: the default), `budget`, and why, for the comments of the file."""

    split: dict[str, float] | None
    split_note: str
    budget: dict[str, Any]
    budget_note: str


def sizes_of(drafts: Sequence[Draft], references: int) -> Sizes:
    """Split and budget that fit the rows.

    Args:
        drafts: The tasks; of lm-eval's nothing is known.
        references: Base, experts and uniform merge, which are scored in full.

    Raises:
        StudyError: a file has too few rows (or groups) to search and to choose.
    """
    known = [one for one in drafts if one.groups]
    split, note = _split(known) if known else (dict(DEFAULT_FRACTIONS), "")
    shown = None if split == DEFAULT_FRACTIONS else split
    raced = f"{TRIALS} candidates, dropped ones included; racing scores most on few questions."
    if len(known) < len(drafts) or not known:
        return Sizes(shown, note, {"trials": TRIALS}, raced)
    each = sum(len(one.groups) * split["search"] for one in known)
    whole = CANDIDATES + references
    items = round(each * whole / 100) * 100 or 100
    text = (
        f"{raced} Or {items:,} items (one candidate on one question), which is {whole} candidates "
        "in full; whatever ends first. `eutectic check` tells how long it takes."
    )
    return Sizes(shown, note, {"trials": TRIALS, "items": items}, text)


def _split(drafts: Sequence[Draft]) -> tuple[dict[str, float], str]:
    """The first shares that let a gain be claimed; else the first that can be searched at all."""
    counts = [_counts(shares, drafts) for shares, _ in SHARES]
    for (shares, note), found in zip(SHARES, counts, strict=True):
        if shares["test"] and found is not None and found >= MIN_CLAIM_GROUPS:
            return shares, note
    few = f"`test` gets fewer than {MIN_CLAIM_GROUPS} groups: a winner, but no claim."
    for (shares, note), found in zip(SHARES, counts, strict=True):
        if found is not None:
            return shares, " ".join(filter(None, (note, few if shares["test"] else "")))
    small = min(drafts, key=lambda one: len(set(one.groups)))
    raise StudyError(
        f"task {small.name!r} has {len(set(small.groups))} rows (or groups of rows): at least "
        f"{MIN_GROUPS} to search on and {MIN_GROUPS} to choose by are needed, better 150"
    )


def _counts(shares: Mapping[str, float], drafts: Sequence[Draft]) -> int | None:
    """The fewest groups in any task's `test`; None where some split is refused."""
    fewest = []
    for one in drafts:
        splits = assign_splits(one.groups, one.strata, shares, SEED)
        if split_faults(one.groups, splits, shares):
            return None
        fewest.append(split_counts(one.groups, splits)["test"].groups)
    return min(fewest)
