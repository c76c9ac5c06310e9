"""What is exported is what was scored: the YAML read back, the weights loaded."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from merging.document import read_document
from merging.plan import plan_recipe, recipe_hash
from merging.recipe import models_of
from merging.recipe_reader import read_recipe
from merging.sources import open_checkpoint
from search.ledger import Candidate, Ledger


def hash_of(file: Path) -> str:
    """The recipe hash of a YAML file, as anybody would get it."""
    recipe, notices = read_recipe(read_document(file), strict=True)
    assert not notices
    opened = {model: open_checkpoint(model, folder=file.parent) for model in models_of(recipe)}
    hashes = {model: one.content_hash for model, one in opened.items()}
    return recipe_hash(plan_recipe(recipe, opened), hashes, recipe.mask_seed)


def recorded(run: Path, name: str) -> Candidate:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return {f"trial {one.number}" if one.kind == "trial" else one.name: one for one in everyone}[
        name
    ]


def winner_of(run: Path) -> str:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return str(ledger.meta("verdict")["winner"])


def test_the_winner_is_what_was_scored(searched, tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.yaml"
    assert searched.call("export", searched.run, "-o", file).exit_code == 0
    assert file.read_bytes() == (searched.run / "winner.yaml").read_bytes()
    assert hash_of(file) == recorded(searched.run, winner_of(searched.run)).recipe_hash
    assert f"# recipe hash {hash_of(file)}" in file.read_text()


@pytest.mark.parametrize("trial", [0, 3, 5])
def test_a_trial_is_what_was_scored(searched, tmp_path: Path, trial: int) -> None:
    file = tmp_path / "trial.yaml"
    result = searched.call("export", searched.run, "--trial", trial, "-o", file)
    assert (result.exit_code, result.output) == (0, "")
    assert hash_of(file) == recorded(searched.run, f"trial {trial}").recipe_hash
    data = yaml.safe_load(file.read_text())
    assert data["eutectic"] == {"mask_seed": 0}
    assert data["base_model"] == str((searched.folder / "base").resolve()) or data[
        "base_model"
    ] == str(searched.folder / "base")
    printed = searched.call("export", searched.run, "--trial", trial)
    assert printed.stdout == file.read_text()


def test_names_as_they_were_written(searched) -> None:
    result = searched.call("export", searched.run, "--trial", 0, "--names", "original")
    data = yaml.safe_load(result.stdout)
    assert data["base_model"] == "base"
    assert [one["model"] for one in data["models"]] == ["alpha", "beta"]


def test_a_trial_that_is_not_there(searched) -> None:
    result = searched.call("export", searched.run, "--trial", 99)
    assert result.exit_code == 2 and "no 'trial 99'; it has trials 0 to 5" in result.stderr


def test_weights_are_those_that_were_scored(another, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "merged"
    result = another.call("export", another.run, "--trial", 3, "--weights", out)
    assert result.exit_code == 0, result.stderr
    model = AutoModelForCausalLM.from_pretrained(out)
    assert len(AutoTokenizer.from_pretrained(out)) == 64 and model.dtype == torch.bfloat16
    stored, base = load_file(out / "model.safetensors"), load_file(
        another.folder / "base" / "model.safetensors"
    )  # fmt: skip
    assert stored.keys() == base.keys()
    assert any(not torch.equal(stored[name], base[name]) for name in stored)
    card = (out / "README.md").read_text()
    assert card.startswith("---\n") and "merge_method: ties" in card
    assert str(another.folder) not in card
    # Scored from disk they give what the search recorded, item by item.
    arguments = ["--study", another.study, "--split", "search", "--threads", "1", "--json"]
    found = json.loads(another.call("evaluate", out, *arguments).stdout)
    scores = recorded(another.run, "trial 3").scores
    assert scores is not None
    assert found["tasks"]["sums"]["acc"]["value"] == scores[0]
    assert found["tasks"]["lines"]["bits_per_byte"]["value"] == scores[1]
    again = another.call("export", another.run, "--trial", 3, "--weights", out)
    assert again.exit_code == 2 and "choose another folder" in again.stderr


def test_mapped_and_hub_names_stay(bench) -> None:
    bench.change(("model: alpha", "model: org/alpha"))
    place = (bench.folder / "alpha").rename(bench.folder / "local")
    arguments = ["--map", f"org/alpha={place}"]
    refused = bench.search("--trials", 1)
    assert refused.exit_code == 2 and "--map org/alpha=PATH" in refused.stderr
    assert bench.search("--trials", 1, *arguments).exit_code == 0
    data = yaml.safe_load(bench.call("export", bench.run, "--trial", 0).stdout)
    assert data["models"][0]["model"] == "org/alpha"
    assert bench.call("verify", bench.run, "--trial", 0).exit_code == 0  # the run remembers it
    resumed = bench.call("search", bench.run / "study.yaml", "--quiet", "--trials", 2)
    assert resumed.exit_code == 0, resumed.stderr
