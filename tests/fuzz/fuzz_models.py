"""Models of a few hundred weights, written in milliseconds: no transformers, no tokenizer."""

import json
import random
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

WORDS, WIDTH, INNER = 24, 8, 12
CONFIG: Mapping[str, object] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": WORDS,
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    "dtype": "float32",
}
LAYER: Mapping[str, tuple[int, ...]] = {
    "self_attn.q_proj.weight": (WIDTH, WIDTH),
    "self_attn.k_proj.weight": (WIDTH, WIDTH),
    "self_attn.v_proj.weight": (WIDTH, WIDTH),
    "self_attn.o_proj.weight": (WIDTH, WIDTH),
    "mlp.gate_proj.weight": (INNER, WIDTH),
    "mlp.up_proj.weight": (INNER, WIDTH),
    "mlp.down_proj.weight": (WIDTH, INNER),
    "input_layernorm.weight": (WIDTH,),
    "post_attention_layernorm.weight": (WIDTH,),
}


def shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a model with tied embeddings."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, WIDTH)}
    for layer in range(layers):
        found |= {f"model.layers.{layer}.{name}": shape for name, shape in LAYER.items()}
    return {**found, "model.norm.weight": (WIDTH,)}


def write_model(folder: Path, seed: int, layers: int = 3) -> Path:
    """Writes a model; the same seed gives the same bits."""
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=draw) for name, shape in shapes(layers).items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = {**CONFIG, "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_shards(folder: Path, seed: int) -> Path:
    """Writes a model in two shards with an index."""
    write_model(folder, seed)
    whole = folder / "model.safetensors"
    from safetensors.torch import load_file

    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    shards = {"one.safetensors": names[:9], "two.safetensors": names[9:]}
    for file, members in shards.items():
        save_file({name: tensors[name] for name in members}, folder / file, {"format": "pt"})
    index = {name: file for file, members in shards.items() for name in members}
    text = json.dumps({"weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)
    return folder


def write_adapter(folder: Path, seed: int) -> Path:
    """Writes a PEFT LoRA of rank 2 for two layers' projections."""
    folder.mkdir(parents=True)
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in (0, 2):
        prefix = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{prefix}.lora_A.weight"] = torch.randn((2, WIDTH), generator=draw)
        tensors[f"{prefix}.lora_B.weight"] = torch.randn((WIDTH, 2), generator=draw)
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "rank_pattern": {}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def write_tokenizer(folder: Path) -> None:
    """Writes a tokenizer.json with a word a row."""
    vocabulary = {f"w{row}": row for row in range(WORDS)}
    data = {"model": {"vocab": vocabulary}, "added_tokens": [{"id": 0, "content": "<s>"}]}
    (folder / "tokenizer.json").write_text(json.dumps(data))


def write_zoo(root: Path) -> Path:
    """The models that `fuzz_recipes` names: base, alpha and beta of three layers, tall of four."""
    for seed, name in enumerate(("base", "alpha", "beta", "tall")):
        write_model(root / name, seed, layers=4 if name == "tall" else 3)
    write_adapter(root / "adapter", 5)
    return root


def stretched(file: Path, header: object, chance: random.Random) -> None:
    """Gives a safetensors file another header over the same data, of a length that may lie."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    claimed = len(text) if chance.random() < 0.9 else chance.choice((0, 7, 2**20, 10**8, 2**63))
    file.write_bytes(claimed.to_bytes(8, "little") + text + content[8 + length :])


def write_bench(folder: Path) -> Path:
    """The zoo with two tiny tasks, as `fuzz_recipes` names them in studies."""
    write_zoo(folder)
    draw = random.Random(0)
    sums, lines = [], []
    for _ in range(100):
        one, other = draw.randrange(50), draw.randrange(50)
        choices = [str(one + other), str(one + other + 1)]
        sums.append({"question": f"{one} + {other} =", "choices": choices, "answer": 0})
        lines.append({"text": "".join(draw.choice("abc de") for _ in range(20))})
    for name, rows in (("sums", sums), ("lines", lines)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
