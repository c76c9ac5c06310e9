"""Shared by the tests of scoring: the pico model in float32, and task files."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WriteRows = Callable[..., Path]
MakeChain = Callable[[int, Mapping[int, int]], "PreTrainedModel"]


@dataclass(frozen=True, slots=True)
class Pico:
    """A live model with its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


@pytest.fixture(scope="session")
def pico(pico_family_float32: Any) -> Pico:
    """The family's base: one token a character, so texts of n characters have n tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = pico_family_float32.base
    model = AutoModelForCausalLM.from_pretrained(base)
    return Pico(model.eval(), AutoTokenizer.from_pretrained(base))


@pytest.fixture(scope="session")
def make_chain() -> MakeChain:
    """`make(vocabulary, follower)`: a Llama that writes `follower[k]` behind token k, else 0."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(vocabulary: int, follower: Mapping[int, int]) -> "PreTrainedModel":
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=vocabulary,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=vocabulary // 4,
            num_key_value_heads=vocabulary // 8,
            max_position_embeddings=256,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        model = LlamaForCausalLM(config).eval()
        with torch.no_grad():
            model.model.embed_tokens.weight.copy_(torch.eye(vocabulary))
            for layer in model.model.layers:
                layer.self_attn.o_proj.weight.zero_()
                layer.mlp.down_proj.weight.zero_()
            model.lm_head.weight.zero_()
            for token in range(vocabulary):
                model.lm_head.weight[follower.get(token, 0), token] = 1.0
        return model

    return make


@pytest.fixture
def write_rows(tmp_path: Path) -> WriteRows:
    """`write(rows, name="rows.jsonl")`: a JSONL file of these rows."""

    def write(rows: Sequence[object], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write
