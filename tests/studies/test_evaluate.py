"""`evaluate`: one model or recipe on a study's tasks, as JSON of a fixed form."""

import json
import math

import pytest

from search.ledger import Ledger


def evaluated(bench, model: object, *arguments: object):
    result = bench.call(
        "evaluate", model, "--study", bench.study, "--threads", "1", "--json", *arguments
    )
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_all_items_of_a_model(searched) -> None:
    found = evaluated(searched, searched.folder / "alpha")
    assert list(found) == ["model", "tasks"] and list(found["tasks"]) == ["sums", "lines"]
    acc = found["tasks"]["sums"]["acc"]
    assert list(found["tasks"]["sums"]) == ["acc", "acc_norm"]
    assert list(acc) == ["value", "stderr", "items"] and acc["items"] == 50
    share = acc["value"]
    assert acc["stderr"] == pytest.approx(math.sqrt(share * (1 - share) / 49), rel=0.05)


def test_a_split_of_a_model_is_what_the_search_recorded(searched) -> None:
    with Ledger(f"sqlite:///{searched.run / 'study.db'}") as ledger:
        scores = {one.name: one.scores for one in ledger.candidates("reference")}
    found = evaluated(searched, "alpha", "--split", "search")
    assert found["model"] == "alpha"
    assert found["tasks"]["sums"]["acc"] | {"stderr": 0} == {
        "value": scores["alpha"][0], "stderr": 0, "items": 20,
    }  # fmt: skip
    assert found["tasks"]["lines"]["bits_per_byte"]["value"] == scores["alpha"][1]


def test_an_exported_recipe_leaves_test_out_unless_asked_for_it(searched) -> None:
    searched.call("export", searched.run, "--trial", 4, "-o", searched.folder / "t4.yaml")
    assert evaluated(searched, searched.folder / "t4.yaml")["tasks"]["sums"]["acc"]["items"] == 35
    asked = evaluated(searched, searched.folder / "t4.yaml", "--split", "test")
    assert asked["tasks"]["sums"]["acc"]["items"] == 15
    (searched.folder / "t4.yaml").unlink()


def test_a_recipe_of_a_run_that_a_reference_won_is_a_recipe_of_a_run(another) -> None:
    file = another.run / "winner.yaml"
    study = another.run / "study.yaml"
    result = another.call("evaluate", file, "--study", study, "--threads", 1, "--json")
    assert json.loads(result.stdout)["tasks"]["sums"]["acc"]["items"] == 35


def test_it_writes_nothing(another) -> None:
    before = {path.name: path.read_bytes() for path in another.run.iterdir()}
    evaluated(another, "beta")
    assert {path.name: path.read_bytes() for path in another.run.iterdir()} == before


def test_a_table_for_people(searched) -> None:
    result = searched.call("evaluate", "beta", "--study", searched.study, "--threads", "1")
    assert result.exit_code == 0 and "bits_per_byte" in result.stdout and "50" in result.stdout


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("nobody", [], "nobody"),
        ("alpha", ["--split", "tset"], "--split tset"),
        ("alpha", ["--split", "calibration"], "has no items in it"),
        ("alpha", ["--device", "toaster"], "--device toaster"),
    ],
)
def test_faults(searched, model: str, arguments: list[str], message: str) -> None:
    result = searched.call("evaluate", model, "--study", searched.study, *arguments)
    assert result.exit_code == 2 and message in result.stderr and result.stdout == ""


def test_a_recipe_that_gives_no_numbers_is_told_with_the_layer(searched) -> None:
    recipe = searched.folder / "huge.yaml"
    recipe.write_text(
        "merge_method: task_arithmetic\nbase_model: base\n"
        "models:\n  - {model: alpha, parameters: {weight: 1.0e+18}}\n"
    )
    result = searched.call("evaluate", recipe, "--study", searched.study, "--threads", "1")
    recipe.unlink()
    assert result.exit_code == 2 and result.stdout == ""
    assert "logits are NaN or Inf, beginning in model.layers.0." in result.stderr


def test_a_candidate_that_gives_no_numbers_is_a_failed_trial_with_the_layer(bench) -> None:
    bench.change(
        ("weight: {range: [0.0, 1.0], start: 0.25}", "weight: {range: [1.0e+18, 2.0e+18]}")
    )
    result = bench.search()
    assert bench.run.exists(), result.stderr
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        trials = ledger.candidates("trial")
    assert result.exit_code == 3
    assert trials and {one.state for one in trials} == {"failed"}
    assert all("beginning in model.layers." in (one.error or "") for one in trials)
