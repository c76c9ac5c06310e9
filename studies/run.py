"""A run folder: what a search leaves behind, who holds it, and whether a study may go on in it.

study.db      the Optuna study and the ledger, unless a database server keeps both
study.yaml    the study as it was run: its folder, the `--map`s, hashes of models and tasks
report.html   winner.yaml   trials.csv   log.txt
tensorboard   event files, where a search was told to write them
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.errors import SearchError
from search.ledger import Ledger
from search.storage import Database, holds_run
from search.storage_url import Storage, parse_url, shown

from .errors import NoWinnerError, RunError
from .kept_in import FromEnvironment, name_of, refuse_another, refuse_elsewhere, refuse_moved
from .run_guard import refuse_active, refuse_links

Identity = Mapping[str, Any]
"""What must not change between two searches in one folder, by section."""


WRITTEN = (
    "study.db study.db-wal study.db-shm study.db-journal study.yaml report.html winner.yaml "
    "trials.csv log.txt"
).split()
EVENTS = "tensorboard"
"""The folder of TensorBoard's event files."""
KEPT = (".lock", ".holder", EVENTS, *WRITTEN)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run, and where its results are."""

    path: Path
    storage: Storage | Database | None = None
    """A database server, open where this process holds the run; None: the folder's own file."""

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

    @property
    def begun(self) -> bool:
        """Whether a search may have begun here; a server knows for sure."""
        return self.storage is not None or self.database.is_file()

    @property
    def another(self) -> str:
        """What to do for a run beside this one; on a server it is its name that tells it apart."""
        if self.storage is None:
            return "choose another folder: --out NEW"
        return "give the study another `name`"

    def ledger(self) -> Ledger:
        """Opens the ledger; raises StorageError."""
        return Ledger(self.storage or self.url)

    def clear(self) -> None:
        """Deletes what a search wrote here, and nothing else; on a server, of this run."""
        if isinstance(self.storage, Database):
            from search.study_log import forget_study

            forget_study(self.storage)  # first: a log that lacks trials is caught up
            self.storage.forget()
        for name in WRITTEN:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / EVENTS, ignore_errors=True)

    @contextmanager
    def held(self) -> Iterator["RunFolder"]:
        """The same, with its database open and held for this process."""
        if not isinstance(self.storage, Storage):
            yield self
            return
        with closing(Database(self.storage)) as database, database.held():
            yield replace(self, storage=database)


def run_folder(path: Path, name: str, storage: str | None) -> RunFolder:
    """A run that need not be there yet; raises StorageError for a URL that is none."""
    return RunFolder(path, Storage(parse_url(storage), name) if storage else None)


def same_run(one: RunFolder, other: RunFolder) -> bool:
    """Whether two folders hold, or stand for, the same results."""
    if one.storage is not None and one.storage == other.storage:
        return True
    return one.path.resolve() == other.path.resolve()


def server_of(run: RunFolder) -> str:
    """The server that keeps a run's results, without user and password; empty for none."""
    return "" if run.storage is None else shown(run.storage.url)


def find_run(path: Path, storage: str | None = None) -> RunFolder:
    """An existing run; raises RunError that says what is missing.

    `storage` is the URL of the server that keeps its results; by default its own file does, and
    a folder that has one is not looked for on a server that the environment names.
    """
    run = RunFolder(path)
    if isinstance(storage, FromEnvironment) and run.database.is_file():
        storage = None
    if not path.is_dir():
        raise RunError(
            f"{path}: no such run folder; `eutectic search STUDY` makes one under runs/"
        )
    refuse_links(path, KEPT)
    refuse_elsewhere(run.study, run.database, storage)
    needed = [run.study] if storage else [run.database, run.study]
    missing = [file.name for file in needed if not file.is_file()]
    if missing:
        raise RunError(f"{path}: not a run folder, it has no {' and no '.join(missing)}")
    if not storage:
        _refuse_foreign_database(run)
        return run
    server = Storage(parse_url(storage), name_of(run.study))
    if not holds_run(server):
        raise RunError(f"{server.shown}: holds no run {server.run!r}, that of {path}")
    return RunFolder(path, server)


def find_source(path: Path, storage: str | None) -> RunFolder:
    """A run to reuse: on the server only where it has no file of its own."""
    return find_run(path, None if RunFolder(path).database.is_file() else storage)


@contextmanager
def hold(run: RunFolder) -> Iterator[RunFolder]:
    """Holds a run folder for this process, on its server too; makes the folder if need be.

    A folder made here in which a fault kept the search from its first result is removed again.
    Raises RunError for a folder that holds other things, or that another process holds.
    """
    made = [path for path in (run.path, run.path.parent) if not path.exists()]
    refuse_links(run.path, KEPT)
    refuse_elsewhere(run.study, run.database, run.storage is not None)
    if isinstance(run.storage, Storage):
        refuse_another(run.study, run.storage.run)
    if run.database.is_file():
        _refuse_foreign_database(run)
    elif run.path not in made and _strangers(run.path):
        raise RunError(
            f"{run.path}: holds other things and no run (no study.db); choose another --out"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(RunLock(run))
        held = None
        try:
            held = stack.enter_context(run.held())
            yield held
        except NoWinnerError:
            raise
        except Exception:
            if made and (held is None or _nothing_in(held)):
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
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise RunError(f"{run.database}: cannot be read: {error}") from None
    # One without any was killed while it was made.
    if tables and "eutectic_meta" not in tables:
        raise RunError(f"{run.database}: a database that eutectic did not write; not a run folder")
    refuse_active(run.database)


def _strangers(path: Path) -> bool:
    if not path.is_dir():
        return True
    return any(one.name not in KEPT and one.suffix != ".partial" for one in path.iterdir())


def _nothing_in(run: RunFolder) -> bool:
    """Whether a folder made here holds nothing yet; nor does a server then, of a new run."""
    if not (run.study.is_file() if isinstance(run.storage, Database) else run.begun):
        return True
    try:
        with run.ledger() as ledger:
            if ledger.candidates("reference") or ledger.candidates("trial"):
                return False
            if isinstance(run.storage, Database):
                run.storage.forget()
    except SearchError:
        return False  # it cannot be seen: nothing is deleted, and the first fault is told
    return True


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
    if known is None and run.storage is not None:
        refuse_moved(run.study, server_of(run))
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
            f"{_whose(run)} belongs to another study: {shown}. Either start anew with --fresh "
            f"(the old results are deleted), or {_beside(run)}"
        )


def _whose(run: RunFolder) -> str:
    return f"{run.storage.run!r} in {server_of(run)}" if run.storage else str(run.path)


def _beside(run: RunFolder) -> str:
    """A run of its own that takes along what is known."""
    if run.storage is None:
        return f"choose another folder and reuse what still applies: --out NEW --from {run.path}"
    reuse = f", and reuse what still applies: --from {run.path}" if run.study.is_file() else ""
    return run.another + reuse


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
