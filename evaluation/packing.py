"""Spans to batches: what runs together, and which positions of it are asked for.

A span whose input is the beginning of another's (choices of one token, repeated questions) shares
its row, and a position goes through the output head once however many ask for it. Where the model
allows it, inputs that begin alike are computed as trees (`trees`), laid one behind the other
without padding; elsewhere they are padded rows (`padding`).

The layout is a function of the spans, in content and order, and of the limits: same plan, same
bits.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from .batches import (
    Batch,
    Forest,
    Group,
    Ints,
    Limits,
    Row,
    Tile,
    asked_batch,
    span_columns,
)
from .encoding import Span
from .padding import PASSES, padded
from .trees import Grove, Tree, grow, make_inputs

TILE = 128
"""Tokens of small trees that are attended together: fewer, larger steps."""
LONG_TRUNK = 128
"""A trunk at least this long is attended by itself, causally: half the work."""


NO_STEM = np.zeros(0, dtype=np.int64)


def pack(spans: Sequence[Span], limits: Limits) -> tuple[Group, ...]:
    """Batches that answer every span once; `spans` are without repetitions."""
    rows = shared_rows(spans, limits.alone)
    longest = limits.longest
    small = [row for row in rows if longest is None or len(row.tokens) <= longest]
    large = [row for row in rows if longest is not None and len(row.tokens) > longest]
    groups = list(wooded(small[::-1], spans, limits))
    if large:
        groups.append(Group(NO_STEM, tuple(padded(large, spans, limits))))
    return tuple(groups)


def shared_rows(spans: Sequence[Span], alone: int | None = None) -> list[Row]:
    """Rows such that no row's input begins another's, in falling order.

    In lexicographic order the extensions of an input stand right behind it, so comparing each with
    the row behind it is enough. A row longer than `alone` answers for no shorter input, and may
    hide from it one that could.
    """
    rows: list[Row] = []
    for number in sorted(range(len(spans)), key=lambda k: spans[k].tokens, reverse=True):
        tokens = spans[number].tokens
        last = rows[-1].tokens if rows else ()
        apart = alone is not None and len(last) > alone and len(last) != len(tokens)
        if rows and not apart and last[: len(tokens)] == tokens:
            rows[-1] = Row(rows[-1].tokens, (number, *rows[-1].spans))
        else:
            rows.append(Row(tokens, (number,)))
    return rows


def wooded(rows: Sequence[Row], spans: Sequence[Span], limits: Limits) -> Iterator[Group]:
    """Batches of trees from rows in lexicographic order."""
    tokens = [np.array(row.tokens, dtype=np.int64) for row in rows]
    free = [min(span_columns(spans[k]).start for k in row.spans) for row in rows]
    for grove in grow(make_inputs(tokens, free), limits.forest, limits.tokens // PASSES):
        questions = [asked_of(tree, len(grove.stem), rows, spans) for tree in grove.trees]
        batches = [
            forest_batch([grove.trees[k] for k in chosen], [questions[k] for k in chosen], spans)
            for chosen in passes(grove, questions, limits)
        ]
        yield Group(grove.stem, tuple(batches))


def asked_of(
    tree: Tree, stem: int, rows: Sequence[Row], spans: Sequence[Span]
) -> list[tuple[int, Ints]]:
    """For each span that a tree answers, the places in it that predict the span's targets."""
    found = []
    for number, path in zip(tree.rows, tree.paths, strict=True):
        for span in rows[number].spans:
            columns = span_columns(spans[span])
            found.append((span, path[columns.start - stem : columns.stop - stem]))
    return found


def passes(
    grove: Grove, questions: Sequence[Sequence[tuple[int, Ints]]], limits: Limits
) -> Iterator[list[int]]:
    """Which trees run together: in order, as evenly as their number of passes allows."""
    sizes = [len(tree.tokens) for tree in grove.trees]
    asked = [len(np.unique(np.concatenate([at for _, at in one]))) for one in questions]
    whole = max(1, -(-sum(sizes) // limits.forest))
    share = -(-sum(sizes) // whole)
    chosen: list[int] = []
    tokens = positions = 0
    for k, (size, count) in enumerate(zip(sizes, asked, strict=True)):
        over = tokens + size > limits.forest or positions + count > limits.positions
        if chosen and (over or tokens + size / 2 > share):
            yield chosen
            chosen, tokens, positions = [], 0, 0
        chosen.append(k)
        tokens, positions = tokens + size, positions + count
    yield chosen


def forest_batch(
    trees: Sequence[Tree], questions: Sequence[Sequence[tuple[int, Ints]]], spans: Sequence[Span]
) -> Batch:
    """Trees one behind the other."""
    starts = np.cumsum([0, *(len(tree.tokens) for tree in trees)])
    tokens = np.concatenate([tree.tokens for tree in trees])[None]
    ends = np.concatenate(
        [tree.ends + start for tree, start in zip(trees, starts[:-1], strict=True)]
    )
    moved = [
        (span, places + start)
        for asked, start in zip(questions, starts[:-1], strict=True)
        for span, places in asked
    ]
    depths = np.concatenate([tree.depths for tree in trees])
    forest = Forest(depths, ends, tuple(tiles(trees)))
    return asked_batch(tokens, np.array([tokens.shape[1]]), moved, spans, forest)


def tiles(trees: Sequence[Tree]) -> Iterator[Tile]:
    """Each large tree by itself, small ones together."""
    start = stop = 0
    for tree in trees:
        size = len(tree.tokens)
        if stop > start and stop - start + size > TILE:
            yield Tile(start, stop, 0)
            start = stop
        stop += size
        if stop - start >= TILE:
            trunk = tree.trunk if start == stop - size else 0
            yield Tile(start, stop, trunk if trunk >= LONG_TRUNK or trunk == size else 0)
            start = stop
    if stop > start:
        yield Tile(start, stop, 0)
