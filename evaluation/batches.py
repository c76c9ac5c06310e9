"""A plan as plain arrays: batches with what is asked of them, and the limits they keep.

The seam between what is asked (`encoding`) and what is computed (`passes`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .encoding import Span

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a batch.

    `tokens`: of rows x width, but for a single longer row; `positions`: through the head at once,
    for the logits' memory; `longest`: inputs up to this length may run as trees, None: all, 0:
    none; `alone`: longer inputs share a batch with none of another length, None: never; `widest`:
    bound of a row of trees, None: `tokens`.
    """

    tokens: int
    positions: int
    longest: int | None = None
    alone: int | None = None
    widest: int | None = None

    @property
    def forest(self) -> int:
        """Tokens of a row of trees."""
        return min(self.tokens, self.widest or self.tokens)


@dataclass(frozen=True, slots=True)
class Tile:
    """Tokens start..stop that are attended together; `trunk` leading ones apart, causally."""

    start: int
    stop: int
    trunk: int


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees in one row: depths, ends (width,), as in `trees.Tree`, and how they are attended."""

    depths: Ints
    ends: Ints
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Batch:
    """Rows that run together.

    tokens (rows, width), padded on the right; lengths (rows,); positions (u,): flat indices row *
    width + column that go through the head; at, targets (n,): the prediction of position
    `positions[at]` is asked for `targets`; spans, starts (s,): span `spans[k]` owns the questions
    from `starts[k]` to the next start. With `forest` the one row is trees.
    """

    tokens: Ints
    lengths: Ints
    positions: Ints
    at: Ints
    targets: Ints
    spans: Ints
    starts: Ints
    forest: Forest | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Batches behind one stem, which is empty for most."""

    stem: Ints
    batches: tuple[Batch, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One input and the spans (by number) that it answers."""

    tokens: tuple[int, ...]
    spans: tuple[int, ...]


def span_columns(span: Span) -> range:
    """The columns of its input that predict a span's targets."""
    return range(len(span.tokens) - len(span.targets), len(span.tokens))


def asked_batch(
    tokens: Ints,
    lengths: Ints,
    questions: Sequence[tuple[int, Ints]],
    spans: Sequence[Span],
    forest: Forest | None,
) -> Batch:
    """A batch from its tokens and, for each span, the flat positions that predict its targets."""
    counts = [len(places) for _, places in questions]
    places = np.concatenate([places for _, places in questions])
    positions, at = np.unique(places, return_inverse=True)
    targets = [target for number, _ in questions for target in spans[number].targets]
    return Batch(
        tokens,
        lengths,
        positions.astype(np.int64),
        at.astype(np.int64),
        np.array(targets, dtype=np.int64),
        np.array([number for number, _ in questions], dtype=np.int64),
        np.cumsum([0, *counts[:-1]], dtype=np.int64),
        forest,
    )
