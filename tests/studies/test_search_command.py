"""What a search tells and leaves behind, its exit codes, and the seal of the test split."""

import json
import re
from pathlib import Path

import pytest
import yaml

from evaluation.errors import NonFiniteError
from search.inline import InlineExecutor
from search.ledger import Ledger

PARAMETERS = ["alpha.weight", "alpha.density", "beta.weight"]


def is_scores(found: object) -> bool:
    """`{task: {metric: {value, low, high}}}` of both tasks."""
    assert isinstance(found, dict)
    assert {task: list(metrics) for task, metrics in found.items()} == {
        "sums": ["acc"],
        "lines": ["bits_per_byte"],
    }
    for metrics in found.values():
        for one in metrics.values():
            assert list(one) == ["value", "low", "high"] and isinstance(one["value"], float)
    return True


def test_the_run_folder(searched) -> None:
    names = {path.name for path in searched.run.iterdir()} - {".lock"}
    assert names == {
        "study.db", "study.yaml", "report.html", "winner.yaml", "trials.csv", "log.txt",
    }  # fmt: skip
    log = (searched.run / "log.txt").read_text()
    for one in ("base [base]", "alpha [alpha]", "uniform [uniform]", "trial 5/6 [random]"):
        assert one in log
    resolved = yaml.safe_load((searched.run / "study.yaml").read_text())
    assert resolved["resolved"]["folder"] == str(searched.folder)
    assert list(resolved["resolved"]["models"]) == ["base", "alpha", "beta"]
    assert list(resolved["resolved"]["tasks"]) == ["sums", "lines"]
    assert resolved["recipe"] == yaml.safe_load(searched.text)["recipe"]


def test_trials_csv(searched) -> None:
    lines = (searched.run / "trials.csv").read_text().splitlines()
    assert lines[0].split(",") == ["number", "state", *PARAMETERS, "sums", "lines", "items"]
    assert [line.split(",")[0] for line in lines[1:]] == [str(number) for number in range(6)]
    assert all(line.split(",")[1] == "complete" for line in lines[1:])


def test_json_is_one_object_and_alone(another) -> None:
    result = another.call("search", another.study, "--json", "--threads", "1")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["run"] == str(another.run) and found["trials"] == 6
    with Ledger(f"sqlite:///{another.run / 'study.db'}") as ledger:
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    assert found["items"] == sum(one.items for one in everyone) > 0
    assert found["winner"].keys() >= {"trial", "recipe", "test"}
    assert found["winner"]["recipe"] == str(another.run / "winner.yaml")
    assert is_scores(found["winner"]["test"])
    others = {"base", "alpha", "beta", "uniform"} - {found["winner"]["name"]}
    assert found["references"].keys() == others
    assert all(is_scores(one) for one in found["references"].values())
    assert "trial 5/6" not in result.stdout and "going on after 6 trials" in result.stderr


def test_what_a_person_sees(another) -> None:
    result = another.call("search", another.study, "--threads", "1", "--trials", "7")
    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "On the sealed test split" in shown and "higher is better" in shown
    assert str(Path("runs/pico/winner.yaml")) in shown
    assert re.search(r"trial 6/7 \[random\] sums 0\.\d+ +lines \d", result.stderr)


def test_quiet_prints_the_claim_and_the_files_only(bench) -> None:
    result = bench.search("--trials", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    *claim, recipe, report, trials = result.stdout.splitlines()
    assert "nothing is claimed" in " ".join(claim)
    names = ("winner.yaml", "report.html", "trials.csv")
    assert [recipe, report, trials] == [str(Path("runs/pico") / name) for name in names]


def test_quiet_still_warns(bench) -> None:
    bench.change(("normalize: false", "normalize: false, int8_mask: true"))
    result = bench.search("--trials", "1", "--json")
    assert json.loads(result.stdout)["trials"] == 1
    told = result.stderr.splitlines()
    assert told and all(line.startswith("warning: ") for line in told)


def test_progress_as_json_lines(another) -> None:
    result = another.search("--trials", "7", "--progress", "json", "--json")
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert json.loads(result.stdout)["trials"] == 7
    assert [one["event"] for one in events[:2]] == ["start", "phase"]
    assert events[0]["budget"] == {"trials": 7} and events[0]["study"] == "pico"
    phases = [one["phase"] for one in events if one["event"] == "phase"]
    assert phases == ["references", "gradients", "search", "select", "test", "report"]
    (trial,) = [one for one in events if one.get("kind") == "trial"]
    assert (trial["number"], trial["state"]) == (6, "complete")
    assert trial["budget"] == {"trials": {"used": 7, "limit": 7}}
    assert list(trial["objectives"]) == ["sums", "lines"] and not trial["estimated"]
    assert events[-1] == {"event": "end", "time": events[-1]["time"], "state": "ended"}


def test_a_live_picture_needs_a_terminal(bench) -> None:
    for command in (("search", bench.study), ("demo",)):
        result = bench.call(*command, "--progress", "live")
        assert result.exit_code == 2 and "is no terminal" in result.stderr
    assert not (bench.folder / "runs").exists()


def test_a_search_extended_after_the_test_split_was_opened_says_so_everywhere(another) -> None:
    again = another.call("search", another.study, "--json", "--quiet")
    assert "was seen" not in again.stdout + (another.run / "report.html").read_text()
    result = another.call("search", another.study, "--json", "--quiet", "--trials", "8")
    sentence = "The test split was seen 2 times"
    assert any(one.startswith(sentence) for one in json.loads(result.stdout)["notices"])
    assert sentence in (another.run / "report.html").read_text()
    told = another.call("search", another.study, "--trials", "8")
    assert sentence in " ".join(told.stdout.split())
    assert another.call("export", another.run, "--weights", "out").exit_code == 0
    assert sentence in (another.folder / "out" / "README.md").read_text()


def test_test_is_scored_for_the_winner_and_the_references_only(searched) -> None:
    with Ledger(f"sqlite:///{searched.run / 'study.db'}") as ledger:
        verdict, settings = ledger.meta("verdict"), ledger.meta("settings")
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
        counts = {}
        for one in everyone:
            name = f"trial {one.number}" if one.kind == "trial" else one.name
            counts[name] = len(ledger.results(one.recipe_hash, settings, "sums"))
    total, search, test = 50, 20, 15
    may = {"base", "alpha", "beta", "uniform", verdict["winner"]}
    seen = {name for name, count in counts.items() if count == total}
    hashes = {one.recipe_hash for one in everyone if one.kind == "reference"}
    assert may <= seen
    assert all(
        count in (search, total - test) for name, count in counts.items() if name not in seen
    )
    twins = {f"trial {one.number}" for one in everyone if one.recipe_hash in hashes}
    assert seen - may <= twins


def test_no_test_split_is_said(bench) -> None:
    bench.change(("select: 0.3, test: 0.3", "select: 0.6, test: 0"))
    found = json.loads(bench.search("--json", "--trials", "5").stdout)
    assert "Task sums has no test split: nothing is claimed for it." in found["notices"]
    assert found["winner"]["test"] == {} and found["references"] == {}
    assert (
        "nothing is claimed" in found["winner"]["claim"]
        or "wins itself" in found["winner"]["claim"]
    )


def test_nobody_keeps_the_constraints(bench) -> None:
    bench.change(("max_drop: 5.0", "max: 0.001"))
    result = bench.search()
    assert result.exit_code == 3 and "no winner" in result.stderr and result.stdout == ""
    assert (bench.run / "trials.csv").is_file() and (bench.run / "report.html").is_file()
    assert not (bench.run / "winner.yaml").exists()


def test_trials_that_fail_are_told_and_too_many_end_in_3(bench) -> None:
    bench.change(
        ("merge_method: ties", "merge_method: linear"),
        ("weight: {range: [0.0, 1.0], start: 0.5}, density: {range: [0.1, 0.9]}", "weight: 0.5"),
        ("weight: {range: [0.0, 1.0], start: 0.25}, density: 0.5",
         "weight: {choice: [-0.5, 0.25, 0.5], start: 0.25}"),
        ("normalize: false", "normalize: true"),
        ("trials: 6", "trials: 5"),
    )  # fmt: skip
    result = bench.search()
    lines = (bench.run / "trials.csv").read_text().splitlines()[1:]
    failed = [line for line in lines if line.split(",")[1] == "failed"]
    assert failed and all(line.split(",")[2] == "-0.5" for line in failed)
    assert len(lines) == 5
    wanted = 3 if len(failed) / 5 > 0.2 else 0
    assert result.exit_code == wanted
    shown = bench.search("--max-failed", "0")
    assert shown.exit_code == 3
    assert f"{len(failed)} of 5 trials failed, more than --max-failed 0" in shown.stderr
    assert bench.search("--max-failed", "1").exit_code == 0
    assert (
        f"{len(failed)} of 5 trials failed; the first:" in (bench.run / "report.html").read_text()
    )


def test_a_candidate_that_gives_nan_is_a_failed_trial(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, calls = InlineExecutor.score, []

    def broken(self: InlineExecutor, task: str, indices: list[int]) -> object:
        calls.append(task)
        if len(calls) == 11:  # four references and a trial before it, two tasks each
            raise NonFiniteError("task 'sums': logits are NaN")
        return score(self, task, indices)

    monkeypatch.setattr(InlineExecutor, "score", broken)
    assert bench.search().exit_code == 0
    line = (bench.run / "trials.csv").read_text().splitlines()[2]
    assert line.startswith("1,failed,") and line.endswith(",,,0")


def test_a_budget_of_items_and_one_of_minutes(bench) -> None:
    bench.change(("budget: {trials: 6}", "budget: {items: 600}"))
    found = json.loads(bench.search("--json").stdout)
    assert found["state"] == "items" and found["items"] == 600 and found["trials"] == 11
    bench.change(("budget: {trials: 6}", "budget: {items: 9000, minutes: 0.00001}"))
    late = json.loads(bench.search("--json").stdout)
    assert late["state"] == "minutes" and late["trials"] == 11


LM_EVAL_TASK = """\
task: own_sums
dataset_path: json
dataset_kwargs: {data_files: {train: rows.jsonl}}
output_type: multiple_choice
training_split: train
doc_to_text: "{{question}}"
doc_to_target: answer
doc_to_choice: choices
process_results: !function scoring.score
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: letters, aggregation: !function scoring.kinds, higher_is_better: true}
  - {metric: some, aggregation: nanmean, higher_is_better: true}
"""
LM_EVAL_SCORING = """\
def score(doc, results):
    best = max(range(3), key=lambda k: results[k][0])
    right = float(best == doc["answer"])
    some = right if doc["answer"] else float("nan")
    return {"acc": right, "letters": ["abc"[best], "xyz"[best]], "some": some}


def kinds(items):
    return float(len({tuple(item) for item in items}))
"""


def test_a_task_of_lm_eval(bench) -> None:
    tasks = bench.folder / "tasks"
    tasks.mkdir()
    (tasks / "own.yaml").write_text(LM_EVAL_TASK)
    (tasks / "scoring.py").write_text(LM_EVAL_SCORING)
    (bench.folder / "sums.jsonl").rename(tasks / "rows.jsonl")
    own = "  - {name: ours, lm_eval: own_sums, include_path: tasks/}\n"
    start, end = bench.text.index("  - name: sums"), bench.text.index("  - name: lines")
    read = "constraints:\n  - {task: ours, metric: letters, min: 0}\n"
    bench.change((bench.text[start:end], own), ("constraints:\n", read))
    allow = ("--allow-code", "tasks/own.yaml")
    for command in ("search", "check"):
        refused = bench.call(command, bench.study, "--allow-code", "tasks/scoring.py")
        assert refused.exit_code == 2 and " ".join(allow) in refused.stderr
    assert not (bench.folder / "runs").exists()
    found = json.loads(bench.search("--json", *allow).stdout)
    assert found["trials"] == 6 and list(found["winner"]["test"]["ours"]) == ["acc", "letters"]
    arguments = ["evaluate", "alpha", "--study", bench.study, "--json", "--trust-task-code"]
    scores = json.loads(bench.call(*arguments, "--threads", "1").stdout)["tasks"]["ours"]
    assert list(scores) == ["acc", "letters", "some"] and scores["acc"]["items"] == 50
    assert scores["letters"]["value"] == int(scores["letters"]["value"]) > 1
    assert scores["letters"]["stderr"] is not None
    assert bench.call("verify", bench.run, *allow).exit_code == 0  # NaN and texts are as recorded
    assert bench.call("trials", bench.run).exit_code == 0  # and no code runs for looking
