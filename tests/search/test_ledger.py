"""The ledger keeps what it is given, once, and survives being closed or killed."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from search.errors import SearchError
from search.ledger import Candidate, Ledger


def url(path: Path) -> str:
    return f"sqlite:///{path / 'study.db'}"


def a_trial(number: int) -> Candidate:
    return Candidate(
        "trial", number, "tpe", {"merge_method": "linear"}, f"hash{number}", values={"w": 0.1}
    )


def test_candidates_come_back_in_order_and_as_they_were(tmp_path: Path) -> None:
    with Ledger(url(tmp_path)) as ledger:
        for number in (2, 0, 1):
            ledger.put(a_trial(number))
        ended = a_trial(1).ended(
            state="complete", scores=(0.1, 1 / 3), violations=(-0.5,), items=7
        )
        ledger.put(ended)
    with Ledger(url(tmp_path)) as ledger:
        found = ledger.candidates("trial")
        assert [one.number for one in found] == [0, 1, 2]
        assert found[1] == ended
        assert ledger.candidates("reference") == []


def test_a_block_is_stored_once_and_numbers_are_exact(tmp_path: Path) -> None:
    first = {("a", "p"): {"acc": (1.0,), "nll": (0.1 + 0.2, 3.0)}}
    with Ledger(url(tmp_path)) as ledger:
        ledger.record("r", "s", "t", "b", first)
        ledger.record("r", "s", "t", "b", {("a", "p"): {"acc": (0.0,), "nll": (9.0, 9.0)}})
        assert ledger.results("r", "s", "t") == first


@pytest.mark.parametrize("other", [("x", "s", "t"), ("r", "x", "t"), ("r", "s", "x")])
def test_another_recipe_setting_or_task_has_no_results(
    tmp_path: Path, other: tuple[str, str, str]
) -> None:
    with Ledger(url(tmp_path)) as ledger:
        ledger.record("r", "s", "t", "b", {("a", "p"): {"acc": (1.0,)}})
        assert ledger.results(*other) == {}


def test_results_of_another_run_are_taken_over(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with Ledger(url(old)) as source, Ledger(url(new)) as target:
        source.record("r", "s", "t", "b", {("a", "p"): {"acc": (1.0,)}})
        target.copy_results(source)
        target.copy_results(source)
        assert target.results("r", "s", "t") == {("a", "p"): {"acc": (1.0,)}}


def test_another_format_is_refused(tmp_path: Path) -> None:
    with Ledger(url(tmp_path)) as ledger:
        ledger.set_meta("format", 999)
    with pytest.raises(
        SearchError, match="format 999.* --upgrade eutectic, or start anew with --fresh"
    ):
        Ledger(url(tmp_path))


def test_what_was_recorded_survives_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom search.ledger import Ledger\n"
        "ledger = Ledger(sys.argv[1])\n"
        "ledger.record('r', 's', 't', 'b', {('a', 'p'): {'acc': (1.0,)}})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, url(tmp_path)], check=False)
    assert ended.returncode == -9
    with Ledger(url(tmp_path)) as ledger:
        assert ledger.results("r", "s", "t") == {("a", "p"): {"acc": (1.0,)}}


def test_closing_leaves_one_whole_file(tmp_path: Path) -> None:
    with Ledger(url(tmp_path)) as ledger:
        ledger.put(a_trial(0))
    assert (tmp_path / "study.db-wal").exists() is False or not (
        tmp_path / "study.db-wal"
    ).stat().st_size
    rows = sqlite3.connect(tmp_path / "study.db").execute(
        "select count(*) from eutectic_candidates"
    )
    assert rows.fetchone() == (1,)
