"""`anchors: auto` as a user has it: one number first, then gradients, with tiny models."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from search.anchors import LADDER, fewest
from search.ledger import Candidate, Ledger
from search.stages import stage_of
from studies.results import stored_view

AUTO = ("[0.0, 1.0], start: 0.5}", "[0.0, 1.0], start: 0.5, anchors: auto}")
OTHER = ("start: 0.25}", "start: 0.25, anchors: auto}")
TRIALS = ("trials: 6", "trials: 44")
NAMES = ["alpha.weight", "alpha.density", "beta.weight", "alpha.weight@0%", "alpha.weight@100%",
         "beta.weight@0%", "beta.weight@100%", "alpha.weight@50%", "beta.weight@50%"]  # fmt: skip


def trials_of(run: Path) -> list[Candidate]:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return ledger.candidates("trial")


def begin_auto(bench: Any, *changes: tuple[str, str]) -> None:
    bench.change(AUTO, OTHER, TRIALS, *changes)


@pytest.fixture(scope="module")
def grown(searched: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bench whose search went through all three stages of the family's three layers."""
    folder = tmp_path_factory.mktemp("grown") / "bench"
    shutil.copytree(searched.folder, folder, symlinks=True)
    shutil.rmtree(folder / "runs")
    bench = type(searched)(folder)
    begin_auto(bench)
    result = bench.search("--out", bench.run)
    assert result.exit_code == 0, result.stderr
    return bench


def test_every_output_copes_with_trials_of_several_stages(grown: Any) -> None:
    trials = trials_of(grown.run)
    stages = [stage_of(one.system_attrs) for one in trials]
    assert stages == sorted(stages) and set(stages) == {0, 1, 2}
    rows = list(csv.DictReader((grown.run / "trials.csv").read_text().splitlines()))
    assert list(rows[0]) == ["number", "state", *NAMES, "sums", "lines", "items"]
    for row, one in zip(rows, trials, strict=True):
        filled = {name: float(row[name]) for name in NAMES if row[name]}
        assert filled == pytest.approx(dict(one.values or {}))
    logged = optuna.load_study(study_name="pico", storage=f"sqlite:///{grown.run / 'study.db'}")
    assert [one.params for one in logged.trials] == [dict(one.values or {}) for one in trials]
    with Ledger(f"sqlite:///{grown.run / 'study.db'}") as ledger:
        view = stored_view(ledger)
    assert view is not None
    for shares in view.importance.values():
        assert not shares or set(shares) == set(NAMES[1:2] + [n for n in NAMES if "%" in n])
    shown = [one for one in view.notices if one.startswith("anchors: auto")]
    begun = [stages.index(stage) for stage in (1, 2)]
    assert shown == [
        "anchors: auto: the search began with one number for all layers, "
        f"2 from trial {begun[0]} on, 3 from trial {begun[1]} on."
    ]
    assert "anchors: auto" in (grown.run / "report.html").read_text()
    table = grown.call("trials", grown.run)
    assert table.exit_code == 0 and "NaN" not in table.stdout and "None" not in table.stdout


def test_exports_say_what_their_stage_says_and_are_verified(grown: Any) -> None:
    trials = trials_of(grown.run)
    for stage in range(3):
        one = next(one for one in reversed(trials) if stage_of(one.system_attrs) == stage)
        exported = grown.call("export", grown.run, "--trial", one.number).stdout
        models = yaml.safe_load(exported)["models"]
        for model in models:
            weight = model["parameters"]["weight"]
            written = weight if isinstance(weight, list) else [weight]
            assert len(written) == LADDER[stage] and fewest(written) == written
        verified = grown.call("verify", grown.run, "--trial", one.number)
        assert verified.exit_code == 0 and "identical" in verified.stdout


def test_the_run_goes_on_and_is_reused_and_other_anchors_are_another_study(
    grown: Any, tmp_path: Path
) -> None:
    before, run = trials_of(grown.run), tmp_path / "run"
    shutil.copytree(grown.run, run)
    assert grown.search("--out", run, "--trials", "46").exit_code == 0
    after = trials_of(run)
    assert after[: len(before)] == before and len(after) == 46
    assert [stage_of(one.system_attrs) for one in after[44:]] == [2, 2]
    anew = grown.search("--out", tmp_path / "other", "--from", run, "--json")
    assert anew.exit_code == 0 and json.loads(anew.stdout)["items"] == 0
    assert [one.values for one in trials_of(tmp_path / "other")] == [one.values for one in before]
    grown.change((AUTO[0], AUTO[1].replace("auto", "3")), OTHER, TRIALS)
    refused = grown.search("--out", run)
    begin_auto(grown)
    assert refused.exit_code == 2 and '"anchors": "auto"' in refused.stderr
    assert '"anchors": 3' in refused.stderr


def test_interrupted_about_a_growing_space_it_ends_as_if_undisturbed(
    grown: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.inline import InlineExecutor

    trials = trials_of(grown.run)
    first = next(one.number for one in trials if stage_of(one.system_attrs))
    score, blocks = InlineExecutor.score, []

    def stopping(self: InlineExecutor, task: str, indices: list[int]) -> object:
        blocks.append(task)
        if len(blocks) == 2 * (4 + first):  # two tasks, four references
            raise KeyboardInterrupt
        return score(self, task, indices)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "score", stopping)
        assert grown.search("--out", tmp_path / "run").exit_code == 130
    assert abs(len(trials_of(tmp_path / "run")) - first) <= 1
    assert grown.search("--out", tmp_path / "run").exit_code == 0
    again = trials_of(tmp_path / "run")
    assert [(one.values, one.recipe_hash, one.system_attrs) for one in again] == [
        (one.values, one.recipe_hash, one.system_attrs) for one in trials
    ]


def test_check_says_the_stages_and_what_they_are_searched_with(bench: Any) -> None:
    begin_auto(bench, ("sampler: random", "sampler: auto"))
    found = json.loads(bench.call("check", bench.study, "--json").stdout)
    assert found["dimensions"] == 3 and found["parameters"] == NAMES[:3]
    assert found["stages"] == [
        "1 anchor: 3 dimensions", "2 anchors: 5 dimensions", "3 anchors: 7 dimensions"
    ]  # fmt: skip
    assert found["sampler"].startswith("tpe (2 objectives, 3 dimensions")
    bench.change()
    plain = json.loads(bench.call("check", bench.study, "--json").stdout)
    assert "stages" not in plain


def test_an_objective_may_not_have_the_name_of_a_finer_parameter(bench: Any) -> None:
    named = "objectives: {alpha.weight@50%: {task: sums, metric: acc}}\nbudget:"
    begin_auto(bench, ("budget:", named))
    refused = bench.call("check", bench.study)
    assert refused.exit_code == 2 and "a parameter, or a column of trials.csv" in refused.stderr
