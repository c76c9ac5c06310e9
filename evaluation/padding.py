"""Rows padded to one width: how inputs run where trees of them cannot.

Rows are sorted by length and padded on the right, which a causal model never sees from the left of
it. Where rows are cut into batches is decided exactly, by what passes and padding cost.
"""

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from .batches import Batch, Limits, Row, asked_batch, span_columns
from .encoding import Span

PASSES = 16
"""A pass costs as much as this fraction of the budget in tokens, on top of its tokens."""


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


def padded(rows: Sequence[Row], spans: Sequence[Span], limits: Limits) -> Iterator[Batch]:
    """Padded batches, the longest rows first."""
    rows = sorted(rows, key=lambda row: (-len(row.tokens), row.tokens))
    asked = [len({c for k in row.spans for c in span_columns(spans[k])}) for row in rows]
    lengths = [len(row.tokens) for row in rows]
    for low, high in alike(lengths, limits.alone):
        cuts = best_cuts(lengths[low:high], asked[low:high], limits.tokens, limits.positions)
        for start, stop in pairwise(cuts):
            yield padded_batch(rows[low + start : low + stop], spans)


def alike(lengths: Sequence[int], alone: int | None) -> Iterator[tuple[int, int]]:
    """Stretches of falling lengths that may share a batch: those above `alone` only if equal."""
    low = 0
    for k in range(1, len(lengths) + 1):
        apart = k == len(lengths) or (
            alone is not None and lengths[k - 1] > alone and lengths[k] != lengths[k - 1]
        )
        if apart:
            yield low, k
            low = k


def padded_batch(rows: Sequence[Row], spans: Sequence[Span]) -> Batch:
    """The arrays of one batch; `rows` in the order of their length, longest first."""
    width = len(rows[0].tokens)
    tokens = np.zeros((len(rows), width), dtype=np.int64)
    questions = []
    for line, row in enumerate(rows):
        tokens[line, : len(row.tokens)] = row.tokens
        for number in row.spans:
            columns = span_columns(spans[number])
            questions.append((number, line * width + np.arange(columns.start, columns.stop)))
    lengths = np.array([len(row.tokens) for row in rows], dtype=np.int64)
    return asked_batch(tokens, lengths, questions, spans, None)
