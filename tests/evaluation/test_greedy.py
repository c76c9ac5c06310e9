"""The greedy loop's rows: what is read and written, who leaves, what is no number."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from evaluation.errors import NonFiniteError
from evaluation.generation import configured
from evaluation.greedy import Rows, best_tokens, penalised
from evaluation.prompts import Decoding, Prompts, Reading
from evaluation.runner import Runner, Settings
from evaluation.task import Request

LENGTHS = (9, 7, 7, 4)
READINGS = {
    "in one pass": Reading(0, ((0, 4),)),
    "row by row": Reading(0, ((0, 1), (1, 2), (2, 3), (3, 4))),
    "the start once": Reading(3, ((0, 1), (1, 3), (3, 4))),
}
PATHS = {"loop": Decoding(True), "generate": Decoding(False, "the test's choice")}


def batch(new: int = 8) -> Prompts:
    """Four prompts that begin alike."""
    width = LENGTHS[0]
    tokens = np.arange(4 * width).reshape(4, width) % 60 + 4
    for row, length in enumerate(LENGTHS):
        tokens[row, width - length : width - length + 3] = (5, 6, 7)
        tokens[row, : width - length] = 3
    owners = tuple((row,) for row in range(4))
    return Prompts(tokens, np.array(LENGTHS), owners, (), new, None)


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """Tokens of each forward pass."""
    counts: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda _, __, options: counts.append(options["input_ids"].numel()), with_kwargs=True
    )
    try:
        yield counts
    finally:
        handle.remove()


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@torch.inference_mode()
def test_logits_are_those_of_each_row_alone_whoever_leaves(reading: Reading, pico: Any) -> None:
    prompts = batch()
    rows = Rows(pico.model, prompts, reading)
    texts = [row[9 - n :].tolist() for row, n in zip(prompts.tokens, LENGTHS, strict=True)]
    logits = rows.read()
    for leaves in ((), (0,), (), (3, 1), ()):
        for slot, row in enumerate(rows.order):
            want = pico.model(input_ids=torch.tensor([texts[row]]), use_cache=False).logits[0, -1]
            assert torch.allclose(logits[slot], want, atol=1e-5)
        for row in rows.order:
            texts[row].append(8 + row)
        rows.put([8 + row for row in rows.order])
        rows.keep([row not in leaves for row in rows.order])
        logits = rows.step()
    assert rows.order == [2]


@torch.inference_mode()
def test_the_same_weights_give_the_same_bits(pico: Any) -> None:
    found = []
    for _ in range(2):
        rows = Rows(pico.model, batch(), READINGS["the start once"])
        logits = [rows.read()]
        for _ in range(3):
            rows.put(best_tokens(logits[-1], rows, []))
            rows.keep([True] * 4)
            logits.append(rows.step())
        found.append(torch.stack(logits))
    assert torch.equal(found[0], found[1])


def test_a_row_that_is_done_costs_nothing_more(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(token_budget=40))
    prompts, until = ["a", "the cat sat", "b", "c7", "zz", "12 and 13"], ("Q", "33", "o")
    free = runner.run(runner.prepare([Request("generate", p, max_new_tokens=12) for p in prompts]))
    assert all(len(one.text) == 12 for one in free)
    prepared = runner.prepare(
        [Request("generate", p, until=until, max_new_tokens=12) for p in prompts]
    )
    with counted(pico.model) as passes:
        got = runner.run(prepared)
    texts = [one.text for one in free]
    ends = [[text.find(stop) + len(stop) for stop in until if stop in text] for text in texts]
    written = [min([*found, 12]) for found in ends]
    # The token that ends a text, or its twelfth, is read by no pass.
    assert sum(passes) == prepared.padded + sum(count - 1 for count in written)
    assert len(passes) == len(prepared.prompts[0].reading.passes) + 11
    assert len(set(written)) > 2
    assert [len(one.text) for one in got] == [
        min([text.find(stop) for stop in until if stop in text] + [12]) for text in texts
    ]


def test_only_the_last_position_of_a_pass_goes_through_the_head(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(token_budget=40))
    prompts = ["the cat sat", "q: 1+1=\n", "hello world, how are you"]
    prepared = runner.prepare([Request("generate", p, max_new_tokens=5) for p in prompts])
    seen: list[int] = []
    handle = pico.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].shape[:-1].numel())
    )
    try:
        runner.run(prepared)
    finally:
        handle.remove()
    assert sum(seen) == 3 * 5


def test_an_end_token_ends_the_work(pico: Any, make_chain: Callable[..., Any]) -> None:
    letters = pico.tokenizer.encode("abcdef")
    model = make_chain(64, dict(pairwise(letters)))
    model.generation_config.eos_token_id = letters[-1]
    runner = Runner(model, pico.tokenizer, Settings())
    prepared = runner.prepare([Request("generate", p, max_new_tokens=30) for p in ("a", "d")])
    with counted(model) as passes:
        got = runner.run(prepared)
    assert [one.text for one in got] == ["bcde", "e"]
    assert passes == [2, 2, 1, 1, 1]


def test_on_a_cpu_a_step_has_a_mask_and_a_prompt_needs_none(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings())
    prepared = runner.prepare([Request("generate", "the cat", max_new_tokens=4)])
    masks: list[Any] = []
    handle = pico.model.register_forward_pre_hook(
        lambda _, __, options: masks.append(options["attention_mask"]), with_kwargs=True
    )
    try:
        runner.run(prepared)
    finally:
        handle.remove()
    assert masks[0] is None and len(masks) == 4
    for step, mask in enumerate(masks[1:]):
        assert mask.tolist() == [[0] + [1] * (8 + step)]


def test_a_repeated_prompt_is_written_once(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings())
    requests = [Request("generate", "the cat", max_new_tokens=5)] * 3
    prepared = runner.prepare(requests)
    with counted(pico.model) as passes:
        first, second, third = runner.run(prepared)
    assert sum(passes) == 7 + 4
    assert first == second == third and first.text


ASKED: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.7},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "suppress_tokens": {"suppress_tokens": [6, 7, 9, 33]},
    "all": {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "suppress_tokens": [9]},
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_what_the_generation_config_asks_is_what_generate_does(
    asked: dict[str, Any], pico: Any
) -> None:
    model = copy.deepcopy(pico.model)
    model.generation_config.update(**asked)
    prompts = ["a", "the cat sat", "q: 1+1=\n", "hello world, how are you", "zz"]
    requests = [Request("generate", p, until=("t",), max_new_tokens=15) for p in prompts]
    texts = {}
    for name, path in PATHS.items():
        runner = Runner(model, pico.tokenizer, Settings(token_budget=64))
        runner.decoding = path
        texts[name] = [one.text for one in runner.run(runner.prepare(requests))]
    plain = Runner(pico.model, pico.tokenizer, Settings())
    assert texts["loop"] == texts["generate"]
    assert texts["loop"] != [one.text for one in plain.run(plain.prepare(requests))]


@torch.inference_mode()
def test_penalties_see_the_rows_that_are_left(pico: Any) -> None:
    rows = Rows(pico.model, batch(), READINGS["in one pass"])
    rows.read()
    rows.put([10, 11, 12, 13])
    rows.keep([False, True, False, True])
    rows.step()
    with configured(pico.model, GenerationConfig(repetition_penalty=2.0)):  # type: ignore[no-untyped-call]
        logits = penalised(rows, torch.ones(2, 64))
    for slot, row in enumerate(rows.order):
        read = {*batch().tokens[row, 9 - LENGTHS[row] :].tolist(), 10 + row}
        halved = set((logits[slot] == 0.5).nonzero()[:, 0].tolist())
        assert halved == read


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("worth", ["nan", "inf"])
def test_logits_that_are_no_numbers_name_the_request(
    path: str, worth: str, pico: Any, make_chain: Callable[..., Any]
) -> None:
    letters = pico.tokenizer.encode("abcdefghijkl")
    model = make_chain(64, dict(pairwise(letters)))
    runner = Runner(model, pico.tokenizer, Settings())
    runner.decoding = PATHS[path]
    requests = [Request("generate", text, max_new_tokens=4) for text in ("a", "zg", "b", "yg")]
    prepared = runner.prepare(requests, ["one", "two", "three", "four"])
    assert [one.text for one in runner.run(prepared)] == ["bcde", "hijk", "cdef", "hijk"]
    with torch.no_grad():  # only for whoever has read an h
        if worth == "nan":
            model.model.embed_tokens.weight[letters[7]] = torch.nan
        else:
            model.lm_head.weight[letters[8], letters[7]] = 3e38
    with pytest.raises(NonFiniteError, match=r"^two: .* NaN or Inf"):
        runner.run(prepared)
