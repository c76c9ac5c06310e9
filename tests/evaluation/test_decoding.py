"""The greedy loop over many architectures: which it takes, and that it writes their text."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from evaluation.decoding import choose_decoding
from evaluation.prompts import Decoding
from evaluation.runner import Runner, Settings
from evaluation.task import Request

START = "the cat sat on the mat and then it sat on the hat. "
PROMPTS = ("zz", "hello world", "a much longer prompt than the window of any layer", "no", "on it")
STARTED = tuple(START + end for end in ("a", "why?", "q: 1+1=", "b"))
SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
SMALL = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
GPT = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 256}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ROPE = {"rope_theta": 10000.0}

OWN: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", SIZES),
    "mistral": ("MistralConfig", {**SIZES, "sliding_window": None}),
    "mistral, window of 8": ("MistralConfig", {**SIZES, "sliding_window": 8}),
    "qwen-2": ("Qwen2Config", SIZES),
    "qwen-2, window of 8": (
        "Qwen2Config",
        {**SIZES, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "qwen-3": ("Qwen3Config", {**SIZES, "head_dim": 8}),
    "qwen-3 moe": ("Qwen3MoeConfig", {**SIZES, **EXPERTS, "head_dim": 8}),
    "gemma": ("GemmaConfig", {**SIZES, "head_dim": 8}),
    "gemma-2": (
        "Gemma2Config",
        {**SIZES, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    ),
    "gemma-3": (
        "Gemma3TextConfig",
        {**SIZES, "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8}
        | {"layer_types": ["sliding_attention", "full_attention"]},
    ),
    "gemma-4, layers that share": (
        "Gemma4TextConfig",
        {**SIZES, "head_dim": 8, "global_head_dim": 8, "sliding_window": 8}
        | {"num_hidden_layers": 4, "num_kv_shared_layers": 2, "vocab_size_per_layer_input": 64}
        | {"layer_types": ["sliding_attention", "full_attention"] * 2}
        | {"hidden_size_per_layer_input": 8},
    ),
    "llama-4": (
        "Llama4TextConfig",
        {**SIZES, "head_dim": 8, "attention_chunk_size": 8, "num_local_experts": 2}
        | {"intermediate_size_mlp": 32, "num_hidden_layers": 4},
    ),
    "gpt-2": ("GPT2Config", GPT),
    "gpt-neo": (
        "GPTNeoConfig",
        {"vocab_size": 64, "hidden_size": 16, "num_layers": 2, "num_heads": 4, "window_size": 8}
        | {"attention_types": [[["global", "local"], 1]], "max_position_embeddings": 256},
    ),
    "gpt-neox": ("GPTNeoXConfig", SIZES),
    "gpt-oss": (
        "GptOssConfig",
        {**SIZES, "head_dim": 8, "sliding_window": 8, "num_local_experts": 4}
        | {"num_experts_per_tok": 2, "rope_parameters": {**ROPE, "rope_type": "default"}},
    ),
    "opt": (
        "OPTConfig",
        {**SMALL, "ffn_dim": 32, "max_position_embeddings": 256, "word_embed_proj_dim": 16},
    ),
    "phi": ("PhiConfig", SIZES),
    "phi-3": ("Phi3Config", {**SIZES, "sliding_window": None}),
    "falcon": ("FalconConfig", {**SMALL, "alibi": False}),
    "falcon with alibi": ("FalconConfig", {**SMALL, "alibi": True}),
    "bloom": ("BloomConfig", {"vocab_size": 64, "hidden_size": 16, "n_layer": 2, "n_head": 4}),
    "mpt": (
        "MptConfig",
        {"vocab_size": 64, "d_model": 16, "n_layers": 2, "n_heads": 4, "max_seq_len": 256},
    ),
    "mixtral": ("MixtralConfig", {**SIZES, "num_local_experts": 4}),
    "olmo-2": ("Olmo2Config", SIZES),
    "stablelm": ("StableLmConfig", SIZES),
    "cohere": ("CohereConfig", SIZES),
    "cohere-2": ("Cohere2Config", {**SIZES, "sliding_window": 8}),
    "granite": ("GraniteConfig", SIZES),
    "deepseek-3": (
        "DeepseekV3Config",
        {**SIZES, "num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 8}
        | {"qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4, "n_routed_experts": 4}
        | {"num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1}
        | {"n_shared_experts": 1, "first_k_dense_replace": 1},
    ),
}
OTHERS: dict[str, tuple[str, dict[str, Any], str, bool]] = {
    "mamba": (
        "MambaConfig",
        {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
        "forward takes no past_key_values",
        True,
    ),
    "jamba": (
        "JambaConfig",
        {**SIZES, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1}
        | {"mamba_d_state": 4, "mamba_dt_rank": 4, "num_experts_per_tok": 1},
        "more than keys and values",
        True,
    ),
    "recurrent gemma": (
        "RecurrentGemmaConfig",
        {**SIZES, "num_hidden_layers": 3, "attention_window_size": 8, "lru_width": 16},
        "more than keys and values",
        False,
    ),
    "lfm-2": (
        "Lfm2Config",
        {**SIZES, "layer_types": ["conv", "full_attention"]},
        "layers of the kind LinearAttentionLayer",
        True,
    ),
    "llama, dynamic rope": (
        "LlamaConfig",
        {**SIZES, "rope_parameters": {**ROPE, "rope_type": "dynamic", "factor": 2.0}},
        "rotated by dynamic",
        True,
    ),
    "phi-3, long rope": (
        "Phi3Config",
        {**SIZES, "sliding_window": None, "original_max_position_embeddings": 256}
        | {"rope_parameters": {**ROPE, "rope_type": "longrope", "short_factor": [1.0, 1.0]}
           | {"long_factor": [2.0, 4.0], "factor": 1.0}},
        "rotated by longrope",
        True,
    ),
}  # fmt: skip


def pico_of(name: str, sizes: dict[str, Any]) -> Any:
    """A model of a few thousand parameters, large enough to say different things."""
    config = getattr(transformers, name)(**{**SPECIAL, **sizes})
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                torch.nn.init.normal_(parameter, 0.0, 0.4)
    return model


def alone(model: Any, tokenizer: Any, prompt: str) -> str:
    """What transformers writes behind the prompt by itself."""
    ids = torch.tensor([tokenizer.encode(prompt)])
    output = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=14,
        pad_token_id=3,
        use_cache=True,
    )
    return str(tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))


def stop_of(texts: Sequence[str]) -> str:
    """A character at which some of the texts end, and not all; in no special token's name."""
    chars = (char for char in "".join(texts) if char not in "<unk></s><pad>")
    return next(char for char in chars if any(char not in text for text in texts))


def written(runner: Runner, prompts: Sequence[str], until: str) -> list[str]:
    requests = [Request("generate", p, until=(until,), max_new_tokens=14) for p in prompts]
    return [response.text for response in runner.run(runner.prepare(requests))]


@pytest.mark.parametrize("name", OWN)
def test_the_loop_writes_what_generate_writes_of_each_prompt_alone(name: str, pico: Any) -> None:
    model = pico_of(*OWN[name])
    runner = Runner(model, pico.tokenizer, Settings(token_budget=64))
    for prompts in (PROMPTS, STARTED):
        free = [alone(model, pico.tokenizer, prompt) for prompt in prompts]
        stop = stop_of(free)
        assert written(runner, prompts, stop) == [text.split(stop)[0] for text in free]
    assert runner.decoding == Decoding(True)


@pytest.mark.parametrize("name", OTHERS)
def test_what_the_loop_does_not_fit_is_written_by_generate(name: str, pico: Any) -> None:
    config, sizes, reason, padded = OTHERS[name]
    model = pico_of(config, sizes)
    runner = Runner(model, pico.tokenizer, Settings())
    prompts = (*PROMPTS, *STARTED)
    free = [alone(model, pico.tokenizer, prompt) for prompt in prompts]
    stop = stop_of(free)
    assert written(runner, prompts, stop) == [text.split(stop)[0] for text in free]
    decoding = runner.decoding
    assert decoding and not decoding.own and reason in decoding.reason
    assert decoding.padded == padded


class Peeking(LlamaForCausalLM):
    """Reads its cache in a way of its own."""

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        position_ids: Any = None,
        past_key_values: Any = None,
        use_cache: Any = None,
        logits_to_keep: int = 0,
        **options: Any,
    ) -> Any:
        """Logits that depend on the layout of the cache, not on what was read."""
        output = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **options,
        )
        if past_key_values is not None and past_key_values.get_seq_length():
            full = past_key_values.layers[0].keys.shape[-2] == past_key_values.get_seq_length()
            output.logits[..., 5] += 0.0 if full else self.worth()
        return output

    def worth(self) -> float:
        """What it says where the cache has room for more than was read."""
        return 1.0


class Refusing(Peeking):
    """Knows no other cache than transformers' own."""

    def worth(self) -> float:
        """An error."""
        raise RuntimeError("a cache of another kind")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(Peeking, "moves logits by"), (Refusing, "RuntimeError: a cache of another kind")],
)
def test_a_model_that_looks_into_its_cache_is_found_out(
    kind: type, reason: str, pico: Any
) -> None:
    model = copy.deepcopy(pico.model)
    model.__class__ = kind
    decoding = choose_decoding(model)
    assert not decoding.own and reason in decoding.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_new_tokens", 5), ("bad_words_ids", [[9]]), ("forced_eos_token_id", 2)],
)
def test_what_a_generation_config_asks_beyond_the_loop_is_left_to_generate(
    name: str, value: object, pico: Any
) -> None:
    model = copy.deepcopy(pico.model)
    setattr(model.generation_config, name, value)
    runner = Runner(model, pico.tokenizer, Settings())
    want = [alone(model, pico.tokenizer, prompt) for prompt in PROMPTS]
    assert written(runner, PROMPTS, "#") == want
    assert runner.decoding == Decoding(False, f"the generation config has {name}")


def test_weights_that_are_no_numbers_do_not_decide(pico: Any) -> None:
    model = copy.deepcopy(pico.model)
    model.model.norm.weight.data.fill_(torch.nan)
    assert choose_decoding(model) == Decoding(True)
    model.generation_config.min_length = 5
    reason = "the generation config has min_length"
    assert choose_decoding(model) == Decoding(False, reason, padded=False)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_roundings_of_the_dtype_do_not_decide(dtype: str, pico: Any) -> None:
    model = copy.deepcopy(pico.model).to(getattr(torch, dtype))
    assert choose_decoding(model) == Decoding(True)


def test_the_probe_leaves_the_model_as_it_was(pico: Any) -> None:
    config = pico.model.generation_config
    before = config.to_dict()
    choose_decoding(pico.model)
    assert pico.model.generation_config is config and config.to_dict() == before
    assert pico.model.training is False
