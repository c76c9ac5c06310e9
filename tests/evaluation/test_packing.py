"""Plans of spans: every question once, behind what it depends on, within the limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.batches import Batch, Group, Limits
from evaluation.encoding import Span
from evaluation.packing import TILE, pack, shared_rows

TOKENS = st.lists(st.integers(1, 3), min_size=1, max_size=7)
PADDED = 0
"""`longest` under which no input runs as a tree."""


@st.composite
def span_lists(draw: st.DrawFn) -> list[Span]:
    """Spans over few tokens, some behind a long common beginning."""
    spans = {}
    beginning = tuple(draw(st.lists(st.integers(1, 3), min_size=20, max_size=24)))
    for tokens in draw(st.lists(TOKENS, min_size=1, max_size=12)):
        count = draw(st.integers(1, len(tokens)))
        targets = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
        before = beginning if draw(st.booleans()) else ()
        spans[Span((*before, *tokens), tuple(targets))] = None
    return list(spans)


def read(group: Group, batch: Batch, position: int) -> tuple[int, ...]:
    """Everything the model has seen at a flat position, by the rule of masks and depths."""
    row, column = divmod(position, batch.tokens.shape[1])
    if batch.forest is None:
        return tuple(batch.tokens[row, : column + 1].tolist())
    ends, depths = batch.forest.ends, batch.forest.depths
    seen = [j for j in range(column + 1) if column < ends[j]]
    assert depths[seen].tolist() == list(range(len(group.stem), len(group.stem) + len(seen)))
    return (*group.stem.tolist(), *batch.tokens[0, seen].tolist())


def questions(group: Group, batch: Batch) -> list[tuple[int, tuple[int, ...], int]]:
    """(span, everything the model has read there, target) for each question of a batch."""
    ends = np.append(batch.starts[1:], len(batch.at))
    return [
        (int(span), read(group, batch, int(batch.positions[batch.at[k]])), int(batch.targets[k]))
        for span, low, high in zip(batch.spans, batch.starts, ends, strict=True)
        for k in range(low, high)
    ]


def batches(groups: tuple[Group, ...]) -> list[Batch]:
    return [batch for group in groups for batch in group.batches]


@settings(max_examples=300, deadline=None)
@given(span_lists(), st.integers(1, 80), st.integers(1, 20), st.sampled_from([None, 0, 4, 23]))
def test_every_question_is_asked_once_at_the_end_of_what_it_depends_on(
    spans: list[Span], budget: int, positions: int, longest: int | None
) -> None:
    groups = pack(spans, Limits(budget, positions, longest))
    asked = [q for group in groups for batch in group.batches for q in questions(group, batch)]
    wanted = [
        (number, span.tokens[: len(span.tokens) - len(span.targets) + k + 1], target)
        for number, span in enumerate(spans)
        for k, target in enumerate(span.targets)
    ]
    assert sorted(asked) == sorted(wanted)


@settings(max_examples=100, deadline=None)
@given(span_lists(), st.integers(1, 60), st.integers(1, 20), st.sampled_from([None, PADDED]))
def test_budgets_bind_where_a_batch_has_more_than_one_input(
    spans: list[Span], budget: int, positions: int, longest: int | None
) -> None:
    for batch in batches(pack(spans, Limits(budget, positions, longest))):
        assert len(set(batch.positions.tolist())) == len(batch.positions)
        if len(batch.tokens) > 1:
            assert batch.tokens.size <= budget
            assert len(batch.positions) <= positions
        elif batch.tokens.size > budget:
            assert batch.forest is None or (batch.forest.ends == batch.tokens.size).all()


@given(span_lists())
def test_no_row_begins_another(spans: list[Span]) -> None:
    rows = [row.tokens for row in shared_rows(spans)]
    for one in rows:
        assert sum(other[: len(one)] == one for other in rows) == 1


@settings(max_examples=100, deadline=None)
@given(span_lists(), st.integers(8, 60))
def test_trees_read_no_more_tokens_than_rows(spans: list[Span], budget: int) -> None:
    groups = pack(spans, Limits(budget, 1000))
    read = sum(len(group.stem) for group in groups) + sum(b.tokens.size for b in batches(groups))
    assert read <= sum(len(row.tokens) for row in shared_rows(spans))


def test_a_context_is_read_once_for_all_its_choices() -> None:
    context = tuple(range(10, 30))
    spans = [Span((*context, k, k), (k, k, 9)) for k in range(4)]
    (group,) = pack(spans, Limits(100, 100))
    (batch,) = group.batches
    assert batch.tokens.shape == (1, 28) and not len(group.stem)
    assert batch.forest is not None and batch.forest.depths.max() == 21
    assert len(batch.positions) == 9  # the end of the context, and two tokens of each choice


def test_a_beginning_that_many_items_share_is_a_stem() -> None:
    shots = tuple(range(100, 400))
    items = [(*shots, *range(1000 * k, 1000 * k + 20)) for k in range(1, 40)]
    spans = [Span((*item, choice), (choice, 5)) for item in items for choice in (1, 2)]
    (group,) = pack(spans, Limits(256, 1000))
    assert group.stem.tolist() == list(shots)
    assert sum(batch.tokens.size for batch in group.batches) == 39 * 22
    assert max(batch.tokens.size for batch in group.batches) <= 256
    sizes = [batch.tokens.size for batch in group.batches]
    assert max(sizes) - min(sizes) <= 44  # as even as whole items allow


def test_a_stem_answers_nothing() -> None:
    shots = tuple(range(100, 200))
    texts = [Span((*shots, 7, k), (*shots[1:], 7, k, 5)) for k in range(1, 9)]
    groups = pack(texts, Limits(2048, 10_000))
    assert not any(len(group.stem) for group in groups)


def test_inputs_beyond_a_window_are_padded_rows() -> None:
    spans = [Span((n,) * n, (2,)) for n in (5, 9, 30)] + [Span((3,) * 30, (2,))]
    forest, rows = pack(spans, Limits(100, 100, longest=10))
    assert [batch.tokens.shape for batch in forest.batches] == [(1, 14)]
    assert [batch.tokens.shape for batch in rows.batches] == [(2, 30)]


def test_inputs_whose_length_matters_meet_no_other_length() -> None:
    spans = [Span((n,) * n, (2,)) for n in (5, 6, 20, 21)] + [Span((9,) * 21, (2,))]
    (group,) = pack(spans, Limits(1000, 100, longest=PADDED, alone=10))
    assert [batch.tokens.shape for batch in group.batches] == [(2, 21), (1, 20), (2, 6)]
    begins = [Span((1,) * n, (2,)) for n in (5, 20, 21)]
    (group,) = pack(begins, Limits(1000, 100, longest=PADDED, alone=10))
    assert [batch.tokens.shape for batch in group.batches] == [(1, 21), (1, 20), (1, 5)]


def test_small_trees_are_attended_together_and_large_ones_apart() -> None:
    spans = [Span((k,) * 30, (2,)) for k in range(1, 9)] + [Span((9,) * (2 * TILE), (2,))]
    (group,) = pack(spans, Limits(4096, 100))
    (batch,) = group.batches
    assert batch.forest is not None
    sizes = [tile.stop - tile.start for tile in batch.forest.tiles]
    assert sizes == [120, 120, 2 * TILE]
    assert [tile.trunk for tile in batch.forest.tiles] == [0, 0, 2 * TILE]


def test_choices_of_one_token_share_row_and_position() -> None:
    spans = [Span((5, 6, 7), (k,)) for k in range(4)] + [Span((5, 6), (7,))]
    (batch,) = batches(pack(spans, Limits(100, 100)))
    assert batch.tokens.tolist() == [[5, 6, 7]]
    assert sorted(batch.positions.tolist()) == [1, 2]
    assert len(batch.targets) == 5


def test_longest_first_and_padded_on_the_right() -> None:
    spans = [Span((1,) * 10, (9,)), Span((2,) * 30, (9,)), Span((3,) * 29, (9,))]
    first, second = batches(pack(spans, Limits(64, 100, PADDED)))
    assert first.tokens.tolist() == [[2] * 30, [3] * 29 + [0]]
    assert first.lengths.tolist() == [30, 29]
    assert second.tokens.tolist() == [[1] * 10]


def test_short_rows_leave_a_wide_batch_where_that_pays() -> None:
    # One row of 100 and ten of 10: together 1,100 padded, apart 200 and a second pass.
    spans = [Span((1,) * 100, (1,))] + [Span((2, k) + (3,) * 8, (1,)) for k in range(10)]
    found = batches(pack(spans, Limits(2048, 4096, PADDED)))
    assert [batch.tokens.shape for batch in found] == [(1, 100), (10, 10)]


@pytest.mark.parametrize("longest", [None, PADDED])
def test_the_order_of_spans_does_not_change_what_runs(longest: int | None) -> None:
    spans = [Span((k % 5, k, *range(k)), (1,)) for k in range(20)]
    one, two = (
        [batch.tokens.tolist() for batch in batches(pack(some, Limits(64, 100, longest)))]
        for some in (spans, spans[::-1])
    )
    assert one == two
