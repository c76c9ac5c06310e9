"""Attacks go through the real command: benches and runs are those of the studies' tests."""

import importlib.util
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import Result

_FILE = Path(__file__).parents[1] / "studies" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("studies_conftest", _FILE)
assert _SPEC is not None and _SPEC.loader is not None
_STUDIES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_STUDIES)
propose_here, bench = _STUDIES.propose_here, _STUDIES.bench
searched, another = _STUDIES.searched, _STUDIES.another

Refused = Callable[[Result, str], str]


def told(result: Result, message: str) -> str:
    """The one message of a command that refused; nothing on standard output, no traceback."""
    said = (result.exit_code, result.output, result.exception)
    assert result.exit_code == 2, said
    assert result.stderr.startswith("eutectic: ") and result.stderr.count("\n") == 1, said
    assert result.stdout == "" and "Traceback" not in result.stderr, said
    assert message in result.stderr, said
    return result.stderr


@pytest.fixture(scope="session")
def refused() -> Refused:
    """`refused(result, message)`: the message, which has that text in it."""
    return told


@pytest.fixture
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that code of the attacker's would create; the test says that it is not there."""
    return tmp_path_factory.mktemp("canary") / "code_ran"


@pytest.fixture
def own(bench) -> Callable[[str], Path]:
    """`own("alpha")`: a copy of a model of the bench's, in its place, to be tampered with."""

    def copied(name: str) -> Path:
        place = (bench.folder / name).resolve()
        (bench.folder / name).unlink()
        return Path(shutil.copytree(place, bench.folder / name))

    return copied


@pytest.fixture(scope="session")
def poison() -> Callable[[Path, str, str], None]:
    """`poison(run, "alpha", hostile)`: another name wherever the run's database has that one."""

    def poisoned(run: Path, old: str, new: str) -> None:
        inner = json.dumps(new)[1:-1]
        texts = {False: inner, True: json.dumps(inner)[1:-1]}  # the view is JSON in JSON

        def changed(text: str, twice: bool = False) -> str:
            return re.sub(rf"\b{old}\b", lambda _: texts[twice], text)

        with closing(sqlite3.connect(run / "study.db")) as db, db:
            for key, value in db.execute("SELECT key, value FROM eutectic_meta").fetchall():
                where = (changed(value, key == "view"), key)
                db.execute("UPDATE eutectic_meta SET value = ? WHERE key = ?", where)
            rows = db.execute("SELECT kind, number, body FROM eutectic_candidates").fetchall()
            update = "UPDATE eutectic_candidates SET body = ? WHERE kind = ? AND number = ?"
            for kind, number, body in rows:
                db.execute(update, (changed(body), kind, number))

    return poisoned
