"""Pico models for golden values: the same bits on every machine, whatever its libraries draw.

Weights are integers times 2^-23, made of hashed indices, so every value and every difference of
two models is exact in float32. Magnitudes are distinct within a tensor, those of an expert's
differences from the base too: no method finds a tie at a threshold. The half-precision family is
the float32 one, rounded.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

UNIT = 2.0**-23
WEIGHT, DELTA = 1 << 19, 1 << 16
"""Largest magnitudes, in units: 2^-4 of a weight, 2^-7 of an expert's difference from its base."""

Tensors = dict[str, torch.Tensor]
SPECIAL = ("<unk>", "<s>", "</s>")
VOCABULARIES = {
    "base": (*SPECIAL, "a", "b", "c", "d", "e"),
    "other": (*SPECIAL, "b", "a", "d", "x", "y", "z"),
    "third": (*SPECIAL, "c", "y", "w", "a"),
}
STORED = {
    "float32": "float32",
    "bfloat16": "bfloat16",
    "deep": "float16",
    "vocabulary": "float32",
}
"""The dtype of each family."""
PADDED = {"other": 12}
"""Models whose embedding has more rows than their tokenizer has tokens."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a llama; its head is stored, two attention heads share one of keys."""

    hidden: int
    inner: int
    layers: int
    rows: int

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape by its checkpoint name."""
        half = self.hidden // 2
        parts = {
            "input_layernorm": (self.hidden,),
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (half, self.hidden),
            "self_attn.v_proj": (half, self.hidden),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "post_attention_layernorm": (self.hidden,),
            "mlp.gate_proj": (self.inner, self.hidden),
            "mlp.up_proj": (self.inner, self.hidden),
            "mlp.down_proj": (self.hidden, self.inner),
        }
        layered = {
            f"model.layers.{index}.{part}.weight": shape
            for index in range(self.layers)
            for part, shape in parts.items()
        }
        outside = {name: (self.rows, self.hidden) for name in ("model.embed_tokens", "lm_head")}
        outside["model.norm"] = (self.hidden,)
        return {f"{name}.weight": shape for name, shape in outside.items()} | layered

    def config(self, dtype: str) -> dict[str, object]:
        """What config.json says."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": self.rows,
            "max_position_embeddings": 64,
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "dtype": dtype,
        }


def write_models(root: Path) -> None:
    """Writes the families `float32`, `bfloat16`, `deep` (40 layers) and `vocabulary`."""
    shape = Shape(hidden=16, inner=24, layers=4, rows=20)
    family = make_family("main", shape, ("base", "alpha", "beta", "gamma"))
    for folder in ("float32", "bfloat16"):
        for name, tensors in family.items():
            write_model(root / folder / name, tensors, shape, STORED[folder])
    deep = Shape(hidden=4, inner=4, layers=40, rows=8)
    for name, tensors in make_family("deep", deep, ("base", "alpha", "beta", "gamma")).items():
        write_model(root / "deep" / name, tensors, deep, STORED["deep"])
    for name, tokens in VOCABULARIES.items():
        own = Shape(hidden=8, inner=8, layers=2, rows=PADDED.get(name, len(tokens)))
        tensors = make_family("vocabulary", own, ("base", name))[name]
        write_model(root / "vocabulary" / name, tensors, own, "float32")
        write_tokenizer(root / "vocabulary" / name, tokens)


def make_family(label: str, shape: Shape, names: Sequence[str]) -> dict[str, Tensors]:
    """The first model, and others near it: base plus a difference of their own."""
    base, *experts = names
    weights = {
        name: _numbers(f"{label}/{base}/{name}", size, WEIGHT)
        + ((1 << 23) if "norm" in name else 0)
        for name, size in shape.tensors().items()
    }
    family = {base: weights}
    for expert in experts:
        family[expert] = {
            name: whole + _numbers(f"{label}/{expert}/{name}", whole.shape, DELTA)
            for name, whole in weights.items()
        }
    return {
        model: {
            name: torch.from_numpy(whole.astype(np.float64)).mul(UNIT).float()
            for name, whole in tensors.items()
        }
        for model, tensors in family.items()
    }


def write_model(folder: Path, tensors: Tensors, shape: Shape, dtype: str) -> None:
    """Weights in `dtype` and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    _write_json(folder / "config.json", shape.config(dtype))


def write_tokenizer(folder: Path, tokens: Sequence[str]) -> None:
    """A tokenizer of whole words."""
    added = [
        {"id": SPECIAL.index(token), "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for token in SPECIAL
    ]
    model = {
        "type": "WordLevel",
        "vocab": {token: row for row, token in enumerate(tokens)},
        "unk_token": "<unk>",
    }
    unused = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    whole = {"version": "1.0", "added_tokens": added, **unused}
    whole |= {"pre_tokenizer": {"type": "WhitespaceSplit"}, "model": model}
    _write_json(folder / "tokenizer.json", whole)
    named = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    _write_json(
        folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", **named}
    )


def _numbers(key: str, shape: tuple[int, ...], largest: int) -> np.ndarray:
    """Integers of distinct magnitudes up to `largest`, their order and signs hashed."""
    count = int(np.prod(shape))
    hashed = _hash(np.arange(count, dtype=np.uint64), zlib.crc32(key.encode()))
    step = largest // count
    ranks = np.empty(count, np.int64)
    ranks[np.argsort(hashed, kind="stable")] = np.arange(1, count + 1)
    again = _hash(hashed, 1)
    magnitudes = ranks * step - (again >> np.uint64(1)).astype(np.int64) % step
    return np.where(again & np.uint64(1), magnitudes, -magnitudes).reshape(shape)


def _hash(words: np.ndarray, key: int) -> np.ndarray:
    """Two rounds of xor, shift and multiply in 32 bits."""
    mask = np.uint64(0xFFFFFFFF)
    x = (words ^ np.uint64(key)) & mask
    for factor in (0x7FEB352D, 0x846CA68B):
        x = ((x ^ (x >> np.uint64(16))) * np.uint64(factor)) & mask
    return x ^ (x >> np.uint64(15))


def _write_json(file: Path, data: object) -> None:
    file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
