"""The memory of `eutectic merge` on a family larger than it may hold, written for the purpose.

Run it in the project's environment: `.venv/bin/python scripts/bench_stream.py [METHOD ...]`. It
writes a base and experts (8 GB in all, in shards) to a temporary folder, merges them in a process
of its own, and prints its time, the most memory it had resident (mapped files included), and the
bound: 1.5 x the largest tensor x the number of models + 1 GiB. Everything is removed after.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from bench_merge import NUMBERS, recipe_text, write_tokenizer
from safetensors.torch import save_file

HIDDEN, INNER, WORDS = 2048, 5632, 64_000
SHARD = 1 << 30


def main() -> None:
    """Writes the family, merges it, prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=["dare_ties"])
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of all models together")
    parser.add_argument("--models", type=int, default=3, help="the base among them")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_stream.", dir=options.folder) as scratch:
        folders = write_family(Path(scratch), options.gigabytes / options.models, options.models)
        options.base, *options.expert = folders
        bound = 1.5 * 2 * HIDDEN * WORDS * len(folders) + 2**30
        size = sum(file.stat().st_size for file in Path(scratch).rglob("*.safetensors"))
        print(f"{len(folders)} models, {size / 1e9:.1f} GB; the bound is {bound / 2**20:.0f} MiB")
        for method in options.methods:
            recipe = Path(scratch) / "recipe.yml"
            recipe.write_text(recipe_text(method, options, NUMBERS))
            seconds, most = merged(recipe, Path(scratch) / "merged")
            print(f"{method:16} {seconds:6.1f} s, at most {most / 2**20:.0f} MiB resident")


def merged(recipe: Path, out: Path) -> tuple[float, int]:
    """Seconds and the most resident memory, in bytes, of `eutectic merge`."""
    command = "from studies.cli import main; main()"
    start, most = time.perf_counter(), 0
    process = subprocess.Popen([sys.executable, "-c", command, "merge", str(recipe), str(out)])
    while process.poll() is None:
        most = max(most, peak(process.pid))
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit("the merge failed")
    subprocess.run(["rm", "-rf", str(out)], check=True)
    return seconds, most


def peak(pid: int) -> int:
    """The most resident memory of a process so far, in bytes; 0 when it has ended."""
    text = Path(f"/proc/{pid}/status").read_text() if Path(f"/proc/{pid}").exists() else ""
    found = [line for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0].split()[1]) << 10 if found else 0


def write_family(folder: Path, gigabytes: float, models: int) -> list[Path]:
    """Random Llamas in shards of a gigabyte, bfloat16; a model is that large, about."""
    layer = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (HIDDEN, HIDDEN),
        "self_attn.v_proj": (HIDDEN, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "mlp.gate_proj": (INNER, HIDDEN),
        "mlp.up_proj": (INNER, HIDDEN),
        "mlp.down_proj": (HIDDEN, INNER),
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
    }
    per_layer = 2 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER)
    layers = max(1, round((gigabytes * 1e9 - 2 * HIDDEN * WORDS) / per_layer))
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, HIDDEN)}
    for index in range(layers):
        shapes |= {f"model.layers.{index}.{part}.weight": shape for part, shape in layer.items()}
    shapes["model.norm.weight"] = (HIDDEN,)
    folders = []
    for index in range(models):
        folders.append(folder / f"model{index}")
        write_model(folders[-1], shapes, layers, index)
    return folders


def write_model(folder: Path, shapes: dict[str, tuple[int, ...]], layers: int, seed: int) -> None:
    """One model; its numbers repeat after four million, which no merge notices."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(1 << 22, generator=generator) * 0.05
    numbers += torch.randn(1 << 22, generator=generator.manual_seed(seed)) * 0.002
    stock, shard, held, where = numbers.bfloat16(), {}, 0, {}
    for name, shape in shapes.items():
        elements = torch.Size(shape).numel()
        shard[name] = stock.repeat(-(-elements // len(stock)))[:elements].view(shape)
        where[name] = f"model-{len(set(where.values())) + (held == 0):05d}.safetensors"
        held += 2 * elements
        if held >= SHARD or name == "model.norm.weight":
            save_file(shard, folder / where[name], {"format": "pt"})
            shard, held = {}, 0
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": WORDS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)


if __name__ == "__main__":
    main()
