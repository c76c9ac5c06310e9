"""Trees or padded rows, by architecture: the answers are those of each input by itself."""

import dataclasses
import inspect
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from evaluation import layout_probe
from evaluation.encoding import Span
from evaluation.layout import Layout
from evaluation.layout_probe import in_float32, longest_spans, made_up
from evaluation.runner import Runner, Settings
from evaluation.task import Request

DATA = yaml.safe_load((Path(__file__).parents[1] / "data" / "architectures.yaml").read_text())
LETTERS = "abcdefghijklmnopqrstuvwxyz ."
WINDOW = 96
SIZES = {"max_position_embeddings": WINDOW, "n_positions": WINDOW, "max_seq_len": WINDOW}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 24,
}
DYNAMIC_ROPE = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral, window 16": ("mistral", {"sliding_window": 16}),
    "gemma2, window 16": ("gemma2", {"sliding_window": 16}),
    "gemma3, window 16": ("gemma3_text", {"sliding_window": 16}),
    "llama4, chunks of 16": ("llama4_text", {"attention_chunk_size": 16}),
    "phi3, longrope": ("phi3", {"rope_parameters": LONG_ROPE}),
    "llama, dynamic rope": (
        "llama",
        {"max_position_embeddings": 24, "rope_parameters": DYNAMIC_ROPE},
    ),
    "falcon, ALiBi": ("falcon", {"alibi": True}),
    "deepseek_v3": ("deepseek_v3", {"num_key_value_heads": 2}),
    "llama, eager": ("llama", {"attn_implementation": "eager"}),
}
TREES = """
    apertus cohere cohere2 gemma gemma2 gemma3_text glm4 gpt2 gpt_neox gpt_oss granite llama
    llama4_text mistral mixtral nemotron olmo2 olmoe opt phi phi3 qwen2 qwen3 qwen3_moe smollm3
    stablelm starcoder2
""".split()
TREES += [*VARIANTS]
TREES.remove("falcon, ALiBi")
ROWS = {
    "bart": "trees move",
    "bloom": "does not go through",
    "falcon": "",
    "falcon, ALiBi": "ALiBi",
    "falcon_h1": "no attention",
    "gptj": "does not go through",
    "jamba": "no attention",
    "lfm2": "no attention",
    "mamba": "no attention",
    "mamba2": "no attention",
    "mpt": "ALiBi",
    "qwen3_next": "no attention",
    "rwkv": "no attention",
}


def pico_model(name: str) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

    kind, changes = VARIANTS.get(name, (name, {}))
    config = CONFIG_MAPPING[kind]
    known = {*inspect.signature(config.__init__).parameters, *config.attribute_map}
    if dataclasses.is_dataclass(config):
        known |= {one.name for one in dataclasses.fields(config)}
    sizes = {key: value for key, value in (DATA["sizes"] | SIZES).items() if key in known}
    changes = {**DATA["architectures"].get(kind, {}), **changes}
    attention = changes.pop("attn_implementation", None)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(kind, **{**sizes, **changes}), attn_implementation=attention
        )
    return model.float().eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, write_pico_tokenizer: Any) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("letters")
    write_pico_tokenizer(folder, LETTERS)
    return AutoTokenizer.from_pretrained(folder)


def requests() -> list[Request]:
    """Choices behind a context, behind common shots, plain texts; some longer than the windows."""
    rng = random.Random(1)

    def word(count: int) -> str:
        return "".join(rng.choice("abcdefghijklmnop") for _ in range(count))

    asked, shots = [], word(30)
    for k in range(4):
        context = word(5 + k)
        asked += [Request("loglikelihood", context, word(n)) for n in (1, 1, 3)]
    for k in range(6):
        context = shots + word(5 + k)
        asked += [Request("loglikelihood", context, word(n)) for n in (1, 2)]
    return [*asked, Request("rolling", word(40)), Request("rolling", word(3))]


def settled(model: Any, tokenizer: Any, **options: Any) -> Layout:
    runner = Runner(model, tokenizer, Settings(max_length=WINDOW, **options))
    runner.settle(requests())
    assert runner.layout is not None
    return runner.layout


@torch.no_grad()
def alone(model: Any, tokenizer: Any, request: Request) -> float:
    """The log-likelihood by one plain pass over this input."""
    before, after = tokenizer.encode(request.context), tokenizer.encode(request.continuation)
    if request.kind == "rolling":
        before, after = [tokenizer.bos_token_id], before
    tokens = torch.tensor([(before + after)[:-1]])
    model(input_ids=tokens[:, :1], use_cache=False)  # dynamic rope remembers longer passes
    logp = torch.log_softmax(model(input_ids=tokens, use_cache=False).logits[0].float(), -1)
    return sum(float(logp[len(before) - 1 + k, token]) for k, token in enumerate(after))


@pytest.mark.parametrize("name", [*TREES, *ROWS])
def test_every_architecture_answers_as_each_input_alone(name: str, tokenizer: Any) -> None:
    model = pico_model(name)
    runner = Runner(model, tokenizer, Settings(token_budget=128, max_length=WINDOW))
    prepared = runner.prepare(requests())
    assert runner.layout is not None
    assert runner.layout.trees == (name in TREES), runner.layout.reason
    assert ROWS.get(name, "") in runner.layout.reason
    forests = [b.forest is not None for group in prepared.groups for b in group.batches]
    assert any(forests) == (name in TREES)
    got = [response.loglikelihood for response in runner.run(prepared)]
    want = [alone(model, tokenizer, request) for request in requests()]
    assert got == pytest.approx(want, abs=1e-4)


def test_inputs_beyond_a_window_run_as_rows_beside_trees(tokenizer: Any) -> None:
    model = pico_model("mistral, window 16")
    runner = Runner(model, tokenizer, Settings(max_length=WINDOW))
    prepared = runner.prepare(requests())
    batches = [batch for group in prepared.groups for batch in group.batches]
    assert {batch.forest is None for batch in batches} == {True, False}
    assert all(b.forest.depths.max() < 16 for b in batches if b.forest is not None)


def test_a_model_that_mixes_inputs_is_found_out_by_an_edit(tokenizer: Any) -> None:
    model = pico_model("llama")
    norm = model.model.norm

    def leak(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        # Grows to a hundredth of a nat along a row: the first inputs alone would not show it.
        return output + 1e-3 * torch.cumsum(output, dim=1).roll(1, dims=1)

    handle = norm.register_forward_hook(leak)
    try:
        found = settled(model, tokenizer)
    finally:
        handle.remove()
    assert not found.trees and "by" in found.reason


def test_the_probe_leaves_every_weight_as_it_was(tokenizer: Any) -> None:
    model = pico_model("llama").to(torch.bfloat16)
    before = {name: (one.data_ptr(), one.clone()) for name, one in model.named_parameters()}
    assert settled(model, tokenizer, dtype="bfloat16").trees
    for name, one in model.named_parameters():
        pointer, value = before[name]
        assert one.data_ptr() == pointer and one.dtype == torch.bfloat16
        assert torch.equal(one, value)


def test_weights_are_put_back_when_something_fails() -> None:
    model = torch.nn.Linear(2, 2, dtype=torch.bfloat16)
    model.device = torch.device("cpu")  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError), in_float32(model) as exact:  # type: ignore[arg-type]
        assert exact and model.weight.dtype == torch.float32
        raise ZeroDivisionError
    assert model.weight.dtype == torch.bfloat16


def test_where_both_do_not_fit_the_probe_takes_the_models_own_dtype(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout_probe, "memory_bytes", lambda device: 0)
    model = pico_model("llama").to(torch.bfloat16)
    with in_float32(model) as exact:
        assert not exact and model.dtype == torch.bfloat16
    assert settled(model, tokenizer, dtype="bfloat16").trees


def test_layout_does_not_follow_weights_that_are_no_numbers(tokenizer: Any) -> None:
    model = pico_model("llama")
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    assert settled(model, tokenizer).trees


def test_the_longest_input_is_probed_with_its_nearest() -> None:
    spans = [Span((1,) * n, (2,)) for n in range(1, 9)] + [Span((9,) * 50, (1,))]
    assert [len(span.tokens) for span in longest_spans(spans, 20)][:2] == [8, 7]
    assert len(longest_spans(spans, 100)[0].tokens) == 50
    assert longest_spans([], 10) == []
    assert all(len(span.tokens) <= 8 for span in made_up(30, 8))
