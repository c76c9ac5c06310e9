"""Runs in mergekit's interpreter: merges every case, with eutectic's masks, and stores tensors.

`python scripts/golden_driver.py CASES MODELS OUT`: CASES is what `golden.py` wrote (JSON), MODELS
the folder of pico models; OUT receives `expected.safetensors` and `outcome.json`. The random
methods' `torch.bernoulli` is replaced by the masks of `merging/kernels/masks.py`, which are a
function of the seed (0), the output tensor's name and the expert's position without the base;
everything else is mergekit's own.
"""

import importlib.util
import json
import logging
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
import transformers
import yaml
from mergekit import sparsify as sparsifying
from mergekit.config import MergeConfiguration
from mergekit.io.tasks import LoaderCache
from mergekit.merge import run_merge
from mergekit.merge_methods import generalized_task_arithmetic as task_arithmetic
from mergekit.merge_methods.task_adapter import ExecuteMergeMethodTask
from mergekit.options import MergeOptions
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mergekit", "torch", "transformers", "safetensors")
OPTIONS = MergeOptions(quiet=True, copy_tokenizer=False, write_model_card=False)


def main() -> None:
    """Merges what the case file lists."""
    cases, models, out = (Path(argument).resolve() for argument in sys.argv[1:])
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    drawing = use_our_masks()
    expected, outcome = {}, {}
    for case in json.loads(cases.read_text()):
        drawing["own"] = case["own_masks"]
        torch.manual_seed(0)
        tensors, tokens = by_token(*merged(case, models))
        shapes = {name: list(tensor.shape) for name, tensor in sorted(tensors.items())}
        outcome[case["id"]] = {"shapes": shapes, "tokens": tokens}
        for name, tensor in tensors.items():
            if any(part in name for part in case["keep"]):
                expected[f"{case['id']}/{name}"] = tensor.contiguous()
    save_file(expected, out / "expected.safetensors")
    versions = {package: version(package) for package in PACKAGES}
    (out / "outcome.json").write_text(json.dumps({"versions": versions, "cases": outcome}))


def merged(case: dict, models: Path) -> tuple[dict, dict | None]:
    """The merged tensors of a case, and the token to row map where it has a tokenizer."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for name, folder in case["models"].items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).symlink_to(models / folder)
        for number, recipe in enumerate(yaml.safe_load_all(case["recipe"])):
            result = recipe.pop("name", None) or f"stage-{number}"
            LoaderCache.loaders.clear()  # the same names are other models in every case
            config = MergeConfiguration.model_validate(recipe)
            try:
                run_merge(config, result, OPTIONS)
            except Exception as error:
                raise SystemExit(f"{case['id']}: {type(error).__name__}: {error}") from error
        LoaderCache.loaders.clear()
        tensors = {}
        for file in Path(result).glob("*.safetensors"):
            tensors |= load_file(file)
        tokens = None
        if Path(result, "tokenizer.json").exists():
            tokens = transformers.AutoTokenizer.from_pretrained(result).get_vocab()
        os.chdir("/")
        return tensors, tokens


def by_token(tensors: dict, rows: dict | None) -> tuple[dict, list | None]:
    """Rows of the vocabulary in the order of the sorted tokens, then padding.

    mergekit numbers the tokens of a union in the order of a hash table: other rows every time.
    """
    if rows is None:
        return tensors, None
    tokens = sorted(rows)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        padding = range(len(tokens), len(tensors[name]))
        tensors[name] = tensors[name][[*(rows[token] for token in tokens), *padding]]
    return tensors, tokens


def use_our_masks() -> dict:
    """Puts eutectic's generator in the place of torch's, unless `own` is set in what it returns.

    The rest of the result is whose mask is drawn: the tensor's name, the expert's position.
    """
    spec = importlib.util.spec_from_file_location("masks", ROOT / "merging/kernels/masks.py")
    masks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(masks)
    drawing = {"name": "", "position": -1, "own": False}
    execute, sparsify = ExecuteMergeMethodTask.execute, task_arithmetic.sparsify
    original = torch.bernoulli

    def noted_execute(self: ExecuteMergeMethodTask, *args: object, **named: object) -> object:
        drawing.update(name=self.output_weight.name, position=-1)
        return execute(self, *args, **named)

    def noted_sparsify(*args: object, **named: object) -> torch.Tensor:
        drawing["position"] += 1
        return sparsify(*args, **named)

    def bernoulli(probability: torch.Tensor) -> torch.Tensor:
        if drawing["own"]:
            return original(probability)
        keys = masks.mask_keys(0, drawing["name"], drawing["position"], probability.numel())
        draws = masks.draws(keys, 0, probability.numel(), probability.device)
        limits = torch.round(probability.double() * 2**24)
        return (draws.view(probability.shape) < limits).to(probability.dtype)

    ExecuteMergeMethodTask.execute = noted_execute
    task_arithmetic.sparsify = noted_sparsify
    sparsifying.torch.bernoulli = bernoulli
    return drawing


if __name__ == "__main__":
    main()
