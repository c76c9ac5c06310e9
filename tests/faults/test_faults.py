"""Searches broken on purpose: 24 here, hundreds by `scripts/stress --part faults`.

What is held after each is in `fault_rules`; that it is looked at is tested here too.
"""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fault_bench import furnish
from fault_cases import Undisturbed, undisturbed
from fault_kinds import KINDS, break_and_resume
from fault_process import finish, start
from fault_rules import Broken, hold_ended, hold_message, hold_recorded, hold_same

SEED = 2026
TWICE = (
    "kill -9 at a statement",
    "kill -9 at a moment",
    "kill -9 at a file",
    "power cut",
    "disk full",
)
SLOW = (
    "worker hangs",
    "worker out of memory",
    "poisonous recipe",
    "SIGTERM, Ctrl-C with workers",
)
"""Left to `scripts/stress`: workers start again and again; other tests try them too."""
CASES = [(kind, 0) for kind in KINDS if kind not in SLOW] + [(kind, 1) for kind in TWICE]


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory, pico_family) -> Undisturbed:
    """The undisturbed search."""
    return undisturbed(furnish(tmp_path_factory.mktemp("broken") / "bench", pico_family.root))


def test_there_are_enough() -> None:
    assert len(CASES) >= 24


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_what_is_broken_goes_on_as_if_it_were_not(
    known: Undisturbed, kind: str, number: int, tmp_path: Path
) -> None:
    outcome = break_and_resume(known, kind, f"{SEED} {number}", tmp_path / "case")
    assert outcome.kind == kind


def lose_a_block(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM eutectic_results WHERE rowid = 5")


def count_twice(database: sqlite3.Connection) -> None:
    database.execute(
        "UPDATE eutectic_candidates SET body = replace(body, '\"items\": ', '\"items\": 1')"
        " WHERE kind = 'trial' AND number = 3"
    )


def leave_running(database: sqlite3.Connection) -> None:
    database.execute(
        "UPDATE eutectic_candidates SET body = replace(body, '\"complete\"', '\"running\"')"
    )


def leave_a_trial_in_the_log(database: sqlite3.Connection) -> None:
    database.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 1")


def open_the_test_again(database: sqlite3.Connection) -> None:
    database.execute("UPDATE eutectic_meta SET value = '[1, 2]' WHERE key = 'test_opened'")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lose_a_block, "results: "),
        (count_twice, "candidates: .*trial 3"),
        (leave_running, "still running"),
        (leave_a_trial_in_the_log, "left in the study log"),
        (open_the_test_again, "meta test_opened"),
    ],
)
def test_what_is_not_held_is_seen(
    known: Undisturbed, harm: Callable[[sqlite3.Connection], None], message: str, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(known.run, tmp_path / "run"))
    hold_same(run, known.run)
    with closing(sqlite3.connect(run / "study.db")) as database:
        harm(database)
        assert database.total_changes
        database.commit()
    with pytest.raises(Broken, match=message):
        hold_same(run, known.run)


def test_what_is_lost_or_left_or_said_is_seen(known: Undisturbed, tmp_path: Path) -> None:
    run = Path(shutil.copytree(known.run, tmp_path / "run"))
    journal = tmp_path / "journal"
    journal.write_text("scored\tsums\nrecorded\ta\tb\tsums\tc\n")
    with pytest.raises(Broken, match="1 of 1 recorded blocks are lost"):
        hold_recorded(run, [journal])
    (run / "report.html.partial").touch()
    with pytest.raises(Broken, match="left behind"):
        hold_ended(run)
    said = tmp_path / "said"
    said.write_text("Traceback (most recent call last):\n")
    with pytest.raises(Broken, match="a traceback"):
        hold_message(said, 0, (0,))
    said.write_text("eutectic: no such study\n")
    with pytest.raises(Broken, match="exit code 2"):
        hold_message(said, 2, (0, 130))


def test_a_command_that_hangs_is_killed(known: Undisturbed, tmp_path: Path) -> None:
    import random

    from fault_cases import Case

    case = Case(known, tmp_path / "case", random.Random(0), [])
    with pytest.raises(TimeoutError, match="still running after 0 s"):
        finish(start(case.command()), patience=0.2)
