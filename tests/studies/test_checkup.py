"""`check` says what is there and what a search will take; everything it prints is true."""

import json

import pytest

from search.ledger import Ledger


def test_a_study(searched) -> None:
    result = searched.call("check", searched.study, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["models"] == ["base", "alpha", "beta"] and found["merge_methods"] == ["ties"]
    assert found["parameters"] == ["alpha.weight", "alpha.density", "beta.weight"]
    assert found["dimensions"] == 3 and found["sampler"].startswith("random (")
    assert found["objectives"] == ["sums (acc)", "lines (bits_per_byte)"]
    assert found["budget"] == "6 trials"
    assert found["task_sums"] == "calibration 0, search 20, select 15, test 15"
    with Ledger(f"sqlite:///{searched.run / 'study.db'}") as ledger:
        references, trials = ledger.candidates("reference"), ledger.candidates("trial")
    assert found["references"] == [one.name for one in references]
    assert found["warm_starts"] == [
        one.name.removeprefix("warm start: ") for one in trials if one.name.startswith("warm")
    ]
    assert {one.items for one in references} == {found["items_per_candidate"]}
    assert "all models have a chat template, and no task uses it: sums" in found["warnings"][0]
    assert found["warnings"][1:] == [
        f"Task {task} has 15 groups in its test split, fewer than 30: too few for an interval."
        for task in ("sums", "lines")
    ]
    size = sum((searched.folder / name / "model.safetensors").stat().st_size for name in
               ("base", "alpha", "beta"))  # fmt: skip
    assert 0.8 * size < found["gigabytes_read"] * 1e9 <= size


def test_what_select_and_test_take_is_not_more_than_said(searched) -> None:
    said = json.loads(searched.call("check", searched.study, "--json").stdout)
    with Ledger(f"sqlite:///{searched.run / 'study.db'}") as ledger:
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
        hashes = {one.recipe_hash for one in everyone}
        settings = ledger.meta("settings")
        stored = sum(
            len(ledger.results(one, settings, task))
            for one in hashes
            for task in ("sums", "lines")
        )
    taken = stored - sum(one.items for one in everyone)
    assert 0 < taken <= said["items_for_select_and_test_at_most"]


def test_a_task_that_no_objective_reads_is_not_searched(bench) -> None:
    objectives = "objectives: {only: {task: sums}}\nsampler: random"
    bench.change(
        ("sampler: random", objectives),
        ("constraints:\n  - {task: lines, metric: bits_per_byte, max_drop: 5.0}\n", ""),
    )
    found = json.loads(bench.call("check", bench.study, "--json").stdout)
    assert found["items_per_candidate"] == 20
    assert found["items_for_select_and_test_at_most"] == (4 + 16) * 15 + 5 * 30
    result = json.loads(bench.search("--json").stdout)
    assert result["items"] == 20 * 10
    assert set(result["winner"]["test"]) == {"sums", "lines"}  # both are told at the end


def test_the_sampler_it_names_is_the_one_that_searches(bench) -> None:
    bench.change(("budget: {trials: 6}\n", ""), ("sampler: random\n", ""))
    found = json.loads(bench.call("check", bench.study, "--json").stdout)
    assert found["budget"] == "100 trials" and found["sampler"].startswith("tpe (")


def test_a_person_reads_a_table_and_warnings_apart(searched) -> None:
    result = searched.call("check", searched.study)
    assert result.exit_code == 0
    assert "merge methods" in result.stdout and "No fault found." in result.stdout
    assert "warning: Task sums has 15 groups" in result.stderr
    assert "warning:" not in result.stdout


RECIPE = """\
merge_method: ties
base_model: base
models:
  - model: alpha
    parameters: {weight: 1.0, lambda: 0.5}
dtype: bfloat16
"""


def test_a_plain_recipe(bench) -> None:
    file = bench.folder / "recipe.yaml"
    file.write_text(RECIPE)
    found = json.loads(bench.call("check", file, "--json").stdout)
    assert found["merge_method"] == "ties" and found["models"] == ["base", "alpha"]
    assert found["tensors"] == 29
    assert len(found["warnings"]) == 1 and "lambda" in found["warnings"][0]
    assert "recipe.yaml:5:" in found["warnings"][0]
    file.write_text(RECIPE.replace("alpha", "nobody"))
    result = bench.call("check", file)
    assert result.exit_code == 2 and "nobody" in result.stderr


@pytest.mark.parametrize("text", ["a: 1\n", "- a\n"])
def test_neither_a_study_nor_a_recipe(bench, text: str) -> None:
    (bench.folder / "x.yaml").write_text(text)
    result = bench.call("check", bench.folder / "x.yaml")
    assert result.exit_code == 2 and "neither a study" in result.stderr
