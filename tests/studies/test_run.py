"""Run folders: found or refused with a reason, held by one process, cleared of our files only."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from search.ledger import Ledger
from studies.errors import NoWinnerError, RunError
from studies.run import RunFolder, find_run, hold, refuse_other_study

LOOKING = ["trials", "report", "export", "verify", "dashboard"]


@pytest.mark.parametrize("command", LOOKING)
def test_a_folder_that_is_no_run_is_refused(bench, command: str) -> None:
    for place, message in (
        ("nowhere", "nowhere: no such run folder"),
        (bench.folder, "not a run folder, it has no study.db"),
        (bench.study, "no such run folder"),
    ):
        result = bench.call(command, place)
        assert result.exit_code == 2 and message in result.stderr, result.output
        assert result.stdout == ""


def test_a_database_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    content = b"not a database, by far" * 100  # an empty one was killed while it was made
    (tmp_path / "study.db").write_bytes(content)
    (tmp_path / "study.yaml").write_text("name: x\n")
    for opened in (find_run, lambda path: hold(RunFolder(path)).__enter__()):
        with pytest.raises(RunError, match=r"study.db: (cannot be read|a database that)"):
            opened(tmp_path)
    assert (tmp_path / "study.db").read_bytes() == content


def test_an_optuna_study_of_somebody_else_is_left_alone(another) -> None:
    with closing(sqlite3.connect(another.run / "study.db")) as database:
        database.execute("DROP TABLE eutectic_meta")
    result = another.search("--fresh")
    assert result.exit_code == 2 and "a database that eutectic did not write" in result.stderr


def test_a_torn_database_is_told(another) -> None:
    file = another.run / "study.db"
    file.write_bytes(file.read_bytes()[:5000])
    for arguments in (["trials", another.run], ["search", another.study]):
        result = another.call(*arguments)
        assert result.exit_code == 2 and "study.db" in result.stderr, result.output


HOLDER = """
import sys, time
from pathlib import Path
from studies.run import RunFolder, hold
with hold(RunFolder(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_process_holds_a_run_and_its_death_frees_it(another) -> None:
    command = [sys.executable, "-c", HOLDER, str(another.run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            for arguments in ([], ["--fresh"]):
                result = another.search(*arguments)
                assert result.exit_code == 2
                assert f"in use by process {holder.pid}" in result.stderr
            assert another.call("trials", another.run).exit_code == 0  # looking is allowed
        finally:
            holder.kill()
    assert another.search("--trials", "6").exit_code == 0


def test_what_a_fault_kept_from_starting_leaves_no_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "runs" / "x")
    with pytest.raises(RunError), hold(run):
        run.study.write_text("name: x\n")
        raise RunError("no")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoWinnerError), hold(run):
        raise NoWinnerError("kept: there is something to see")
    assert run.path.is_dir()
    with pytest.raises(RunError), hold(run):
        raise RunError("not ours to remove any more")
    assert run.path.is_dir()


def test_holding_writes_who_holds(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with hold(run):
        with pytest.raises(RunError, match=f"in use by process {os.getpid()}"), hold(run):
            raise AssertionError("held twice")
        assert run.path.is_dir()
    with hold(run):
        assert (run.path / ".holder").is_file()
    assert not (run.path / ".holder").exists()


def test_every_difference_is_shown_in_one_line(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    first = {"ranges": ["a", "b"], "seed": 0, "split": {"test": 0.2}}
    with Ledger(run.url) as ledger:
        refuse_other_study(ledger, first, run)  # nothing is written yet: nothing to compare
        ledger.set_meta("identity", first)
        refuse_other_study(ledger, first, run)
        with pytest.raises(RunError) as told:
            refuse_other_study(ledger, {**first, "ranges": ["b", "c"], "seed": 1}, run)
        with pytest.raises(RunError, match="ranges: another order"):
            refuse_other_study(ledger, {**first, "ranges": ["b", "a"]}, run)
    assert "another study: ranges: - a; ranges: + c; seed: was 0, is 1. " in str(told.value)
