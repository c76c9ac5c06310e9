"""Spans to batches: what runs together, and which positions of it are asked for.

The seam between what is asked (`encoding`) and what is computed (`runner`): plain arrays. A span
whose input is the beginning of another's (choices of one token, repeated questions) shares its
row, and a position goes through the output head once however many ask for it. Where the model
allows it, inputs that begin alike are computed as trees (`trees`), laid one behind the other
without padding; elsewhere they are padded rows (`padding`).

The layout is a function of the spans, in content and order, and of the limits: same plan, same
bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .encoding import Span
from .padding import PASSES, best_cuts
from .trees import Grove, Tree, grow, make_inputs

Ints = NDArray[np.int64]

TILE = 128
"""Tokens of small trees that are attended together: fewer, larger steps."""
LONG_TRUNK = 128
"""A trunk at least this long is attended by itself, causally: half the work."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a batch.

    `tokens`: of rows x width, but for a single longer row; `positions`: through the head at once,
    for the logits' memory; `longest`: inputs up to this length may run as trees, None: all, 0:
    none; `alone`: longer inputs share a batch with none of another length, None: never.
    """

    tokens: int
    positions: int
    longest: int | None = None
    alone: int | None = None


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
    the row behind it is enough. A row longer than `alone` answers for no shorter input.
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


def span_columns(span: Span) -> range:
    """The columns of its input that predict a span's targets."""
    return range(len(span.tokens) - len(span.targets), len(span.tokens))


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


def wooded(rows: Sequence[Row], spans: Sequence[Span], limits: Limits) -> Iterator[Group]:
    """Batches of trees from rows in lexicographic order."""
    tokens = [np.array(row.tokens, dtype=np.int64) for row in rows]
    free = [min(span_columns(spans[k]).start for k in row.spans) for row in rows]
    for grove in grow(make_inputs(tokens, free), limits.tokens, limits.tokens // PASSES):
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
    whole = max(1, -(-sum(sizes) // limits.tokens))
    share = -(-sum(sizes) // whole)
    chosen: list[int] = []
    tokens = positions = 0
    for k, (size, count) in enumerate(zip(sizes, asked, strict=True)):
        over = tokens + size > limits.tokens or positions + count > limits.positions
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
