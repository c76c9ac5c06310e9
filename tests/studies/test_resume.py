"""A search that was stopped anywhere goes on as if it had not been; what is other is refused."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from search.inline import InlineExecutor
from search.ledger import Candidate, Ledger


def candidates(run: Path) -> list[Candidate]:
    """Everything a run knows of its candidates, but for the seconds they took."""
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        found = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return [replace(one, propose_seconds=0, build_seconds=0, score_seconds=0) for one in found]


def stop_at(patch: pytest.MonkeyPatch, block: int, stop: Callable[[], object]) -> list[object]:
    """Calls `stop` when the block of this number (from 0) is to be scored; counts items scored."""
    scored: list[object] = []
    blocks: list[object] = []
    score = InlineExecutor.score

    def counting(self: InlineExecutor, task: str, indices: list[int]) -> object:
        blocks.append(indices)
        if len(blocks) == block + 1:
            stop()
        scored.extend(indices)
        return score(self, task, indices)

    patch.setattr(InlineExecutor, "score", counting)
    return scored


def ctrl_c() -> None:
    raise KeyboardInterrupt


def test_interrupted_again_and_again_it_ends_as_if_undisturbed(
    bench, searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    for block in (3, 5, 7):  # in a reference; in a warm start; in what the sampler proposed
        with monkeypatch.context() as patch:
            scored = stop_at(patch, block, ctrl_c)
            stopped = bench.search()
        assert stopped.exit_code == 130, stopped.output
        assert "the same command goes on with it" in stopped.stderr
        seen += len(scored)
    with monkeypatch.context() as patch:
        scored = stop_at(patch, 1000, ctrl_c)
        assert bench.search().exit_code == 0
    found = candidates(bench.run)
    assert found == candidates(searched.run)
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        stored = ledger.meta("verdict")
        assert len(ledger.meta("test_opened")) == 1
    with Ledger(f"sqlite:///{searched.run / 'study.db'}") as ledger:
        assert stored == ledger.meta("verdict")
    in_search = sum(one.items for one in found)
    assert 0 < seen < in_search
    select_and_test = seen + len(scored) - in_search
    assert 0 < select_and_test < in_search  # and nothing was scored twice:
    with monkeypatch.context() as patch:
        scored = stop_at(patch, 1000, ctrl_c)
        assert bench.search().exit_code == 0
    assert scored == []


def test_ctrl_c_opens_no_test_split_and_leaves_its_outputs(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, 12, ctrl_c)
        assert bench.search().exit_code == 130
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        assert ledger.meta("test_opened") is None and ledger.meta("verdict") is None
    assert (bench.run / "report.html").is_file() and not (bench.run / "winner.yaml").exists()
    listed = (bench.run / "trials.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in listed[1:]] == ["complete", "complete", "running"]
    exported = bench.call("export", bench.run)
    assert exported.exit_code == 3 and "has not ended" in exported.stderr


def test_sigterm_is_ctrl_c(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        stop_at(patch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
        stopped = bench.search()
    assert stopped.exit_code == 130 and "is saved" in stopped.stderr
    assert signal.getsignal(signal.SIGTERM) is before
    assert (bench.run / "trials.csv").is_file()


def test_ctrl_c_while_files_are_written_spoils_none(
    another, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = another.run
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("studies.report.write_report", lambda *_: ctrl_c())
        assert another.search("--trials", "7").exit_code == 130
    assert (run / "report.html").read_bytes() == before["report.html"]
    assert len((run / "trials.csv").read_text().splitlines()) == 8
    assert another.search("--trials", "7").exit_code == 0
    assert (run / "report.html").read_bytes() != before["report.html"]


def test_killed_and_gone_on_with(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "from studies.cli import main; main()"
    arguments = ["search", str(bench.study), "--quiet", "--threads", "1", "--trials", "500"]
    killed = subprocess.Popen([sys.executable, "-c", command, *arguments])
    log = bench.run / "log.txt"
    deadline = time.monotonic() + 240
    while not (log.is_file() and "trial 5/500" in log.read_text()):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    ended = len(candidates(bench.run))
    trials = ended - 4 + 1
    assert bench.search("--trials", trials).exit_code == 0
    assert bench.search("--trials", trials, "--out", "whole").exit_code == 0
    assert candidates(bench.run) == candidates(bench.folder / "whole")
    study = optuna.load_study(study_name="pico", storage=f"sqlite:///{bench.run / 'study.db'}")
    assert [trial.number for trial in study.trials] == list(range(trials))


def test_a_larger_budget_goes_on_and_a_smaller_one_tells_again(another) -> None:
    before = candidates(another.run)
    assert another.search("--trials", "2").exit_code == 0
    assert candidates(another.run) == before
    assert another.search("--trials", "8", "--sampler", "tpe").exit_code == 0
    after = candidates(another.run)
    assert after[: len(before)] == before and len(after) == len(before) + 2
    assert [one.sampler for one in after[-2:]] == ["tpe", "tpe"]


def test_the_study_log_of_optuna_has_every_trial_once(another) -> None:
    storage = f"sqlite:///{another.run / 'study.db'}"
    trials = [one for one in candidates(another.run) if one.kind == "trial"]
    study = optuna.load_study(study_name="pico", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [trial.number for trial in study.trials] == [one.number for one in trials]
    for logged, one in zip(study.trials, trials, strict=True):
        assert logged.state.name == "COMPLETE"
        assert tuple(logged.values) == one.scores and logged.params == one.values
        assert logged.user_attrs["items"] == one.items
        assert tuple(logged.constraints.values()) == one.violations


def test_seeds(searched, bench) -> None:
    assert bench.search("--seed", "1").exit_code == 0
    ours = [one.values for one in candidates(bench.run) if one.kind == "trial"]
    theirs = [one.values for one in candidates(searched.run) if one.kind == "trial"]
    assert ours[:4] == theirs[:4] and ours[4] != theirs[4]
    assert bench.search("--seed", "0", "--out", "zero").exit_code == 0
    assert candidates(bench.folder / "zero") == candidates(searched.run)


CHANGES = [
    (("range: [0.1, 0.9]", "range: [0.1, 0.8]"), r"ranges: - .*0\.9.*ranges: \+ .*0\.8"),
    (("normalize: false", "normalize: true"), "ranges: .*normalize"),
    (('prompt: "{{question}}"', 'prompt: "Q: {{question}}"'), "tasks: - sums .*tasks: . sums"),
    (("search: 0.4, select: 0.3", "search: 0.3, select: 0.4"), "split: was .*0.4.*, is .*0.3"),
    (("max_drop: 5.0", "max_drop: 4.0"), "constraints: "),
    (("sampler: random", "sampler: random\nseed: 3"), "seed: was 0, is 3"),
    (("model: beta", "model: gamma"), "models: . beta.*models: . gamma"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[new for (_, new), _ in CHANGES])
def test_another_study_is_refused_with_the_difference_and_both_ways_on(
    another, change: tuple[str, str], message: str
) -> None:
    before = {path.name: path.read_bytes() for path in another.run.iterdir()}
    another.change(change)
    result = another.search()
    assert result.exit_code == 2
    told = result.stderr
    assert told.startswith("eutectic: runs/pico belongs to another study:")
    assert "--fresh" in told and "--out NEW --from runs/pico" in told
    import re

    assert re.search(message, told, re.DOTALL), told
    assert {path.name: path.read_bytes() for path in another.run.iterdir()} == before


def test_settings_that_change_scores_are_fixed_at_the_start(another) -> None:
    before = (another.run / "study.db").read_bytes()
    for option, value in (("--dtype", "float32"), ("--token-budget", "64"), ("--threads", "2")):
        arguments = ["search", another.study, "--quiet", option, value]
        result = another.call(*arguments)
        assert result.exit_code == 2 and "was begun with" in result.stderr, result.output
        assert value in result.stderr and "--fresh" in result.stderr
    assert (another.run / "study.db").read_bytes() == before
    assert another.call("search", another.study, "--quiet").exit_code == 0  # one thread, as begun


def test_a_changed_model_is_another_study(another) -> None:
    import shutil

    place = (another.folder / "beta").resolve()
    (another.folder / "beta").unlink()
    shutil.copytree(place, another.folder / "beta")
    (another.folder / "beta" / "added_tokens.json").write_text("{}")
    result = another.search()
    assert result.exit_code == 2 and "models: - beta" in result.stderr
    assert another.search("--fresh").exit_code == 0


def test_fresh_deletes_a_run_and_nothing_else(another) -> None:
    (another.run / "notes.txt").write_text("mine")
    first = candidates(another.run)
    assert another.search("--fresh", "--seed", "1").exit_code == 0
    assert (another.run / "notes.txt").read_text() == "mine"
    assert len(candidates(another.run)) == len(first) and candidates(another.run) != first


def test_a_refused_fresh_start_keeps_the_old_run(another) -> None:
    before = {path.name: path.read_bytes() for path in another.run.iterdir()}
    for arguments in (["--items", "50"], ["--sampler", "x"], ["--device", "toaster"]):
        assert another.search("--fresh", *arguments).exit_code == 2
    assert {path.name: path.read_bytes() for path in another.run.iterdir()} == before


def test_results_of_another_run_are_reused(another, monkeypatch: pytest.MonkeyPatch) -> None:
    another.change(("name: pico", "name: renamed"))
    scored = stop_at(monkeypatch, 1000, ctrl_c)
    # No --threads: what can change scores is taken from the run whose results are reused.
    arguments = ["search", another.study, "--quiet", "--from", another.run]
    assert another.call(*arguments).exit_code == 0
    assert scored == []
    found = candidates(another.folder / "runs" / "renamed")
    old = candidates(another.run)
    assert [one.scores for one in found] == [one.scores for one in old]
    assert sum(one.items for one in found) == 0
    assert another.call(*arguments, "--trials", "7").exit_code == 0
    assert "was seen 2 times" in (another.folder / "runs/renamed/report.html").read_text()


def test_results_that_do_not_apply_are_not_reused(
    another, monkeypatch: pytest.MonkeyPatch
) -> None:
    another.change(("name: pico", "name: other"), ("sampler: random", "sampler: random\nseed: 1"))
    scored = stop_at(monkeypatch, 1000, ctrl_c)
    assert another.search("--from", another.run).exit_code == 0
    assert scored  # other splits, other blocks
    assert "was seen" not in (another.folder / "runs/other/report.html").read_text()
    assert another.call("verify", another.folder / "runs" / "other").exit_code == 0


def test_a_run_is_not_deleted_to_be_reused(another) -> None:
    before = candidates(another.run)
    result = another.search("--fresh", "--from", another.run)
    assert result.exit_code == 2 and "--fresh would delete" in result.stderr
    assert candidates(another.run) == before
    assert another.search("--from", another.run).exit_code == 0


def test_a_run_goes_on_from_its_own_study_file(another) -> None:
    before = candidates(another.run)
    result = another.call("search", another.run / "study.yaml", "--trials", "7", "--quiet")
    assert result.exit_code == 0, result.stderr
    assert candidates(another.run)[:-1] == before


def test_a_killed_search_can_be_looked_at(another) -> None:
    with Ledger(f"sqlite:///{another.run / 'study.db'}") as ledger:
        last = ledger.candidates("trial")[-1]
        ledger.put(replace(last, number=6, name="random"))  # ended after the last outputs
    listed = another.call("trials", another.run, "--format", "csv").stdout.splitlines()
    assert len(listed) == 8 and listed[-1].startswith("6,complete,")
    with Ledger(f"sqlite:///{another.run / 'study.db'}") as ledger:
        ledger.set_meta("view", None)
    assert another.call("report", another.run, "-o", "r.html").exit_code == 0
    assert (another.folder / "r.html").stat().st_size > 100_000


def test_a_search_killed_before_it_scored_anything_has_nothing_to_show(another) -> None:
    (another.run / "study.db").unlink()
    Ledger(f"sqlite:///{another.run / 'study.db'}").close()
    for command in ("trials", "report", "export"):
        result = another.call(command, another.run)
        assert result.exit_code in (2, 3) and "eutectic search" in result.stderr, result.output
    assert another.search().exit_code == 0


def test_a_report_is_drawn_anew_where_only_a_name_is_another(another) -> None:
    assert another.search().exit_code == 0  # a copy lies elsewhere, which is told too
    another.change(("name: pico", "name: nano"))
    assert another.search("--out", another.run).exit_code == 0
    assert "of the run nano;" in (another.run / "winner.yaml").read_text()
    assert "of the run pico;" not in (another.run / "winner.yaml").read_text()
