"""Greedy text: transformers' own and lm-eval's, whatever the batch."""

import copy
from typing import Any

import pytest
import torch

from evaluation.generation import greedy_config
from evaluation.runner import Runner, Settings
from evaluation.task import Request

PROMPTS = ["a", "the cat sat", "q: 1+1=\n", "hello world, how are you", "zz", "a", "why?  "]


def alone(pico: Any, prompt: str, count: int) -> str:
    """The same prompt by itself through transformers."""
    ids = torch.tensor([pico.tokenizer.encode(prompt)])
    output = pico.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=count,
        pad_token_id=pico.tokenizer.pad_token_id,
    )
    return str(pico.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


@pytest.mark.parametrize("budget", [1, 64, 4096])
def test_a_batch_writes_what_each_prompt_writes_alone(pico: Any, budget: int) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(token_budget=budget))
    requests = [Request("generate", prompt, max_new_tokens=12) for prompt in PROMPTS]
    got = [response.text for response in runner.run(runner.prepare(requests))]
    assert got == [alone(pico, prompt, 12) for prompt in PROMPTS]
    assert len(set(got)) > 1


def test_texts_end_where_lm_evals_do(pico: Any) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    free = alone(pico, PROMPTS[1], 12)
    until = [free[4], free[6:8]]
    model = HFLM(pretrained=pico.model, tokenizer=pico.tokenizer, batch_size=3, device="cpu")
    options = {"until": list(until), "max_gen_toks": 12, "do_sample": False}
    want = model.generate_until(
        [Instance("generate_until", {}, (p, dict(options)), k) for k, p in enumerate(PROMPTS)],
        disable_tqdm=True,
    )
    runner = Runner(pico.model, pico.tokenizer, Settings())
    requests = [Request("generate", p, until=tuple(until), max_new_tokens=12) for p in PROMPTS]
    got = [response.text for response in runner.run(runner.prepare(requests))]
    assert got == want
    assert len(got[1]) < len(free)
    assert not any(stop in text for text in got for stop in until)


def test_an_end_token_ends_a_text(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    free = alone(pico, "the cat sat", 12)
    model.generation_config.eos_token_id = [2, pico.tokenizer.encode(free[5])[0]]
    runner = Runner(model, pico.tokenizer, Settings())
    (got,) = runner.run(runner.prepare([Request("generate", "the cat sat", max_new_tokens=12)]))
    assert got.text == free[: free.index(free[5])]


def test_a_stop_string_ends_the_work(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings())
    free = alone(pico, "a", 40)
    calls: list[int] = []
    hook = pico.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        prepared = runner.prepare([Request("generate", "a", until=(free[2],), max_new_tokens=40)])
        runner.run(prepared)
    finally:
        hook.remove()
    assert len(calls) <= 4


def test_a_prompt_that_is_too_long_loses_its_left_end(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(max_length=20))
    text = "the cat sat on the mat"
    (got,) = runner.run(runner.prepare([Request("generate", text, max_new_tokens=8)]))
    assert got.text == alone(pico, text[-12:], 8)


def test_sampling_settings_of_the_checkpoint_change_nothing(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    model.generation_config.update(do_sample=True, temperature=2.0, top_p=0.5, num_beams=2)
    runner = Runner(model, pico.tokenizer, Settings())
    (got,) = runner.run(runner.prepare([Request("generate", "hello", max_new_tokens=8)]))
    assert got.text == alone(pico, "hello", 8)
    assert model.generation_config.do_sample


def test_kinds_may_be_mixed_and_keep_their_order(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings())
    requests = [
        Request("generate", "ab", max_new_tokens=3),
        Request("rolling", "abc"),
        Request("generate", "cd", max_new_tokens=5),
    ]
    first, second, third = runner.run(runner.prepare(requests))
    assert first.text == alone(pico, "ab", 3)
    assert second.loglikelihood < 0
    assert third.text == alone(pico, "cd", 5)


def test_clocks_and_stop_strings_of_the_checkpoint_change_nothing(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    config = model.generation_config
    config.max_time, config.stop_strings, config.penalty_alpha = 1e-9, ["a"], 0.5
    runner = Runner(model, pico.tokenizer, Settings())
    (got,) = runner.run(runner.prepare([Request("generate", "hello", max_new_tokens=8)]))
    assert got.text == alone(pico, "hello", 8)
    assert model.generation_config is config


def test_a_repetition_penalty_of_the_checkpoint_is_kept(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    model.generation_config.repetition_penalty = 1e6
    runner = Runner(model, pico.tokenizer, Settings())
    (got,) = runner.run(runner.prepare([Request("generate", "hello", max_new_tokens=8)]))
    assert len(set(got.text)) == len(got.text)


def test_padding_behind_the_tokenizers_end_is_no_text(pico: Any) -> None:
    model, tokenizer = copy.deepcopy(pico.model), copy.deepcopy(pico.tokenizer)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = None
    free = {prompt: alone(pico, prompt, 12) for prompt in PROMPTS}
    end = free[PROMPTS[1]][6]
    tokenizer.add_special_tokens({"eos_token": end})
    runner = Runner(model, tokenizer, Settings())
    (padding,) = {int(greedy_config(model, runner.encoder, prompts).pad_token_id)
                  for prompts in runner.prepare([Request("generate", "a")]).prompts}  # fmt: skip
    assert padding == tokenizer.eos_token_id
    requests = [Request("generate", prompt, max_new_tokens=12) for prompt in PROMPTS]
    got = [response.text for response in runner.run(runner.prepare(requests))]
    assert got == [free[prompt].split(end)[0] for prompt in PROMPTS]
