"""What a merge costs beside moving its bytes once, method by method, on this machine.

Run it in the project's environment:

    .venv/bin/python scripts/bench_merge.py [METHOD ...] [--mergekit PYTHON] [--disk]
    .venv/bin/python scripts/bench_merge.py --base FOLDER --expert FOLDER --expert FOLDER ties

Without models it writes a base and three experts of the shapes of SmolLM2-135M, in bfloat16, to a
temporary folder. Each method has a process of its own, in which a live model is built again and
again as a search does. A line has, in seconds: the first candidate (kernels come from numba's
cache, pages are touched for the first time), another one of other numbers (the best of several),
its processor time, its ratio to the time of moving the bytes (base and experts read, candidate
written, measured in that process), and the most memory beyond the live model and mapped files.
`--disk` times `eutectic merge` as a whole process; `--mergekit PYTHON` compares with mergekit-yaml
of that Python's environment.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event, Thread

HIDDEN, KEYS, INNER, LAYERS, WORDS = 576, 192, 1536, 30, 49152
NUMBERS = {"weight": 0.4, "density": 0.6, "epsilon": 0.1, "gamma": 0.01}
OTHER = {"weight": 0.45, "density": 0.55, "epsilon": 0.1, "gamma": 0.02}
GLOBALS = {"t": 0.4}


def main() -> None:
    """Writes models if none are given, then times each method in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--expert", type=Path, action="append")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--mergekit", type=Path, metavar="PYTHON")
    parser.add_argument("--disk", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options)))
        return
    from merging.methods.table import METHODS

    with tempfile.TemporaryDirectory(prefix="bench_merge.") as scratch:
        if options.base is None:
            options.base, *options.expert = write_family(Path(scratch) / "models")
        print(f"{'':16} bytes  first  again    cpu  ratio  memory", end="")
        print("   disk" * options.disk + "  mergekit  ratios" * bool(options.mergekit))
        for method in options.methods or METHODS:
            line(method, options, Path(scratch))


def line(method: str, options: argparse.Namespace, scratch: Path) -> None:
    """Measures and prints one method."""
    experts = [word for one in options.expert for word in ("--expert", str(one))]
    fixed = ["--threads", str(options.threads), "--repeats", str(options.repeats)]
    command = [sys.executable, __file__, "--one", method, "--base", str(options.base)]
    done = subprocess.run([*command, *experts, *fixed], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{method:16} failed", flush=True)
        return
    found = json.loads(done.stdout)
    ratio = found["again"] / found["bytes"]
    print(
        f"{method:16} {found['bytes']:5.3f}  {found['first']:5.3f}  {found['again']:5.3f}", end=""
    )
    print(f"  {found['cpu']:5.3f} {ratio:5.1f}x {found['memory'] / 2**20:4.0f} MiB", end="")
    recipe = scratch / "recipe.yml"
    recipe.write_text(recipe_text(method, options, NUMBERS))
    ours = theirs = 0.0
    if options.disk:
        merge = "from studies.cli import main; main()"
        ours = process([sys.executable, "-c", merge, "merge", str(recipe)], scratch)
        print(f"  {ours:5.1f}", end="")
    if options.mergekit:
        tool = options.mergekit.parent / "mergekit-yaml"
        theirs = process([str(tool), str(recipe)], scratch)
        print(f"  {theirs:8.1f}  {theirs / found['again']:.0f}x", end="")
        print(f" {theirs / ours:.1f}x" if ours else "", end="")
    print(flush=True)


def process(command: Sequence[str], scratch: Path) -> float:
    """Seconds that a whole process takes to merge to disk; nan where it fails."""
    out = scratch / "merged"
    start = time.perf_counter()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([*command, str(out)], capture_output=True, env=environment)
    seconds = time.perf_counter() - start
    subprocess.run(["rm", "-rf", str(out)], check=True)
    return seconds if done.returncode == 0 else float("nan")


def recipe_text(method: str, options: argparse.Namespace, numbers: dict[str, float]) -> str:
    """A recipe for the method, with as many experts as it takes."""
    from merging.methods.table import find_method

    found = find_method(method)
    experts = options.expert[: found.experts[1]]
    own = {one.name: numbers[one.name] for one in found.parameters if one.name in numbers}
    common = {one.name: GLOBALS[one.name] for one in found.parameters if one.name in GLOBALS}
    recipe = {
        "merge_method": method,
        "models": [{"model": str(one), "parameters": own} for one in experts],
        "parameters": common,
        "dtype": "bfloat16",
    }
    if found.base == "required" or len(experts) < found.experts[0]:
        recipe["base_model"] = str(options.base)
    return json.dumps(recipe)  # JSON is YAML


def measured(options: argparse.Namespace) -> dict[str, float]:
    """What `line` prints of one method, measured in this process."""
    import torch

    from merging.candidate import build_candidate, live_model, load_model
    from merging.document import read_document
    from merging.opening import open_recipe

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "recipe.yml"
        recipes = []
        for numbers in (NUMBERS, OTHER):
            file.write_text(recipe_text(options.one, options, numbers))
            documents = [read_document(file)]
            recipes.append(
                open_recipe(documents, folder=file.parent, mapping={}, allow_pickle=False)
            )
    models, donor = recipes[0].checkpoints, recipes[0].donor
    live = live_model(load_model(donor), donor)

    def build(index: int) -> None:
        build_candidate(
            live,
            recipes[index].jobs,
            lambda model, name: models[model].tensor(name),
            0,
            threads=options.threads,
        )

    for place in live.destinations.values():
        place.copy_(place.clone())  # or pages of the file would count as the live model's later
    with Watch() as watch:
        first, _ = timed(partial(build, 0))
        again = min(timed(partial(build, index % 2)) for index in range(1, options.repeats + 1))
    copies = moved(live.destinations, donor.tensor, options.threads, options.repeats)
    streams = len(models) + 1
    return {
        "bytes": copies * streams / 2,
        "first": first,
        "again": again[0],
        "cpu": again[1],
        "memory": watch.most - watch.start,
    }


def moved(places, tensor, threads: int, repeats: int) -> float:  # type: ignore[no-untyped-def]
    """Seconds to read one model and write one, by the fastest way there is."""
    import torch

    everything = []
    for name, place in places.items():
        into, of = (
            one.reshape(-1).view(torch.int16).split(1 << 22) for one in (place, tensor(name))
        )
        everything += [(a.numpy(), b.numpy()) for a, b in zip(into, of, strict=True)]
    everything.sort(key=lambda pair: -len(pair[0]))

    def copy(start: int) -> None:
        for to, of in everything[start::threads]:
            to[:] = of

    with ThreadPoolExecutor(threads) as pool:
        return min(timed(lambda: list(pool.map(copy, range(threads))))[0] for _ in range(repeats))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time in seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


class Watch:
    """The most memory that the process has, mapped files left out, while it is watched."""

    def __enter__(self) -> "Watch":
        self.start = self.most = anonymous()
        self.ended = Event()
        self.thread = Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _look(self) -> None:
        while not self.ended.wait(0.003):
            self.most = max(self.most, anonymous())


def anonymous() -> int:
    """Bytes of this process's memory that no file backs (Linux)."""
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith("RssAnon:"):
            return int(text.split()[1]) << 10
    raise SystemExit("this measurement needs Linux's /proc/self/status")


def write_family(folder: Path, experts: int = 3) -> list[Path]:
    """Folders of a base and experts near it: random Llamas of SmolLM2-135M's shapes, bfloat16."""
    import torch
    from safetensors.torch import save_file

    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": WORDS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }
    generator = torch.Generator().manual_seed(0)
    base = {
        name: (torch.randn(shape, generator=generator) * 0.05).bfloat16()
        for name, shape in shapes().items()
    }
    folders = []
    for index in range(experts + 1):
        tensors = base
        if index:
            tensors = {
                name: (
                    one.float() + torch.randn(one.shape, generator=generator) * 0.002
                ).bfloat16()
                for name, one in base.items()
            }
        folders.append(folder / ("base" if index == 0 else f"expert{index}"))
        folders[-1].mkdir(parents=True)
        save_file(tensors, folders[-1] / "model.safetensors", {"format": "pt"})
        (folders[-1] / "config.json").write_text(json.dumps(config))
        write_tokenizer(folders[-1])
    return folders


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a Llama with a tied head."""
    layer = {
        "self_attn.q_proj": (HIDDEN, HIDDEN),
        "self_attn.o_proj": (HIDDEN, HIDDEN),
        "self_attn.k_proj": (KEYS, HIDDEN),
        "self_attn.v_proj": (KEYS, HIDDEN),
        "mlp.gate_proj": (INNER, HIDDEN),
        "mlp.up_proj": (INNER, HIDDEN),
        "mlp.down_proj": (HIDDEN, INNER),
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
    }
    inner = {
        f"model.layers.{index}.{part}.weight": shape
        for index in range(LAYERS)
        for part, shape in layer.items()
    }
    return {"model.embed_tokens.weight": (WORDS, HIDDEN), **inner, "model.norm.weight": (HIDDEN,)}


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of a few words, which merging copies."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({"<unk>": 0, "a": 1, "b": 2}, "<unk>"))
    words.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    main()
