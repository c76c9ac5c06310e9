"""`from studies import Study, Run`: what the commands do, the same faults; the documents run."""

import ast
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

import studies
from search.errors import SearchError
from search.ledger import Ledger
from studies import NoWinnerError, Run, RunError, Study, StudyError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(another) -> Run:
    """A run whose search has ended."""
    return Run(another.run)


def test_what_is_exported_is_there_and_light() -> None:
    assert set(studies.__all__) <= set(dir(studies))
    assert all(getattr(studies, name).__name__ == name for name in studies.__all__)
    with pytest.raises(AttributeError, match="studies.*'Stduy'"):
        studies.Stduy  # noqa: B018
    heavy = ("torch", "transformers", "lm_eval", "optuna", "plotly", "pandas", "numba", "scipy")
    probe = (
        f"import sys, studies; studies.Study('x.yaml')\nprint({heavy!r} & sys.modules.keys())\n"
    )
    probe += "import os; print(os.environ['OMP_WAIT_POLICY'])"
    probe = probe.replace(f"{heavy!r}", f"set({heavy!r})")
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.split() == ["set()", "PASSIVE"], found.stdout + found.stderr


def test_a_search_is_that_of_the_command(bench, searched) -> None:
    run = Study(bench.study).search(quiet=True, threads=1)
    assert run.path == Path("runs/pico")
    own, theirs = run.trials(), pd.read_csv(searched.run / "trials.csv")
    pd.testing.assert_frame_equal(own, theirs, check_dtype=False)
    assert run.winner.recipe == Run(bench.run).export()
    more = Study(bench.study).search(trials=7, quiet=True)
    assert len(more.trials()) == 7 and len(run.trials()) == 6
    assert len(run.refresh().trials()) == 7


def test_trials_and_front(run: Run) -> None:
    trials, front = run.trials(), run.front()
    assert list(trials["number"]) == list(range(6))
    assert 0 < len(front) <= 6 and set(front["number"]) <= set(trials["number"])
    pd.testing.assert_frame_equal(front, run.trials(front=True))


def test_the_sealed_split_as_a_frame(run: Run) -> None:
    test, view = run.test, run.view
    assert len(test) == len(view.test_rows) * 2
    assert list(test["metric"].unique()) == ["sums acc", "lines bits_per_byte"]
    row = test[(test["kind"] == "winner") & (test["metric"] == "lines bits_per_byte")].iloc[0]
    told = view.test_rows[0].values["lines bits_per_byte"]
    assert (row["value"], row["items"]) == (told.value, told.items)
    assert not row["higher_is_better"] and pd.isna(row["difference"])
    numbers = ["value", "low", "high", "difference", "difference_low", "difference_high"]
    assert all(test[name].dtype == float for name in numbers)
    assert set(run.references["name"]) == {"base", "alpha", "beta", "uniform"}
    assert set(run.references["objective"]) == {"sums", "lines"}


def test_the_winner(run: Run, another) -> None:
    winner = run.winner
    assert winner.recipe == (another.run / "winner.yaml").read_text() == run.export("out.yaml")
    assert Path("out.yaml").read_text() == winner.recipe
    assert winner.claim == run.claim == run.view.winner.claim
    other = yaml.safe_load(run.export(trial=1, names="original"))
    assert other["base_model"] == "base" and run.export(trial=1) != winner.recipe


def test_figures_are_those_of_the_report_in_both_palettes(run: Run) -> None:
    light, dark = run.figures(), run.figures(dark=True)
    assert "front" in light and list(light) == list(dark)
    assert all(isinstance(one, go.Figure) for one in light.values())
    assert light["front"].layout.paper_bgcolor != dark["front"].layout.paper_bgcolor or (
        light["front"].layout.font.color != dark["front"].layout.font.color
    )


def test_report_and_verify(run: Run, another) -> None:
    assert run.report("own.html") == Path("own.html") and "<html" in Path("own.html").read_text()
    found = run.verify()
    assert not found.different and found.items > 0
    winner = another.run / "winner.yaml"
    winner.write_text(re.sub(r"weight: 0\.\d+", "weight: 0.987", winner.read_text()))
    if winner.read_text() != run.winner.recipe:
        assert run.verify().different


def test_what_a_notebook_shows_trusts_no_name(make_view, another) -> None:
    run = Run(another.run)
    assert "6 trials" in repr(run) and repr(run).startswith("Run(")
    shown = run._repr_html_()
    assert "<table" in shown and "sums acc" in shown and "<p><b>pico</b>" in shown
    run._view = make_view(names=("zoo/<script>alert(1)</script>", "b", "c"))
    assert "<script>" not in run._repr_html_() and "&lt;script&gt;" in run._repr_html_()


def test_a_run_without_a_winner(another) -> None:
    with Ledger(f"sqlite:///{another.run / 'study.db'}") as ledger:
        for name in ("verdict", "view"):
            ledger.set_meta(name, None)
    run = Run(another.run)
    assert run.test.empty and list(run.test.columns)[:2] == ["name", "kind"]
    assert "no winner" in repr(run) and "Nothing has won yet" in run._repr_html_()
    told = another.call("export", another.run)
    for ask in (lambda: run.claim, lambda: run.winner, run.export):
        with pytest.raises(NoWinnerError) as fault:
            ask()
        assert told.exit_code == 3 and told.stderr == f"eutectic: {fault.value}\n"


def test_a_study_of_models_alone(bench) -> None:
    made = Study.init(
        tasks=["lines.jsonl"], path="m.yaml", base="base", experts=["alpha", "beta"], method="ties"
    )
    assert made.check().data["merge_methods"] == ["ties"]
    with pytest.raises(StudyError, match="at least one"):
        Study.init(path="n.yaml", base="base")


def test_faults_are_those_of_the_command(bench) -> None:
    bench.change(("merge_method: ties", "merge_method: tiess"))
    told = bench.call("check", "study.yaml")
    with pytest.raises(ValueError) as fault:
        Study("study.yaml").check()
    assert told.exit_code == 2 and told.stderr == f"eutectic: {fault.value}\n"
    with pytest.raises(RunError, match="no such run folder"):
        Run("runs/none")
    with pytest.raises(StudyError, match="NAME|path gone does not exist"):
        Study("study.yaml", maps={"base": "gone"}).check()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trials": 0}, "trials=0: expected at least 1"),
        ({"minutes": 0.0}, "minutes=0.0: expected at least 0.01"),
        ({"minutes": math.nan}, "minutes=nan: expected at least 0.01"),
        ({"max_failed": 20}, "max_failed=20: expected at most 1"),
        ({"beside": "grid"}, "beside='grid': expected one of random"),
        ({"progress": "loud"}, "progress='loud': expected one of auto, live"),
        ({"progress": "live"}, "is no terminal"),
        ({"dtype": "int3"}, "int3"),
    ],
)
def test_arguments_that_cannot_be(bench, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=re.escape(message)):
        Study(bench.study).search(**arguments)
    assert not (bench.folder / "runs").exists()


def test_nobody_wins_and_too_many_fail(bench) -> None:
    bench.change(("max_drop: 5.0", "max: 0.001"))
    with pytest.raises(NoWinnerError, match="no winner"):
        Study(bench.study).search(quiet=True, threads=1)
    told = bench.call("export", bench.run)
    with pytest.raises(NoWinnerError, match="no candidate of the search could win") as fault:
        _ = Run(bench.run).winner
    assert told.exit_code == 3 and told.stderr == f"eutectic: {fault.value}\n"


def test_interrupted(another, monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("search.loop.Search.run", ctrl_c)
    with pytest.raises(KeyboardInterrupt, match="runs/pico is saved, the same call goes on"):
        Study(another.study).search(quiet=True)


def test_a_sampler_with_options(bench) -> None:
    study = Study(bench.study)
    run = study.search(sampler={"name": "TPESampler", "n_ei_candidates": 8}, quiet=True, threads=1)
    assert any("TPESampler" in one.origin for one in run.view.trials)


def test_studies_are_written_once(bench) -> None:
    data = yaml.safe_load(bench.text)
    study = Study.from_dict(data, "own.yaml")
    assert yaml.safe_load(study.text) == data and study.check().data["name"] == "pico"
    assert Study.from_dict(data, "own.yaml").path == study.path
    with pytest.raises(StudyError, match=r"own\.yaml: exists already"):
        Study.from_dict({**data, "seed": 3}, "own.yaml")
    with pytest.raises(StudyError, match="plain data"):
        Study.from_dict({"recipe": object()}, "other.yaml")
    assert not Path("other.yaml").exists()


def test_evaluate_as_a_frame(bench) -> None:
    found = Study(bench.study).evaluate("alpha", threads=1)
    told = bench.call("evaluate", "alpha", "--study", bench.study, "--json", "--threads", "1")
    tasks = json.loads(told.stdout)["tasks"]
    for row in found.to_dict("records"):
        one = tasks[row["task"]][row["metric"]]
        assert (row["value"], row["items"]) == (one["value"], one["items"])
    assert list(found["task"]) == ["sums", "sums", "lines"]


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('begun')\nfrom search.proposals import Proposer\n"
        "with Proposer() as proposer:\n"
        "    print(proposer._pool.submit(abs, -3).result())\nprint(__file__, __spec__)\n"
    )
    found = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert found.stdout.split("\n") == ["begun", "3", f"{script} None", ""], found.stderr


def test_the_examples_of_the_documents_run(
    bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    space: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "python.md", "exec"), space)
    out = capsys.readouterr().out
    assert "Run('runs/pico': finished, 6 trials" in out and "gpt" in out
    assert {"front.html", "winner.yaml", "merged", "again.yaml"} <= {
        one.name for one in bench.folder.iterdir()
    }


def test_the_notebook_runs(bench, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = [one for one in notebook["cells"] if one["cell_type"] == "code"]
    assert all(one["outputs"] == [] and one["execution_count"] is None for one in cells)
    (first,) = [one for one in cells if "parameters" in one["metadata"].get("tags", ())]
    first["source"] = [f"STUDY = {str(bench.study)!r}\nTRIALS = 6\nRUN = 'runs/nb'\n"]
    space: dict[str, Any] = {}
    shown = [run_cell("".join(one["source"]), space) for one in cells]
    html = [one._repr_html_() for one in shown if hasattr(one, "_repr_html_")]
    assert len(html) >= 4 and all("<" in one for one in html)
    assert any(isinstance(one, go.Figure) for one in shown)
    assert shown[-1].endswith("different: False") and (bench.folder / "runs" / "nb").is_dir()
    assert "merge_method: ties" in capsys.readouterr().out


def run_cell(source: str, space: dict[str, Any]) -> Any:
    """What a notebook does with a cell: runs it, and gives the value of its last expression."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), space)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), space)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"workers": 2, "executor": "inline"}, "inline is one worker"),
        ({"executor": "rya"}, "executor"),
        ({"address": "auto"}, "give --executor ray too"),
        ({"workers": 0}, "workers=0: expected at least 1"),
        ({"lease": 0.5}, "lease=0.5: expected at least 1"),
        ({"executor": "ray", "address": "127.0.0.1:9"}, "no Ray cluster answers there"),
    ],
)
def test_workers_are_asked_for_as_on_the_command_line(
    bench, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises((StudyError, SearchError), match=message):
        Study(bench.study).search(quiet=True, threads=1, **asked)
