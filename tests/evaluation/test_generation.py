"""Greedy text: transformers' own and lm-eval's, whatever the batch."""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch

from evaluation.generation import greedy_config
from evaluation.prompts import Decoding
from evaluation.runner import Runner, Settings
from evaluation.task import Request

PATHS = {"loop": Decoding(True), "generate": Decoding(False, "the test's choice")}
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


def lm_evals(
    model: Any, tokenizer: Any, prompts: Sequence[str], until: Sequence[str], count: int, size: int
) -> list[str]:
    """The texts of lm-eval's own model at some batch size."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    judge = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size, device="cpu")
    options = {"until": list(until), "max_gen_toks": count, "do_sample": False}
    return judge.generate_until(
        [Instance("generate_until", {}, (p, dict(options)), k) for k, p in enumerate(prompts)],
        disable_tqdm=True,
    )


def ours(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    until: Sequence[str],
    count: int,
    path: Decoding | None = None,
) -> list[str]:
    """The same requests through a runner."""
    runner = Runner(model, tokenizer, Settings())
    runner.decoding = path
    requests = [Request("generate", p, until=tuple(until), max_new_tokens=count) for p in prompts]
    return [response.text for response in runner.run(runner.prepare(requests))]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_texts_end_where_lm_evals_do(pico: Any, path: Decoding) -> None:
    free = alone(pico, PROMPTS[1], 12)
    until = [free[4], free[6:8]]
    want = lm_evals(pico.model, pico.tokenizer, PROMPTS, until, 12, 3)
    got = ours(pico.model, pico.tokenizer, PROMPTS, until, 12, path)
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
    prepared = runner.prepare([Request("generate", "a", until=(free[2],), max_new_tokens=40)])
    hook = pico.model.register_forward_hook(lambda *_: calls.append(1))
    try:
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


BYTES = "a, \u00e9b \u20ac z."
PIECES = ("x", "ab", "cd", "ef g", "h\n", "\n", "i")


@pytest.fixture(scope="module")
def byte_tokenizer() -> Any:
    """A token a byte, as byte-level tokenizers have them, and a special token as EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: k for k, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    "until", [(), ("\u20ac",), ("\u00e9b",), ("\u20ac z", "z"), ("\ufffd",), ("never",)]
)
def test_a_stop_of_several_bytes_ends_a_text_where_lm_evals_does(
    until: tuple[str, ...], path: Decoding, byte_tokenizer: Any, make_chain: Callable[..., Any]
) -> None:
    text = byte_tokenizer.encode(BYTES)
    distinct = list(dict.fromkeys(text))
    model = make_chain(264, dict(pairwise([*distinct, 256])))
    model.generation_config.eos_token_id = byte_tokenizer.eos_token_id
    want = lm_evals(model, byte_tokenizer, ["a", "q a"], until, 20, 1)
    got = ours(model, byte_tokenizer, ["a", "q a"], until, 20, path)
    assert got == want
    assert "\u00e9" in got[0] or until and until[0] in ("\u00e9b", "\ufffd")


@pytest.fixture(scope="module")
def piece_tokenizer() -> Any:
    """Tokens of several letters, which stops cut through."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({c: k for k, c in enumerate(PIECES)}, unk_token="x"))
    split = Regex("|".join(sorted(PIECES, key=len, reverse=True)))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(split, behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="x", eos_token="</s>", pad_token="<pad>"
    )


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(
    ("until", "text"),
    [
        (("bc",), "a"),
        (("bcde",), "a"),
        (("f gh\n\ni",), "abcde"),
        (("g", "e"), "abcd"),
        (("\n\n",), "abcdef gh"),
        (("</s>",), "abcdef gh\n\ni"),
    ],
)
def test_a_stop_may_begin_and_end_inside_of_tokens(
    until: tuple[str, ...],
    text: str,
    path: Decoding,
    piece_tokenizer: Any,
    make_chain: Callable[..., Any],
) -> None:
    model = make_chain(16, dict(pairwise([0, 1, 2, 3, 4, 5, 6, piece_tokenizer.eos_token_id])))
    want = lm_evals(model, piece_tokenizer, ["x"], until, 12, 1)
    assert (
        ours(model, piece_tokenizer, ["x", "ix"], until, 12, path) == [*want, *want] == [text] * 2
    )


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_several_end_tokens_and_the_most_new_ones_end_texts(pico: Any, path: Decoding) -> None:
    model = copy.deepcopy(pico.model)
    free = [alone(pico, prompt, 9) for prompt in PROMPTS]
    ends = [free[1][-1], free[3][2]]
    model.generation_config.eos_token_id = [2, *pico.tokenizer.encode("".join(ends))]
    got = ours(model, pico.tokenizer, PROMPTS, (), 9, path)
    assert got == [text.split(ends[0])[0].split(ends[1])[0] for text in free]
    assert {len(text) for text in got} > {9}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_empty_strings_stop_nothing(pico: Any, path: Decoding) -> None:
    free = [alone(pico, prompt, 9) for prompt in PROMPTS]
    assert ours(pico.model, pico.tokenizer, PROMPTS, ("",), 9, path) == free
