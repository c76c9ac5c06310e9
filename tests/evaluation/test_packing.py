"""Batches of spans: every question once, within the budgets, the same layout every time."""

from itertools import combinations, pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.encoding import Span
from evaluation.packing import PASSES, Batch, best_cuts, pack, shared_rows

TOKENS = st.lists(st.integers(1, 3), min_size=1, max_size=7)


@st.composite
def span_lists(draw: st.DrawFn) -> list[Span]:
    spans = {}
    for tokens in draw(st.lists(TOKENS, min_size=1, max_size=12)):
        count = draw(st.integers(1, len(tokens)))
        targets = draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
        spans[Span(tuple(tokens), tuple(targets))] = None
    return list(spans)


def questions(batch: Batch) -> list[tuple[int, tuple[int, ...], int]]:
    """(span, everything the model has read there, target) for each question of a batch."""
    ends = np.append(batch.starts[1:], len(batch.at))
    found = []
    for span, low, high in zip(batch.spans, batch.starts, ends, strict=True):
        for k in range(low, high):
            row, column = divmod(int(batch.positions[batch.at[k]]), batch.tokens.shape[1])
            read = tuple(batch.tokens[row, : column + 1].tolist())
            found.append((int(span), read, int(batch.targets[k])))
    return found


@settings(max_examples=200, deadline=None)
@given(span_lists(), st.integers(1, 40), st.integers(1, 20))
def test_every_question_is_asked_once_at_the_end_of_what_it_depends_on(
    spans: list[Span], budget: int, positions: int
) -> None:
    batches = pack(spans, budget, positions)
    asked = sorted(question for batch in batches for question in questions(batch))
    wanted = []
    for number, span in enumerate(spans):
        first = len(span.tokens) - len(span.targets)
        for k, target in enumerate(span.targets):
            wanted.append((number, span.tokens[: first + k + 1], target))
    assert asked == sorted(wanted)


@settings(max_examples=100, deadline=None)
@given(span_lists(), st.integers(1, 40), st.integers(1, 20))
def test_budgets_bind_where_a_batch_has_more_than_one_row(
    spans: list[Span], budget: int, positions: int
) -> None:
    for batch in pack(spans, budget, positions):
        assert len(set(batch.positions.tolist())) == len(batch.positions)
        if len(batch.tokens) > 1:
            assert batch.tokens.size <= budget
            assert len(batch.positions) <= positions


@given(span_lists())
def test_no_row_begins_another(spans: list[Span]) -> None:
    rows = [row.tokens for row in shared_rows(spans)]
    for one in rows:
        assert sum(other[: len(one)] == one for other in rows) == 1


def test_choices_of_one_token_share_row_and_position() -> None:
    spans = [Span((5, 6, 7), (k,)) for k in range(4)] + [Span((5, 6), (7,))]
    (batch,) = pack(spans, 100, 100)
    assert batch.tokens.tolist() == [[5, 6, 7]]
    assert sorted(batch.positions.tolist()) == [1, 2]
    assert len(batch.targets) == 5


def test_longest_first_and_padded_on_the_right() -> None:
    spans = [Span((1,) * 10, (9,)), Span((2,) * 30, (9,)), Span((3,) * 29, (9,))]
    first, second = pack(spans, 64, 100)
    assert first.tokens.tolist() == [[2] * 30, [3] * 29 + [0]]
    assert first.lengths.tolist() == [30, 29]
    assert second.tokens.tolist() == [[1] * 10]


def test_short_rows_leave_a_wide_batch_where_that_pays() -> None:
    # One row of 100 and ten of 10: together 1,100 padded, apart 200 and a second pass.
    spans = [Span((1,) * 100, (1,))] + [Span((2, k) + (3,) * 8, (1,)) for k in range(10)]
    assert [batch.tokens.shape for batch in pack(spans, 2048, 4096)] == [(1, 100), (10, 10)]


def test_rows_of_nearly_one_length_stay_together() -> None:
    spans = [Span((k,) * (50 + k), (1,)) for k in range(8)]
    assert [batch.tokens.shape for batch in pack(spans, 2048, 4096)] == [(8, 57)]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(1, 40),
)
def test_no_other_cuts_cost_less(lengths: list[int], budget: int) -> None:
    lengths = sorted(lengths, reverse=True)
    asked = [1] * len(lengths)

    def cost(cuts: tuple[int, ...]) -> float:
        total = 0
        for low, high in pairwise((0, *cuts, len(lengths))):
            padded = (high - low) * lengths[low]
            if high - low > 1 and padded > budget:
                return float("inf")
            total += padded + budget // PASSES
        return total

    middles = range(1, len(lengths))
    every = [cuts for k in range(len(lengths)) for cuts in combinations(middles, k)]
    found = tuple(best_cuts(lengths, asked, budget, 100)[1:-1])
    assert cost(found) == min(map(cost, every))
