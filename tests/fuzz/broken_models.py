"""A table of broken model folders: what is done to a sound one, and what is said of it then."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WORDS = "model.embed_tokens.weight"
UP = "model.layers.1.mlp.up_proj.weight"
Break = Callable[[Path], None]


def header(change: Callable[[dict], object], length: Callable[[int], int] = lambda n: n) -> Break:
    """Rewrites the header of the weights; the data stay."""

    def apply(folder: Path) -> None:
        file = next(folder.glob("*model.safetensors"))
        content = file.read_bytes()
        size = int.from_bytes(content[:8], "little")
        data = json.loads(content[8 : 8 + size])
        text = json.dumps(change(data) or data).encode()
        file.write_bytes(struct.pack("<Q", length(len(text))) + text + content[8 + size :])

    return apply


def entry(**changes: object) -> Break:
    """Changes what the header says of one tensor."""
    return header(lambda data: data[next(n for n in sorted(data) if n[0] != "_")].update(changes))


def shifted(start: int, stop: int) -> Break:
    """Moves the offsets of one tensor."""

    def change(data: dict) -> None:
        one = data[UP]["data_offsets"]
        data[UP]["data_offsets"] = [one[0] + start, one[1] + stop]

    return header(change)


def config(name: str = "config.json", **changes: object) -> Break:
    """Changes a JSON file; None removes a key."""

    def apply(folder: Path) -> None:
        data = {**json.loads((folder / name).read_text()), **changes}
        text = json.dumps({key: value for key, value in data.items() if value is not None})
        (folder / name).write_text(text)

    return apply


def content(name: str, data: bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(data) and None


def replaced(name: str, make: Callable[[Path], object]) -> Break:
    """Puts something else in the place of a file."""

    def apply(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return apply


def index(change: Callable[[dict], object]) -> Break:
    def apply(folder: Path) -> None:
        data = json.loads((folder / INDEX).read_text())
        (folder / INDEX).write_text(json.dumps(change(data["weight_map"]) or data))

    return apply


def tensors(change: Callable[[dict], object], name: str = WEIGHTS) -> Break:
    def apply(folder: Path) -> None:
        found = load_file(folder / name)
        change(found)
        save_file(found, folder / name, {"format": "pt"})

    return apply


def number(value: float) -> Break:
    return tensors(lambda found: found[UP].view(-1).__setitem__(5, value))


def sparse(name: str, size: int, start: bytes = b"") -> Break:
    def apply(folder: Path) -> None:
        with (folder / name).open("wb") as stream:
            stream.write(start)
            stream.truncate(size)

    return apply


def outside(folder: Path) -> None:
    """A shard that is a link out of the folder."""
    (folder / "one.safetensors").rename(folder.parent / "moved.safetensors")
    (folder / "one.safetensors").symlink_to(folder.parent / "moved.safetensors")


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def cut(folder: Path) -> None:
    file = next(folder.glob("*model.safetensors"))
    os.truncate(file, file.stat().st_size // 2)


SINGLE: dict[str, tuple[Break, str]] = {
    "cut off": (cut, "model.safetensors: cut off"),
    "empty": (content(WEIGHTS, b" "), "model.safetensors: cut off"),
    "header cut": (lambda f: os.truncate(f / WEIGHTS, 100), "model.safetensors: cut off"),
    "header too long": (header(dict, lambda n: 2**40), "model.safetensors: cut off"),
    "header a byte short": (header(dict, lambda n: n - 1), "model.safetensors: header: not valid"),
    "claims 300 MB": (sparse(WEIGHTS, 2**30, struct.pack("<Q", 3 * 10**8)), "a header of 3000000"),
    "not JSON": (content(WEIGHTS, struct.pack("<Q", 4) + b"oops"), "header: not valid JSON"),
    "no object": (header(lambda data: [1]), "header: expected a JSON object"),
    "overlap": (shifted(-4, -4), "overlap or leave a gap"),
    "gap": (shifted(4, 4), "overlap or leave a gap"),
    "beyond the end": (shifted(0, 2**40), "data_offsets say"),
    "negative": (shifted(-(2**40), 0), "data_offsets: expected sizes, got -"),
    "shape": (entry(shape=[3, 3]), "bytes, data_offsets say"),
    "shape of text": (entry(shape="x"), "shape: expected a short list"),
    "a huge shape": (entry(shape=[2**62, 2**62]), "data_offsets say"),
    "dtype": (entry(dtype="Q4"), "unknown dtype 'Q4'"),
    "narrower dtype": (entry(dtype="F16"), "data_offsets say"),
    "a float64": (
        tensors(lambda found: found.update({UP: found[UP].double()})),
        "float64; expected float32",
    ),
    "a name of two lines": (header(lambda data: {**data, "a\nb": data[UP]}), "name of a tensor"),
    "a tensor less": (tensors(lambda found: found.pop(UP)), UP),
    "a layer less": (
        tensors(lambda found: [found.pop(n) for n in list(found) if ".layers.2." in n]),
        "config.json says 3 layers, the weights have 2",
    ),
    "another shape": (
        tensors(lambda found: found.update({UP: found[UP][:-1].clone()})),
        "has the shape [11, 8]",
    ),
    "NaN": (number(float("nan")), f"tensor '{UP}' contains NaN or Inf"),
    "Inf": (number(float("-inf")), f"tensor '{UP}' contains NaN or Inf"),
    "a folder": (replaced(WEIGHTS, Path.mkdir), "model.safetensors: a folder where a file"),
    "a pipe": (replaced(WEIGHTS, os.mkfifo), "model.safetensors: a pipe or a device"),
    "a device": (
        replaced(WEIGHTS, lambda file: file.symlink_to("/dev/zero")),
        "model.safetensors: a link out of the checkpoint",
    ),
    "a circle": (
        replaced(WEIGHTS, lambda file: file.symlink_to(file)),
        "no weights: expected model.safetensors",
    ),
    "nothing": (replaced(WEIGHTS, lambda file: None), "no weights: expected model.safetensors"),
    "a pickle": (pickled, "--allow-pickle"),
    "no config": (replaced("config.json", lambda file: None), "config.json: no such file"),
    "config not JSON": (content("config.json", b"{"), "config.json: not valid JSON"),
    "config of bytes": (content("config.json", b"\xff\x00"), "config.json: not valid JSON"),
    "config too deep": (content("config.json", b"[" * 10**5), "config.json: JSON nested"),
    "config a list": (content("config.json", b"[1]"), "config.json: expected a JSON object"),
    "config too large": (sparse("config.json", 10**10), "config.json: larger than"),
    "config a pipe": (replaced("config.json", os.mkfifo), "config.json: a pipe or a device"),
    "vocab_size": (config(vocab_size=25), "config.json says vocab_size 25"),
    "hidden_size": (config(hidden_size=4), "config.json says hidden_size 4"),
    "more layers": (config(num_hidden_layers=4), "config.json says 4 layers"),
    "endless layers": (config(num_hidden_layers=10**18), "config.json says 10000"),
    "layers of text": (config(num_hidden_layers="3"), "num_hidden_layers: expected a whole"),
    "size of a list": (config(hidden_size=[8]), "hidden_size: expected a whole number"),
    "quantised": (config(quantization_config={"quant_method": "x"}), "the weights are quantised"),
    "tokenizer a pipe": (replaced("tokenizer.json", os.mkfifo), "tokenizer.json: a pipe"),
    "tokenizer cut": (content("tokenizer.json", b'{"model": {'), "tokenizer.json: not valid"),
    "tokenizer of none": (
        content("tokenizer.json", b"{}"),
        "tokenizer.json: expected model.vocab",
    ),
}
SHARDED: dict[str, tuple[Break, str]] = {
    "shard missing": (
        replaced("two.safetensors", lambda f: None),
        "shard two.safetensors is miss",
    ),
    "shard a pipe": (replaced("two.safetensors", os.mkfifo), "two.safetensors: a pipe"),
    "shard cut": (lambda f: os.truncate(f / "two.safetensors", 300), "two.safetensors: cut off"),
    "shard out": (outside, "one.safetensors: a link out of the checkpoint"),
    "shard above": (index(lambda m: m.update({UP: "../one.safetensors"})), "has a plain name"),
    "shard absolute": (index(lambda m: m.update({UP: "/x.safetensors"})), "has a plain name"),
    "shard no file": (
        index(lambda m: m.update({UP: "x.bin"})),
        "end in .safetensors, got 'x.bin'",
    ),
    "shard of two lines": (index(lambda m: m.update({UP: "x\n"})), "expected a file name, got"),
    "shard a number": (index(lambda m: m.update({UP: 3})), "expected a file name, got 3"),
    "not in the shard": (index(lambda m: m.update({"x": "one.safetensors"})), "'x' is not in one"),
    "map a list": (index(lambda m: {"weight_map": [1]}), "expected `weight_map`"),
    "map empty": (index(lambda m: {"weight_map": {}}), "expected `weight_map`"),
    "no map": (index(lambda m: {"x": 1}), "expected `weight_map`"),
    "index a pipe": (replaced(INDEX, os.mkfifo), "index.json: a pipe or a device"),
    "index cut": (content(INDEX, b"{"), "index.json: not valid JSON"),
    "twice": (
        tensors(lambda found: found.update({WORDS: torch.zeros(24, 8)}), "two.safetensors"),
        f"tensor '{WORDS}' is in one.safetensors and in two.safetensors",
    ),
}
LORA = "adapter_model.safetensors"
ADAPTER: dict[str, tuple[Break, str]] = {
    "cut off": (cut, "adapter_model.safetensors: cut off"),
    "shape": (entry(shape=[1, 1]), "data_offsets say"),
    "not JSON": (content(LORA, struct.pack("<Q", 4) + b"oops"), "header: not valid JSON"),
    "a pipe": (replaced(LORA, os.mkfifo), "adapter_model.safetensors: a pipe"),
    "nothing": (replaced(LORA, lambda file: None), "expected adapter_model.safetensors"),
    "no config": (replaced("adapter_config.json", lambda file: None), "no such file"),
    "config cut": (content("adapter_config.json", b"{"), "adapter_config.json: not valid"),
    "rank": (config("adapter_config.json", r=3), "says rank 3, the tensors are"),
    "rank of text": (config("adapter_config.json", r="x"), "r: expected a number above 0"),
    "not LoRA": (config("adapter_config.json", peft_type="IA3"), "peft_type 'IA3'"),
    "a tensor of nothing": (
        tensors(lambda found: found.update({"x.lora_A.weight": torch.ones(2, 8)}), LORA),
        "x.weight is no tensor of",
    ),
    "NaN": (
        tensors(
            lambda found: [one.view(-1)[:1].fill_(float("nan")) for one in found.values()], LORA
        ),
        "contains NaN or Inf",
    ),
}
TABLES = {"single": SINGLE, "sharded": SHARDED, "adapter": ADAPTER}
