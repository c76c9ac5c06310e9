"""`--mergekit-exact` from the command line to the winner's recipe, and a run that remembers it."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from search.ledger import Ledger

RECIPE = """\
merge_method: task_arithmetic
base_model: ./base
models:
  - {model: ./alpha, parameters: {weight: 0.3}}
  - {model: ./beta, parameters: {weight: 0.7}}
dtype: bfloat16
dtype: bfloat16
"""


def test_merge_and_explain(bench) -> None:
    (bench.folder / "r.yml").write_text(RECIPE)
    assert bench.call("merge", "r.yml", "plain").exit_code == 2
    result = bench.call("merge", "r.yml", "exact", "--mergekit-exact")
    assert result.exit_code == 0 and "given twice" in result.stderr
    # what was written says how it was made, and makes it again
    recipe = bench.folder / "exact" / "mergekit_config.yml"
    assert yaml.safe_load(recipe.read_text())["eutectic"]["exact"] is True
    (bench.folder / "r.yml").write_text(recipe.read_text())
    assert bench.call("merge", "r.yml", "again").exit_code == 0
    exact, again = (
        load_file(bench.folder / name / "model.safetensors") for name in ("exact", "again")
    )
    models = {
        name: load_file(bench.folder / name / "model.safetensors")
        for name in ("base", "alpha", "beta")
    }
    for name, made in exact.items():
        assert torch.equal(made, again[name])
        base, alpha, beta = (models[one][name] for one in ("base", "alpha", "beta"))
        first = (alpha - base) * torch.tensor([0.3]).to(torch.bfloat16)
        second = (beta - base) * torch.tensor([0.7]).to(torch.bfloat16)
        assert torch.equal(made, base + (first + second))
    shown = bench.call("explain", "r.yml")
    assert "every step rounded to bfloat16 as in mergekit" in shown.stdout
    checked = bench.call("check", "r.yml", "--json")
    assert checked.exit_code == 0, checked.stderr


@pytest.fixture
def exact(bench):
    bench.change(("budget: {trials: 6}", "budget: {trials: 2}"))
    result = bench.search("--mergekit-exact")
    assert result.exit_code == 0, result.stderr
    return bench


def hashes(bench) -> dict[str, str]:
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return {f"{one.kind} {one.name} {one.number}": one.recipe_hash for one in everyone}


def test_a_run_remembers_it(exact) -> None:
    begun = hashes(exact)
    winner = yaml.safe_load((exact.run / "winner.yaml").read_text())
    assert winner["eutectic"] == {"mask_seed": 0, "exact": True}
    # the flag need not be given again, and every candidate is exact
    assert exact.search("--trials", "3").exit_code == 0
    after = hashes(exact)
    assert begun.items() < after.items()
    with Ledger(f"sqlite:///{exact.run / 'study.db'}") as ledger:
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
        assert all(one.data["eutectic"]["exact"] is True for one in everyone)
    verified = exact.call("verify", exact.run, "--json")
    assert verified.exit_code == 0, verified.stderr
    assert json.loads(verified.stdout)["same_recipe"] is True
    exported = exact.call("export", exact.run, "--trial", 1)
    assert yaml.safe_load(exported.stdout)["eutectic"]["exact"] is True


def test_a_run_that_was_begun_without_it_is_another(another) -> None:
    result = another.search("--mergekit-exact")
    assert result.exit_code == 2
    assert "rounding: was null, is" in result.stderr and "--mergekit-exact" in result.stderr


def test_evaluate_takes_a_recipe_as_mergekit_does(exact) -> None:
    (exact.folder / "r.yml").write_text(RECIPE)
    arguments = ("evaluate", "r.yml", "--study", exact.study, "--threads", "1", "--json")
    assert exact.call(*arguments).exit_code == 2
    result = exact.call(*arguments, "--mergekit-exact")
    assert result.exit_code == 0, result.stderr
    # all items: a recipe that says exact and no mask seed comes from nobody's run
    (exact.folder / "r.yml").write_text(
        RECIPE.replace("dtype: bfloat16\n", "", 1) + "eutectic: {exact: true}\n"
    )
    said = exact.call(*arguments)
    assert json.loads(said.stdout)["tasks"] == json.loads(result.stdout)["tasks"]
    assert json.loads(said.stdout)["tasks"]["sums"]["acc"]["items"] == 50
