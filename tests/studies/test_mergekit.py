"""What a search exports is accepted by the real mergekit as it is, and gives the same weights.

mergekit runs in an environment of its own, as `mergekit-yaml RECIPE OUT` does (`scripts/mergekit`
makes it, EUTECTIC_MERGEKIT names another interpreter that has it).
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent.parent
MADE = ROOT / ".mergekit"
PYTHON = Path(os.environ.get("EUTECTIC_MERGEKIT") or MADE / "bin/python")
pytestmark = pytest.mark.skipif(
    "EUTECTIC_MERGEKIT" not in os.environ and not (MADE / "installed").is_file(),
    reason="no environment with mergekit; scripts/mergekit makes it",
)
DRIVER = """\
import json, sys
from mergekit.scripts.run_yaml import main
for recipe, out in json.load(sys.stdin):
    main([recipe, out, "--quiet", "--random-seed", "0",
          "--lora-merge-cache", "adapted"], standalone_mode=False)
"""
TASKS = """
tasks:
  - {name: sums, file: sums.jsonl, type: multiple_choice, prompt: "{{question}}", choices: choices,
     answer: answer}
split: {calibration: 0, search: 0.4, select: 0.3, test: 0.3}
sampler: random
gradients: off
racing: false
"""
RECIPES = {
    "weights and anchors": """
  merge_method: ties
  base_model: base
  models:
    - model: alpha
      parameters: {weight: {range: [0.1, 1.0], anchors: 3}, density: {range: [0.2, 0.9]}}
    - {model: beta, parameters: {weight: {range: [0.1, 1.0]}, density: 0.5}}
  parameters: {normalize: true, lambda: {range: [0.5, 1.5]}}
  dtype: float32
""",
    "filters": """
  merge_method: task_arithmetic
  base_model: base
  models:
    - model: alpha
      parameters:
        weight:
          - {filter: self_attn, value: {range: [0.0, 1.0], anchors: layers}}
          - {filter: mlp, value: {range: [0.0, 1.0]}}
          - {value: 0.25}
    - {model: beta, parameters: {weight: {range: [0.0, 1.0]}}}
  parameters: {lambda: {range: [0.5, 1.5]}}
  dtype: float32
""",
    "blocks": """
  merge_method: ties
  base_model: base
  models:
    - model: alpha
      parameters:
        {weight: {range: [0.1, 1.0], anchors: 3}, density: {range: [0.2, 0.9], blocks: 2}}
    - {model: gamma, parameters: {weight: {range: [0.1, 1.0]}, density: 0.7}}
  parameters: {normalize: false}
  dtype: float32
""",
    "a choice of methods": """
  merge_method: {choice: [breadcrumbs, ties, task_arithmetic, linear, sce]}
  base_model: base
  models:
    - model: alpha
      parameters:
        {weight: {range: [0.1, 1.0]}, density: {range: [0.4, 0.9]}, gamma: {range: [0.0, 0.1]}}
    - {model: beta, parameters: {weight: {range: [0.1, 1.0]}, density: 0.6}}
  parameters: {select_topk: {range: [0.2, 1.0]}}
  dtype: float32
""",
    "random masks": """
  merge_method: {choice: [della, dare_linear]}
  base_model: base
  models:
    - model: alpha
      parameters:
        {weight: {range: [0.1, 1.0]}, density: {range: [0.3, 0.8]}, epsilon: {range: [0.01, 0.2]}}
    - {model: beta, parameters: {weight: {range: [0.1, 1.0], anchors: 2}, density: 0.5}}
  parameters: {lambda: {range: [0.5, 1.5]}}
  dtype: float32
""",
    "layers": """
  merge_method: linear
  base_model: base
  slices:
    - sources:
        - {model: base, layer_range: [0, {range: [1, 3]}], parameters: {weight: 1.0}}
        - {model: alpha, parameters: {weight: {range: [0.1, 1.0], anchors: 2}}}
    - sources:
        - {model: base, layer_range: [{range: [0, 2]}, 3], parameters: {weight: 1.0}}
  dtype: float32
""",
    "tokens and an adapter": """
  merge_method: linear
  models:
    - {model: base, parameters: {weight: {range: [0.2, 1.0]}}}
    - {model: base+adapter, parameters: {weight: {range: [0.2, 1.0]}}}
    - {model: alpha, parameters: {weight: {range: [0.2, 1.0]}}}
  dtype: float32
  out_dtype: bfloat16
  tokenizer: {source: base, pad_to_multiple_of: 16}
  chat_template: chatml
""",
    "an angle": """
  merge_method: slerp
  base_model: base
  models: [{model: base}, {model: alpha}]
  parameters:
    t:
      - {filter: mlp, value: {range: [0.1, 0.9], anchors: 3}}
      - {value: {range: [0.1, 0.9]}}
  dtype: float32
  eutectic: {exact: true}
""",
}
DRAWN = {"random masks"}
"""Of which mergekit draws other masks: accepted, but not equal."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One exported recipe, merged by both."""

    case: str
    recipe: Path
    theirs: Path
    ours: Path


@pytest.fixture(scope="module")
def bench(tmp_path_factory, pico_family_float32, make_bench):
    """A bench of the float32 family with a LoRA of the base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    made = make_bench(tmp_path_factory.mktemp("mergekit"), pico_family_float32)
    model = AutoModelForCausalLM.from_pretrained(made.folder / "base")
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        settings = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "up_proj"])
        adapted = get_peft_model(model, settings)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    adapted.save_pretrained(made.folder / "adapter")
    return made


@pytest.fixture(scope="module")
def merged(bench) -> Iterator[list[Pair]]:
    """Every trial and the winner of a search for each recipe, merged by mergekit and by us."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(bench.folder)
        pairs = [pair for case in RECIPES for pair in exported(case, bench)]
    asked = json.dumps([[str(pair.recipe), str(pair.theirs)] for pair in pairs])
    quiet = {"TQDM_DISABLE": "1", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [PYTHON, "-c", DRIVER],
        input=asked,
        text=True,
        capture_output=True,
        cwd=bench.folder,
        env=environment | quiet,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    yield pairs


def exported(case: str, bench) -> Iterator[Pair]:
    """Searches the recipe of a case and exports what came out."""
    folder, name = bench.folder, case.replace(" ", "-")
    text = f"name: {name}\nrecipe:{RECIPES[case]}{TASKS}budget: {{trials: 2}}\n"
    bench.study.write_text(text, encoding="utf-8")
    run = folder / "runs" / name
    result = bench.search("--out", run)
    assert result.exit_code == 0, result.stderr
    for which in (["--trial", 0], ["--trial", 1], []):
        label = f"{name}-{which[-1] if which else 'winner'}"
        recipe, ours = folder / f"{label}.yaml", folder / "ours" / label
        assert bench.call("export", run, *which, "-o", recipe).exit_code == 0
        result = bench.call("merge", recipe, ours)
        assert result.exit_code == 0, result.stderr
        yield Pair(case, recipe, folder / "theirs" / label, ours)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: one for file in folder.glob("*.safetensors") for name, one in load_file(file).items()
    }


@pytest.mark.parametrize("case", RECIPES)
def test_mergekit_takes_what_is_exported(merged: list[Pair], case: str) -> None:
    for pair in (one for one in merged if one.case == case):
        theirs, ours = tensors(pair.theirs), tensors(pair.ours)
        assert theirs.keys() == ours.keys(), pair.recipe
        for name, tensor in ours.items():
            other = theirs[name]
            assert (other.shape, other.dtype) == (tensor.shape, tensor.dtype), (pair, name)
            assert other.isfinite().all()
            if case not in DRAWN:
                torch.testing.assert_close(other, tensor, msg=lambda text, n=name: f"{n}: {text}")


def test_the_config_and_the_tokenizer_are_theirs_too(merged: list[Pair]) -> None:
    from transformers import AutoTokenizer

    for pair in merged:
        ours, theirs = (
            json.loads((folder / "config.json").read_text()) for folder in (pair.ours, pair.theirs)
        )
        for key in ("num_hidden_layers", "vocab_size", "tie_word_embeddings"):
            assert ours[key] == theirs[key], (pair, key)
        rows = [AutoTokenizer.from_pretrained(one).get_vocab() for one in (pair.ours, pair.theirs)]
        assert rows[0] == rows[1]


def test_the_searches_saw_what_they_are_named_after(merged: list[Pair]) -> None:
    data = {pair.recipe.stem: yaml.safe_load(pair.recipe.read_text()) for pair in merged}
    assert "slices" in data["blocks-1"] and "slices" in data["layers-1"]
    assert len({one["merge_method"] for name, one in data.items() if "choice" in name}) > 1
    weights = data["weights-and-anchors-1"]["models"][0]["parameters"]["weight"]
    assert len(weights) == 3
