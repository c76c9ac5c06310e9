"""`eutectic merge` against mergekit's own output: vocabularies, stages, published examples.

Tensors of the vocabulary are compared token by token: mergekit numbers the tokens that a union
adds in the order of a hash table, so their rows differ from run to run.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

GOLDEN = Path(__file__).resolve().parents[1] / "data/golden"
RECORD = json.loads((GOLDEN / "cases.json").read_text(encoding="utf-8"))
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
NOISY = "published arcee_fusion"
"""Its threshold stands among divergences that half precision rounds to noise."""


def of(*groups: str) -> list[dict]:
    return [case for case in RECORD["cases"] if case["id"].split()[0] in groups]


def named(case: dict) -> str:
    return case["id"].replace(" ", "-")


@pytest.fixture(scope="module")
def expected() -> Mapping[str, torch.Tensor]:
    return load_file(GOLDEN / "expected.safetensors")


def merged(case: dict, folder: Path, *options: str) -> dict[str, torch.Tensor]:
    """What the command writes; skipped while a section of the recipe is refused as not there."""
    from studies.cli import app

    (folder / "recipe.yml").write_text(case["recipe"], encoding="utf-8")
    maps = [f"--map={name}={GOLDEN / 'models' / at}" for name, at in case["models"].items()]
    arguments = ["merge", str(folder / "recipe.yml"), str(folder / "out"), *maps, *options]
    result = CliRunner().invoke(app, arguments)
    if result.exit_code == 2 and "not supported yet" in result.stderr:
        pytest.skip(result.stderr)
    assert result.exit_code == 0, result.stderr
    return load_file(folder / "out" / "model.safetensors")


def tokens_of(folder: Path) -> dict[str, int]:
    """Token to row, added tokens too."""
    data = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return data["model"]["vocab"] | {one["content"]: one["id"] for one in data["added_tokens"]}


def shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def off(merged: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, in units of the tensor's largest magnitude."""
    assert merged.shape == expected.shape
    return float((merged.double() - expected.double()).abs().max() / expected.double().abs().max())


@pytest.mark.parametrize("case", of("vocabulary"), ids=named)
def test_vocabularies(case, expected, tmp_path) -> None:
    ours = merged(case, tmp_path)
    assert shapes(ours) == RECORD["shapes"][case["shapes"]]
    rows = tokens_of(tmp_path / "out")
    assert sorted(rows) == case["tokens"] and len({*rows.values()}) == len(rows)
    config = json.loads((tmp_path / "out/config.json").read_text(encoding="utf-8"))
    order = [rows[token] for token in case["tokens"]]
    for name, tensor in ours.items():
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert len(tensor) == config["vocab_size"]
            tensor = tensor[[*order, *(row for row in range(len(tensor)) if row not in order)]]
        if (key := f"{case['id']}/{name}") in expected:
            assert off(tensor, expected[key]) <= 1e-6, name


@pytest.mark.parametrize("case", of("stages"), ids=named)
def test_stages(case, expected, tmp_path) -> None:
    ours = merged(case, tmp_path)
    assert shapes(ours) == RECORD["shapes"][case["shapes"]]
    known = [name for name in ours if f"{case['id']}/{name}" in expected]
    assert known and all(off(ours[one], expected[f"{case['id']}/{one}"]) <= 1e-6 for one in known)


@pytest.mark.parametrize("case", of("published"), ids=named)
def test_published_examples_run(case, expected, tmp_path) -> None:
    """Up to 2 units in the last place of the largest value; mergekit rounds at every step."""
    ours = merged(case, tmp_path)
    assert shapes(ours) == RECORD["shapes"][case["shapes"]]
    known = [name for name in ours if f"{case['id']}/{name}" in expected]
    slack = 2 * torch.finfo(DTYPES[case["arithmetic"]]).eps
    limit = math.inf if case["id"] == NOISY else slack
    assert known and all(off(ours[one], expected[f"{case['id']}/{one}"]) <= limit for one in known)


@pytest.mark.parametrize("case", of("published"), ids=named)
def test_published_examples_exactly(case, expected, tmp_path) -> None:
    """Rounded as mergekit rounds: up to 1 unit in the last place, `NOISY` too."""
    from studies.cli import app

    if "--mergekit-exact" not in CliRunner().invoke(app, ["merge", "--help"]).stdout:
        pytest.skip("merge has no --mergekit-exact yet")
    ours = merged(case, tmp_path, "--mergekit-exact")
    known = [name for name in ours if f"{case['id']}/{name}" in expected]
    assert known
    for name in known:
        theirs = expected[f"{case['id']}/{name}"]
        assert ours[name].dtype == theirs.dtype
        near = torch.finfo(theirs.dtype).eps * theirs.double().abs()
        assert bool(((ours[name].double() - theirs.double()).abs() <= near).all()), name
