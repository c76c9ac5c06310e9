"""Spans to batches: which rows run together, and which positions of them are asked for.

The seam between what is asked (`encoding`) and what is computed (`runner`): a batch is plain
arrays. Here rows are sorted by length and padded on the right, which a causal model never sees
from the left of it. A span whose input is the beginning of another's (choices of one token,
repeated questions) shares that row, and a position goes through the output head once however many
ask for it. Trees of shared prefixes, which need masks of their own, are not built here.

The layout is a function of the spans, in content and order, and of the budgets: same plan, same
bits.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .encoding import Span

Ints = NDArray[np.int64]

PASSES = 16
"""A pass costs as much as this fraction of the budget in tokens, on top of its tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows that run together.

    tokens (rows, width), padded on the right; lengths (rows,); positions (u,): flat indices row *
    width + column that go through the head; at, targets (n,): the prediction of position
    `positions[at]` is asked for `targets`; spans, starts (s,): span `spans[k]` owns the questions
    from `starts[k]` to the next start.
    """

    tokens: Ints
    lengths: Ints
    positions: Ints
    at: Ints
    targets: Ints
    spans: Ints
    starts: Ints


@dataclass(frozen=True, slots=True)
class Row:
    """One input and the spans (by number) that it answers."""

    tokens: tuple[int, ...]
    spans: tuple[int, ...]


def pack(spans: Sequence[Span], token_budget: int, position_budget: int) -> tuple[Batch, ...]:
    """Batches that answer every span once, the longest rows first.

    Args:
        spans: What is asked, without repetitions.
        token_budget: Bound of rows x width; a single longer row makes a batch of its own.
        position_budget: Bound of the positions in one batch, for the logits' memory.
    """
    rows = sorted(shared_rows(spans), key=lambda row: (-len(row.tokens), row.tokens))
    asked = [len(columns(row, spans)) for row in rows]
    cuts = best_cuts([len(row.tokens) for row in rows], asked, token_budget, position_budget)
    return tuple(lay_out(rows[low:high], spans) for low, high in pairwise(cuts))


def best_cuts(
    lengths: Sequence[int], asked: Sequence[int], token_budget: int, position_budget: int
) -> list[int]:
    """Where to cut rows of falling length so that passes and padding cost least.

    A pass costs its rows x width and a fixed part of the budget (weights are read, kernels are
    started), so a short row leaves a wide batch where that pays. Exact, by dynamic programming.
    """
    start = token_budget // PASSES
    cost = [0, *([sys.maxsize] * len(lengths))]
    before = [0] * len(cost)
    for low, width in enumerate(lengths):
        positions = 0
        for high in range(low + 1, len(cost)):
            positions += asked[high - 1]
            padded = (high - low) * width
            if high > low + 1 and (padded > token_budget or positions > position_budget):
                break
            if cost[low] + start + padded < cost[high]:
                cost[high], before[high] = cost[low] + start + padded, low
    cuts = [len(lengths)]
    while cuts[-1] > 0:
        cuts.append(before[cuts[-1]])
    return cuts[::-1]


def shared_rows(spans: Sequence[Span]) -> list[Row]:
    """Rows such that no row's input begins another's.

    In lexicographic order the extensions of an input stand right behind it, so comparing each with
    the row behind it is enough.
    """
    rows: list[Row] = []
    for number in sorted(range(len(spans)), key=lambda k: spans[k].tokens, reverse=True):
        tokens = spans[number].tokens
        if rows and rows[-1].tokens[: len(tokens)] == tokens:
            rows[-1] = Row(rows[-1].tokens, (number, *rows[-1].spans))
        else:
            rows.append(Row(tokens, (number,)))
    return rows


def columns(row: Row, spans: Sequence[Span]) -> list[int]:
    """The columns of a row that any of its spans asks for, in order."""
    asked = {column for number in row.spans for column in span_columns(spans[number])}
    return sorted(asked)


def span_columns(span: Span) -> range:
    """The columns of its row that predict a span's targets."""
    return range(len(span.tokens) - len(span.targets), len(span.tokens))


def lay_out(rows: Sequence[Row], spans: Sequence[Span]) -> Batch:
    """The arrays of one batch; `rows` in the order of their length, longest first."""
    width = len(rows[0].tokens)
    tokens = np.zeros((len(rows), width), dtype=np.int64)
    positions: list[int] = []
    at: list[int] = []
    targets: list[int] = []
    starts: list[int] = []
    for line, row in enumerate(rows):
        tokens[line, : len(row.tokens)] = row.tokens
        place = {c: len(positions) + k for k, c in enumerate(columns(row, spans))}
        positions.extend(line * width + column for column in place)
        for number in row.spans:
            starts.append(len(at))
            at.extend(place[column] for column in span_columns(spans[number]))
            targets.extend(spans[number].targets)
    return Batch(
        tokens,
        np.array([len(row.tokens) for row in rows], dtype=np.int64),
        np.array(positions, dtype=np.int64),
        np.array(at, dtype=np.int64),
        np.array(targets, dtype=np.int64),
        np.array([number for row in rows for number in row.spans], dtype=np.int64),
        np.array(starts, dtype=np.int64),
    )
