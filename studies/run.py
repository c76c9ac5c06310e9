"""A run folder: what a search leaves behind, who holds it, and whether a study may go on in it.

study.db      the Optuna study and the ledger
study.yaml    the study as it was run: its folder, the `--map`s, hashes of models and tasks
report.html   winner.yaml   trials.csv   log.txt
tensorboard   event files, where a search was told to write them
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.ledger import Ledger

from .errors import NoWinnerError, RunError
from .run_guard import refuse_active, refuse_links

Identity = Mapping[str, Any]
"""What must not change between two searches in one folder, by section."""


WRITTEN = (
    "study.db study.db-wal study.db-shm study.yaml report.html winner.yaml trials.csv log.txt"
).split()
EVENTS = "tensorboard"
"""The folder of TensorBoard's event files."""
KEPT = (".lock", ".holder", EVENTS, *WRITTEN)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.path / "study.db"

    @property
    def study(self) -> Path:
        """The resolved study file."""
        return self.path / "study.yaml"

    @property
    def log(self) -> Path:
        """What the search said, line by line."""
        return self.path / "log.txt"

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the SQLite file."""
        return f"sqlite:///{self.database.resolve()}"

    def clear(self) -> None:
        """Deletes what a search wrote here, and nothing else."""
        for name in WRITTEN:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / EVENTS, ignore_errors=True)


def find_run(path: Path) -> RunFolder:
    """An existing run folder; raises RunError that says what is missing."""
    run = RunFolder(path)
    if not path.is_dir():
        raise RunError(
            f"{path}: no such run folder; `eutectic search STUDY` makes one under runs/"
        )
    missing = [file.name for file in (run.database, run.study) if not file.is_file()]
    if missing:
        raise RunError(f"{path}: not a run folder, it has no {' and no '.join(missing)}")
    refuse_links(path, KEPT)
    _refuse_foreign_database(run)
    return run


@contextmanager
def hold(run: RunFolder) -> Iterator[None]:
    """Holds a run folder for this process; makes it if need be.

    A folder made here in which a fault kept the search from its first trial is removed again.
    Raises RunError for a folder that holds other things, or that another process holds.
    """
    made = [path for path in (run.path, run.path.parent) if not path.exists()]
    refuse_links(run.path, KEPT)
    if run.database.is_file():
        _refuse_foreign_database(run)
    elif run.path not in made and _strangers(run.path):
        raise RunError(
            f"{run.path}: holds other things and no run (no study.db); choose another --out"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    with RunLock(run):
        try:
            yield
        except NoWinnerError:
            raise
        except Exception:
            if made and not _has_trials(run):
                shutil.rmtree(run.path)
                if run.path.parent in made and not any(run.path.parent.iterdir()):
                    run.path.parent.rmdir()
            raise


def _refuse_foreign_database(run: RunFolder) -> None:
    """Looks without changing anything: a search, or --fresh, must not touch what is not ours."""
    try:
        with closing(
            sqlite3.connect(f"{run.database.resolve().as_uri()}?mode=ro", uri=True)
        ) as db:
            tables = db.execute("SELECT name FROM sqlite_master WHERE name = 'eutectic_meta'")
            ours = tables.fetchone() is not None
    except sqlite3.Error as error:
        raise RunError(f"{run.database}: cannot be read: {error}") from None
    if not ours:
        raise RunError(f"{run.database}: a database that eutectic did not write; not a run folder")
    refuse_active(run.database)


def _strangers(path: Path) -> bool:
    if not path.is_dir():
        return True
    return any(one.name not in KEPT and one.suffix != ".partial" for one in path.iterdir())


def _has_trials(run: RunFolder) -> bool:
    if not run.database.is_file():
        return False
    with Ledger(run.url) as ledger:
        return bool(ledger.candidates("trial"))


class RunLock:
    """Holds a run folder for this process.

    A context manager. The system frees it when the process dies.
    """

    def __init__(self, run: RunFolder) -> None:
        self._path = run.path
        self._lock = FileLock(run.path / ".lock")
        self._holder = run.path / ".holder"

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{self._path}: in use by {self._who()}; wait for it, or choose another --out"
            ) from None
        self._holder.write_text(json.dumps({"pid": os.getpid()}))

    def __exit__(self, *_: object) -> None:
        self._holder.unlink(missing_ok=True)
        self._lock.release()

    def _who(self) -> str:
        try:
            return f"process {json.loads(self._holder.read_text())['pid']}"
        except (OSError, ValueError, KeyError):
            return "another process"


def refuse_other_study(ledger: Ledger, identity: Identity, run: RunFolder) -> None:
    """Raises RunError for a study that differs from what the run is about."""
    known = ledger.meta("identity")
    wanted = json.loads(json.dumps(identity))
    if known is None:
        return
    differences = [
        line
        for section in sorted({*known, *wanted})
        for line in _difference(section, known.get(section), wanted.get(section))
    ]
    if differences:
        shown = "; ".join(differences[:12])
        raise RunError(
            f"{run.path} belongs to another study: {shown}. "
            "Either start anew with --fresh (the old results are deleted), or choose another "
            f"folder and reuse what still applies: --out NEW --from {run.path}"
        )


def _difference(section: str, old: Any, new: Any) -> list[str]:
    if old == new:
        return []
    if isinstance(old, list) and isinstance(new, list):
        gone = [f"{section}: - {line}" for line in old if line not in new]
        come = [f"{section}: + {line}" for line in new if line not in old]
        return gone + come or [f"{section}: another order"]
    return [f"{section}: was {_short(old)}, is {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else text[:157] + "..."
