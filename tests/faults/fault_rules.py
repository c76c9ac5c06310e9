"""What is held after every fault: read from a run folder, compared with an undisturbed search."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from fault_process import journal

RESULT = ("recipe_hash", "settings", "task", "block")
"""What names a block of results in the ledger."""
SECONDS = ("propose_seconds", "build_seconds", "score_seconds")
"""What differs between two searches that are the same."""
STATES = {"complete": "COMPLETE", "failed": "FAIL", "dropped": "PRUNED", "paused": "PRUNED"}

Key = tuple[str, ...]


class Broken(Exception):
    """Something that must be held was not; says what."""


@dataclass(frozen=True, slots=True)
class Ledgered:
    """What a run's database holds, without what a clock put there."""

    results: dict[Key, bytes]
    """Blocks of item results by their keys, as they are stored."""
    candidates: dict[str, dict[str, Any]]
    meta: dict[str, Any]
    logged: list[tuple[Any, ...]]
    """Optuna's trials: number, state, values, parameters, and who it is."""


def read(run: Path, url: str = "") -> Ledgered:
    """Reads a run; one that a server keeps, whose only run it is, by its URL.

    A file is copied first: to open a database is to mend it, and nobody may help the run under
    test.
    """
    if url:
        return _opened(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with tempfile.TemporaryDirectory() as scratch:
        for file in run.glob("study.db*"):
            shutil.copy(file, scratch)
        return _opened(sa.make_url(f"sqlite:///{scratch}/study.db"))


def _opened(url: sa.URL) -> Ledgered:
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as database:
        if url.drivername == "sqlite":
            (found,) = database.exec_driver_sql("PRAGMA integrity_check").one()
            if found != "ok":
                raise Broken("the database is damaged")
        return _read(database, set(sa.inspect(database).get_table_names()))


def _read(database: sa.Connection, tables: set[str]) -> Ledgered:
    if not {"eutectic_results", "eutectic_candidates", "eutectic_meta"} <= tables:
        return Ledgered({}, {}, {}, [])

    def rows(what: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in database.exec_driver_sql(f"SELECT {what}")]

    blocks = rows(f"{', '.join(RESULT)}, body FROM eutectic_results")
    bodies = rows("kind, number, body FROM eutectic_candidates")
    meta = rows("key, value FROM eutectic_meta")
    return Ledgered(
        {row[:-1]: bytes(row[-1]) for row in blocks},
        {f"{kind} {number}": _timeless(json.loads(body)) for kind, number, body in bodies},
        {name: json.loads(text) for name, text in meta},
        _logged(rows) if "trials" in tables else [],
    )


def _timeless(candidate: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in candidate.items() if name not in SECONDS}


def _logged(rows: Callable[[str], list[tuple[Any, ...]]]) -> list[tuple[Any, ...]]:
    """Of Optuna's own tables, so that what its library would skip is seen too."""
    found = []
    for trial, number, state in rows("trial_id, number, state FROM trials"):
        values, params, told = (
            sorted(rows(f"{what} WHERE trial_id = {trial}"))
            for what in (
                "objective, value FROM trial_values",
                "param_name, param_value FROM trial_params",
                "key, value_json FROM trial_user_attributes",
            )
        )
        attributes = [one for one in told if not one[0].endswith("_seconds")]
        found.append((number, state, values, params, attributes))
    return sorted(found)


def hold_recorded(run: Path, journals: Iterable[Path], url: str = "") -> None:
    """No block that was recorded is lost: it was in the ledger before it was in the journal."""
    have = read(run, url).results if url or (run / "study.db").is_file() else {}
    told = [tuple(line[1:5]) for one in journals for line in journal(one) if line[0] == "recorded"]
    if lost := [key for key in told if key not in have]:
        raise Broken(f"{len(lost)} of {len(told)} recorded blocks are lost: {lost[0]}")


def hold_ended(run: Path, url: str = "") -> Ledgered:
    """Nothing is left under way: no trial in the ledger or the log, no file half written."""
    found = read(run, url)
    if running := [name for name, one in found.candidates.items() if one["state"] == "running"]:
        raise Broken(f"still running: {running}")
    if odd := [one for one in found.logged if one[1] not in STATES.values()]:
        raise Broken(f"left in the study log: {odd}")
    allowed = "study.db study.yaml report.html winner.yaml trials.csv log.txt .lock".split()
    if strays := sorted({one.name for one in run.iterdir()} - set(allowed)):
        raise Broken(f"left behind: {strays}")
    return found


def hold_same(run: Path, undisturbed: Path, url: str = "") -> None:
    """The run ended as the undisturbed one: results, candidates, verdict, log and files."""
    ours, theirs = hold_ended(run, url), hold_ended(undisturbed)
    for name in ("results", "candidates", "logged"):
        _alike(name, getattr(ours, name), getattr(theirs, name))
    for name in sorted({*ours.meta, *theirs.meta} - {"view", "view_of", "holder"}):
        _alike(f"meta {name}", _unclocked(ours.meta.get(name)), _unclocked(theirs.meta.get(name)))
    # A run on a server notes in its study.yaml that it is there.
    for file in ("trials.csv", "winner.yaml", *(() if url else ("study.yaml",))):
        _alike(file, (run / file).read_text(), (undisturbed / file).read_text())


def _unclocked(value: Any) -> Any:
    """Without the seconds that gradients took."""
    if isinstance(value, dict) and "points" in value:
        points = [[*one[:3], one[3][0]] for one in value["points"]]
        return {**value, "points": points}
    if isinstance(value, dict) and "seconds" in value:
        return {name: one for name, one in value.items() if name != "seconds"}
    return value


def _alike(name: str, ours: Any, theirs: Any) -> None:
    if ours == theirs:
        return
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        ours, theirs = ({key: each.get(key) for key in keys[:2]} for each in (ours, theirs))
    elif isinstance(ours, list) and isinstance(theirs, list):
        both = [one for one in ours if one in theirs]
        ours, theirs = ([one for one in each if one not in both][:2] for each in (ours, theirs))
    raise Broken(f"{name}: {str(ours)[:600]} where the undisturbed has {str(theirs)[:600]}")


def hold_message(said: Path, code: int, allowed: Iterable[int]) -> None:
    """The exit code is one of those allowed, and no traceback was printed."""
    text = said.read_text(errors="replace") if said.is_file() else ""
    if "Traceback" in text:
        raise Broken(f"a traceback: ...{text[text.index('Traceback') :][-1500:]}")
    if code not in allowed:
        raise Broken(f"exit code {code}: ...{text[-600:]}")
