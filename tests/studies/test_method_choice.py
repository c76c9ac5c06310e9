"""A study whose merge method is a choice, from `check` to `verify`, with tiny models."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from merging.document import parse_document
from merging.methods.table import METHODS
from merging.recipe_reader import read_recipe
from search.ledger import Candidate, Ledger

FIXED = """\
  merge_method: ties
  base_model: base
  models:
    - model: alpha
      parameters: {weight: {range: [0.0, 1.0], start: 0.5}, density: {range: [0.1, 0.9]}}
    - model: beta
      parameters: {weight: {range: [0.0, 1.0], start: 0.25}, density: 0.5}
  parameters: {normalize: false}
"""
CHOICE = """\
  merge_method: {choice: [dare_ties, della, ties]}
  base_model: base
  models:
    - model: alpha
      parameters:
        weight: {range: [0.0, 1.0]}
        density: {range: [0.1, 0.9]}
        epsilon: {range: [0.01, 0.3]}
    - model: beta
      parameters: {weight: {range: [0.0, 1.0]}, density: 0.5, epsilon: 0.1}
  parameters: {lambda: {range: [0.5, 1.5]}, rescale: true}
"""
MEANS = """\
  merge_method: {choice: [linear, ties, slerp]}
  base_model: base
  models:
    - model: alpha
      parameters:
        weight:
          - {filter: mlp, value: {range: [0.1, 1.0]}}
          - {value: 0.7}
        density: 0.6
  parameters: {normalize: true, t: {range: [0.0, 1.0], anchors: 2}, lambda: 0.8}
"""


def study(bench: Any, recipe: str, *, trials: int = 24, sampler: str = "tpe") -> None:
    bench.change(
        (FIXED, recipe),
        ("trials: 6", f"trials: {trials}"),
        ("sampler: random", f"sampler: {sampler}"),
    )


def trials_of(run: Path) -> list[Candidate]:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return ledger.candidates("trial")


def parameters_in(data: Any) -> list[tuple[str, str]]:
    """(level, name) of every parameter of a recipe's plain data."""
    found = [("top", name) for name in data.get("parameters", {})]
    for model in data["models"]:
        level = "base" if model["model"].endswith("base") else "model"
        found += [(level, name) for name in model.get("parameters", {})]
    return found


def refuse_strays(text: str) -> str:
    """The method of an exported recipe, which reads everything in it where it stands."""
    data = yaml.safe_load(text)
    method = METHODS[data["merge_method"]]
    _, notices = read_recipe(parse_document(text, "exported.yaml"), strict=True)
    assert list(notices) == []
    assert set(data) <= {
        "merge_method", "base_model", "models", "parameters", "dtype", "eutectic"
    }  # fmt: skip
    for level, name in parameters_in(data):
        parameter = method.parameter(name)
        assert parameter is not None, (method.name, name)
        assert level != "base" or not method.base_apart
        assert level == "top" or parameter.scope == "model"
    assert all(model.get("parameters", True) for model in data["models"])
    return method.name


@pytest.mark.parametrize("sampler", ["auto", "tpe", "random", "nsgaii", "nsgaiii"])
def test_a_choice_is_searched_exported_verified_and_shown(bench: Any, sampler: str) -> None:
    study(bench, CHOICE, sampler=sampler)
    assert bench.call("check", bench.study).exit_code == 0
    result = bench.search()
    assert result.exit_code == 0, result.stderr
    trials = trials_of(bench.run)
    assert {one.state for one in trials} == {"complete"}
    methods = Counter(str((one.values or {})["merge_method"]) for one in trials)
    assert set(methods) == {"dare_ties", "della", "ties"}
    for one in trials:
        method = (one.values or {})["merge_method"]
        assert ("alpha.epsilon" in (one.values or {})) == (method == "della")
        assert refuse_strays(yaml.safe_dump(dict(one.data))) == method
    chosen = {(one.values or {})["merge_method"]: one.number for one in trials}
    for method, number in chosen.items():
        text = bench.call("export", bench.run, "--trial", number).stdout
        assert refuse_strays(text) == method
        verified = bench.call("verify", bench.run, "--trial", number)
        assert verified.exit_code == 0 and "identical" in verified.stdout
    rows = list(csv.DictReader((bench.run / "trials.csv").read_text().splitlines()))
    assert len(rows) == len(trials)
    assert all((row["alpha.epsilon"] != "") == (row["merge_method"] == "della") for row in rows)
    shown = bench.call("trials", bench.run)
    assert shown.exit_code == 0 and "NaN" not in shown.stdout and "None" not in shown.stdout
    told = "dare_ties and della draw random masks: their finalists are ranked by their mean"
    assert told in (bench.run / "report.html").read_text()
    logged = optuna.load_study(study_name="pico", storage=f"sqlite:///{bench.run / 'study.db'}")
    assert [one.params for one in logged.trials] == [dict(one.values or {}) for one in trials]


@pytest.mark.parametrize(
    ("sampler", "fault"),
    [
        ("gp", "gp needs the same dimensions in every trial; here they depend on merge_method"),
        ("cmaes", "cmaes takes one objective, the study has 2"),
    ],
)
def test_samplers_that_cannot_are_refused_before_anything_runs(
    bench: Any, sampler: str, fault: str
) -> None:
    study(bench, CHOICE, sampler=sampler)
    refused = bench.search()
    assert refused.exit_code == 2 and fault in refused.stderr and "use tpe" in refused.stderr
    assert not bench.run.exists()


def test_methods_that_read_the_same_suit_the_gaussian_process(bench: Any) -> None:
    study(bench, FIXED.replace("ties", "{choice: [ties, dare_ties]}"), trials=12, sampler="gp")
    result = bench.search()
    assert result.exit_code == 0, result.stderr
    assert {one.sampler for one in trials_of(bench.run)} == {"gp"}


def test_a_start_names_method_and_values_of_the_first_trial(bench: Any) -> None:
    text = CHOICE.replace("ties]}", "ties], start: della}", 1)
    study(bench, text.replace("[0.01, 0.3]}", "[0.01, 0.3], start: 0.2}"), trials=12)
    assert bench.search().exit_code == 0
    first = trials_of(bench.run)[0]
    assert first.name == "warm start: own recipe"
    assert (first.values or {})["merge_method"] == "della"
    assert (first.values or {})["alpha.epsilon"] == 0.2


def test_a_start_that_one_method_reads_is_that_methods(bench: Any) -> None:
    study(bench, CHOICE.replace("[0.01, 0.3]}", "[0.01, 0.3], start: 0.2}"), trials=12)
    assert bench.search().exit_code == 0
    trials = trials_of(bench.run)
    assert (trials[0].values or {})["merge_method"] == "della"
    names = [one.name for one in trials if one.name.startswith("warm start")]
    methods = {(one.values or {})["merge_method"] for one in trials[: len(names)]}
    assert methods == {"dare_ties", "della", "ties"}


def test_means_beside_task_vectors_list_the_base_for_nothing(bench: Any) -> None:
    study(bench, MEANS)
    result = bench.search()
    assert result.exit_code == 0, result.stderr
    trials = trials_of(bench.run)
    chosen = {(one.values or {})["merge_method"]: one for one in trials}
    assert set(chosen) == {"linear", "ties", "slerp"}
    for method, one in chosen.items():
        text = bench.call("export", bench.run, "--trial", one.number).stdout
        assert refuse_strays(text) == method
        listed = [Path(model["model"]).name for model in yaml.safe_load(text)["models"]]
        assert listed == (["alpha", "base"] if method == "linear" else ["alpha"])
        assert bench.call("verify", bench.run, "--trial", one.number).exit_code == 0
    data = yaml.safe_load(
        bench.call("export", bench.run, "--trial", chosen["linear"].number).stdout
    )
    assert data["models"][1]["parameters"] == {"weight": 0.0}
    assert "random masks" not in (bench.run / "report.html").read_text()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("epsilon: 0.1}", "gamma: {range: [0, 1]}}"), "gamma"),
        (("rescale: true}", "rescal: true}"), "rescale"),
        (("della, ties]", "dela, ties]"), "did you mean 'della'"),
        (("della, ties]", "della, linear]"), None),
        (("[0.01, 0.3]}", "[0.01, 0.3], start: 0.4}"), "start"),
    ],
)
def test_what_no_method_reads_is_refused_with_its_place(
    bench: Any, change: tuple[str, str], fault: str | None
) -> None:
    study(bench, CHOICE.replace(*change))
    checked = bench.call("check", bench.study)
    if fault is None:
        assert checked.exit_code == 0, checked.stderr
    else:
        assert checked.exit_code == 2 and fault in checked.stderr
        assert "study.yaml:" in checked.stderr and "Traceback" not in checked.stderr


def test_interrupted_a_choice_ends_as_if_undisturbed(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.inline import InlineExecutor

    study(bench, CHOICE, trials=16)
    score, blocks = InlineExecutor.score, []

    def stopping(self: InlineExecutor, task: str, indices: list[int]) -> object:
        blocks.append(task)
        if len(blocks) == 27:
            raise KeyboardInterrupt
        return score(self, task, indices)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "score", stopping)
        assert bench.search("--out", "stopped").exit_code == 130
    assert 6 < len(trials_of(Path("stopped"))) < 16
    assert bench.search("--out", "stopped").exit_code == 0
    assert bench.search().exit_code == 0
    same = [[(one.values, one.scores, one.recipe_hash) for one in trials_of(Path(run))]
            for run in ("stopped", bench.run)]  # fmt: skip
    assert same[0] == same[1]
