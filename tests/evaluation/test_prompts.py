"""Plans of greedy text: every prompt once, within the budgets, the same layout every time."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.encoding import make_encoder
from evaluation.prompts import (
    CACHE_FACTOR,
    MAX_ROWS,
    Decoding,
    Prompts,
    common_start,
    cut_passes,
    padded_tokens,
    plan_reading,
    prepare_prompts,
)
from evaluation.task import Request

OWN, OTHER, ALONE = Decoding(True), Decoding(False), Decoding(False, "", padded=False)
PROMPTS = st.lists(
    st.lists(st.integers(1, 2), min_size=1, max_size=9).map(tuple),
    min_size=1,
    max_size=12,
    unique=True,
).map(lambda prompts: sorted(prompts, key=len, reverse=True))


def planned(pico: Any, texts: list[str], budget: int, decoding: Decoding) -> tuple[Prompts, ...]:
    encoder = make_encoder(pico.model, pico.tokenizer, None)
    requests = {k: Request("generate", text, max_new_tokens=4) for k, text in enumerate(texts)}
    names = [f"request {k}" for k in requests]
    return prepare_prompts(encoder, requests, names, budget, decoding)


@settings(max_examples=200, deadline=None)
@given(PROMPTS, st.integers(1, 40))
def test_every_prompt_is_read_once_within_the_budget(
    prompts: list[tuple[int, ...]], budget: int
) -> None:
    reading, lengths = plan_reading(prompts, budget), [len(prompt) for prompt in prompts]
    rows = [row for low, high in reading.passes for row in range(low, high)]
    assert rows == list(range(len(prompts)))
    assert len({prompt[: reading.shared] for prompt in prompts}) == 1
    for low, high in reading.passes:
        assert high == low + 1 or (high - low) * (lengths[low] - reading.shared) <= budget
        assert not reading.shared or lengths[low] == lengths[high - 1]
        assert min(lengths[low:high]) > reading.shared


@given(PROMPTS)
def test_a_common_start_is_the_longest_that_leaves_each_prompt_a_token(
    prompts: list[tuple[int, ...]],
) -> None:
    most = min(len(prompt) for prompt in prompts) - 1
    starts = [k for k in range(most + 1) if len({prompt[:k] for prompt in prompts}) == 1]
    assert common_start(prompts) == max(starts)


def test_a_long_common_start_is_read_once_and_a_short_one_with_each_prompt() -> None:
    long = [(7,) * 300 + (k,) * (10 + k % 3) for k in range(9)]
    long.sort(key=len, reverse=True)
    reading = plan_reading(long, 2048)
    assert reading.shared == 300
    assert reading.passes == ((0, 3), (3, 6), (6, 9))
    assert padded_tokens(reading, [len(one) for one in long]) == 300 + 3 * (12 + 11 + 10)
    short = [prompt[290:] for prompt in long]
    assert plan_reading(short, 2048).shared == 0
    assert plan_reading(short, 2048).passes == ((0, 9),)


def test_passes_are_cut_where_the_budget_ends() -> None:
    assert cut_passes([5, 4, 4, 1], 10) == ((0, 2), (2, 4))
    assert cut_passes([5, 4, 4, 1], 1) == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert cut_passes([5, 4, 4, 1], 100) == ((0, 4),)
    assert cut_passes([5, 4, 4, 1], 100, equal=True) == ((0, 1), (1, 3), (3, 4))


@pytest.mark.parametrize("decoding", [OWN, OTHER, ALONE])
@pytest.mark.parametrize("budget", [1, 10, 64, 4096])
def test_batches_answer_every_request_within_their_bounds(
    pico: Any, budget: int, decoding: Decoding
) -> None:
    texts = ["a" * (k % 17 + 1) + "bc"[k % 2] for k in range(200)]
    batches = planned(pico, texts, budget, decoding)
    found: dict[int, str] = {}
    for batch in batches:
        rows, width = batch.tokens.shape
        assert list(batch.lengths) == sorted(batch.lengths, reverse=True)
        assert rows <= MAX_ROWS and (batch.reading is not None) == decoding.own
        assert rows == 1 or rows * (width + 4) <= CACHE_FACTOR * budget
        assert rows == 1 or decoding.own or rows * width <= budget
        assert decoding.padded or set(batch.lengths) == {width}
        for row, length, owners in zip(batch.tokens, batch.lengths, batch.owners, strict=True):
            text = pico.tokenizer.decode(row[width - length :])
            found |= dict.fromkeys(owners, text)
    assert found == dict(enumerate(texts))
    assert sum(len(batch.lengths) for batch in batches) == len(set(texts))


def test_a_plan_counts_what_goes_through_forward_passes(pico: Any) -> None:
    start = "it was so. " * 30
    (batch,) = planned(pico, [start + "why?", start + "a", start + "b"], 2048, OWN)
    assert batch.reading and batch.reading.shared == 330
    assert (batch.read, batch.padded) == (330 + 4 + 1 + 1, 330 + 4 + 1 + 1)
    (batch,) = planned(pico, ["why?", "a", "b"], 2048, OWN)
    assert (batch.read, batch.padded) == (6, 12)
    (batch,) = planned(pico, ["why?", "a", "b"], 2048, OTHER)
    assert (batch.read, batch.padded) == (6, 12)


def test_the_same_requests_give_the_same_arrays(pico: Any) -> None:
    texts = [f"{k} and {k * k}" for k in range(20)]
    for one, other in zip(
        planned(pico, texts, 64, OWN), planned(pico, texts, 64, OWN), strict=True
    ):
        assert np.array_equal(one.tokens, other.tokens) and one.reading == other.reading
        assert one.owners == other.owners
