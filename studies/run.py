"""A run folder: what a search leaves behind, who holds it, and whether a study may go on in it.

study.db      the Optuna study and the ledger
study.yaml    the study as it was run: its folder, the `--map`s, content hashes of models and tasks
report.html   winner.yaml   trials.csv   log.txt
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from search.ledger import Ledger

from .errors import RunError

Identity = Mapping[str, Any]
"""What must not change between two searches in one folder, by section."""


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
    def url(self) -> str:
        """The SQLAlchemy URL of the SQLite file."""
        return f"sqlite:///{self.database.resolve()}"


def find_run(path: Path) -> RunFolder:
    """An existing run folder; raises RunError that says what is missing."""
    run = RunFolder(path)
    if not path.is_dir():
        raise RunError(
            f"{path}: no such run folder; `eutectic search STUDY` makes one under runs/"
        )
    if not run.database.is_file() or not run.study.is_file():
        raise RunError(f"{path}: not a run folder, study.db and study.yaml are missing")
    return run


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


def claim_identity(ledger: Ledger, identity: Identity, run: RunFolder) -> None:
    """Writes down what the run is about.

    Or refuses a study that differs from what is written there.
    """
    known = ledger.meta("identity")
    wanted = json.loads(json.dumps(identity))
    if known is None:
        ledger.set_meta("identity", wanted)
        return
    differences = [
        line
        for section in sorted({*known, *wanted})
        for line in _difference(section, known.get(section), wanted.get(section))
    ]
    if differences:
        shown = "\n".join(f"  {line}" for line in differences[:12])
        raise RunError(
            f"{run.path} belongs to another study:\n{shown}\n"
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
