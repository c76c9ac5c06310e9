"""The ledger: every candidate and item result of a run; the truth all else is computed from.

Results are keyed by (recipe hash, evaluation settings, task, item, prompt hash) and stored in
blocks, one row a block; writing a block twice changes nothing, so that whatever the database did
not answer is done again. `tables` has the tables, `storage` the databases that they are kept in.
"""

import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

import sqlalchemy as sa

from evaluation.task import ItemResult

from .bounded import inflate, parsed
from .errors import SearchError
from .storage import Database
from .storage_url import Storage
from .tables import CANDIDATES, RESULTS, get_meta, put_meta

Kind = Literal["trial", "reference", "beside"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe of a run: a trial (numbered from 0) or a reference (base, parents, uniform).

    Or one of the random search beside it, numbered by itself: no sampler and no front hears of it.

    `values` are the parameters by their names, None for a reference; `data` is the recipe as
    plain data. `scores` are objective values on the search split in the order of the study's
    objectives, `violations` those of its constraints; who was dropped or waits (`paused`) in a
    race has `estimates` instead, of both. `items` counts item evaluations that this candidate
    cost, not those the ledger already had.
    """

    kind: Kind
    number: int
    name: str
    data: Mapping[str, Any]
    recipe_hash: str
    values: Mapping[str, Any] | None = None
    role: str = ""
    """Of a reference: base | parent | uniform."""
    state: Literal["running", "complete", "failed", "dropped", "paused"] = "running"
    scores: tuple[float, ...] | None = None
    violations: tuple[float, ...] = ()
    estimates: tuple[float, ...] | None = None
    """Of the objectives, from the items scored so far; at the end of a race, of every trial."""
    errors: tuple[float, ...] | None = None
    """Standard errors of the estimates, at the end of a race."""
    dropped_for: str = ""
    """Label of who was shown to dominate it in a race."""
    looks: int = 0
    """How often a race looked at it: what it was scored on follows from that."""
    items: int = 0
    propose_seconds: float = 0.0
    build_seconds: float = 0.0
    score_seconds: float = 0.0
    wall_seconds: float | None = None
    """With several workers: how much longer the search took; None: as long as all of these."""
    error: str | None = None
    settings: str = ""
    """Under which evaluation settings the scores were found."""
    watermark: int = -1
    """The last trial number whose result the proposal saw."""
    coordinates: Mapping[str, Any] | None = None
    system_attrs: Mapping[str, Any] | None = None
    sampler: str = ""

    @property
    def standing(self) -> tuple[float, ...] | None:
        """What it is ranked by: its estimates if there are any, else its scores."""
        return self.scores if self.estimates is None else self.estimates

    def ended(self, **changes: Any) -> "Candidate":
        """The same candidate with its outcome filled in."""
        return replace(self, **changes)


SCORED = frozenset({"complete", "dropped", "paused"})
"""States of candidates of which results are known."""


def is_known(candidate: Candidate) -> bool:
    """Whether results of a candidate are known, though it may be scored on more right now."""
    return candidate.state in SCORED or (candidate.state == "running" and candidate.looks > 0)


def label(candidate: Candidate) -> str:
    """`trial 12`, a reference's name, or `random 12` of the search beside."""
    return f"trial {candidate.number}" if candidate.kind == "trial" else candidate.name


class Ledger:
    """One open ledger of a run; for several threads of the process that holds the run."""

    def __init__(self, where: "Database | Storage | sa.URL | str") -> None:
        """Opens it; makes its tables where there are none.

        Args:
            where: An open database, which stays open; a run on a server; or the URL of a run
                folder's SQLite file.

        Raises:
            StorageError: the database refuses, or is of a newer version.
        """
        self._owned = not isinstance(where, Database)
        self.database = where if isinstance(where, Database) else Database(where)
        self._run = self.database.run
        try:
            self.database.ready()
        except BaseException:
            if self._owned:
                self.database.engine.dispose()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of a database that was opened here."""
        if self._owned:
            self.database.close()

    def meta(self, key: str) -> Any:
        """A JSON value stored under a name, None if there is none."""
        return self.database.read(lambda connection: get_meta(connection, self._run, key))

    def set_meta(self, key: str, value: Any) -> None:
        """Stores a JSON value under a name."""
        self.database.write(lambda connection: put_meta(connection, self._run, key, value))

    def candidates(self, kind: Kind) -> list[Candidate]:
        """All candidates of one kind in order of number."""
        query = (
            sa.select(CANDIDATES.c.body)
            .where(CANDIDATES.c.run == self._run)
            .where(CANDIDATES.c.kind == kind)
            .order_by(CANDIDATES.c.number)
        )
        bodies = self.database.read(lambda connection: connection.scalars(query).all())
        return [_candidate(body) for body in bodies]

    def put(self, candidate: Candidate, told: Mapping[str, Any] | None = None) -> None:
        """Stores a candidate, in the place of an earlier state of the same one.

        `told` are JSON values by name, stored with it: all of that or nothing.
        """

        def store(connection: sa.Connection) -> None:
            for key, value in (told or {}).items():
                put_meta(connection, self._run, key, value)
            _put(connection, self._run, candidate)

        self.database.write(store)

    def record(
        self,
        recipe_hash: str,
        settings: str,
        task: str,
        block: str,
        results: Mapping[tuple[str, str], ItemResult],
        owner: Candidate | None = None,
    ) -> None:
        """Stores one block of results by (item key, prompt hash).

        A block already there is left as it is. `owner` is the candidate with what it has cost so
        far: both are stored, or neither, so that a kill leaves no item uncounted.
        """
        rows = [[key, prompt, dict(result)] for (key, prompt), result in results.items()]
        body = zlib.compress(json.dumps(rows).encode(), 1)
        key = {
            "run": self._run,
            "recipe_hash": recipe_hash,
            "settings": settings,
            "task": task,
            "block": block,
        }
        there = sa.and_(*(RESULTS.c[name] == value for name, value in key.items()))

        def store(connection: sa.Connection) -> None:
            if connection.execute(sa.select(RESULTS.c.block).where(there)).first() is None:
                connection.execute(sa.insert(RESULTS).values(**key, body=body))
            if owner is not None:
                _put(connection, self._run, owner)

        self.database.write(store)

    def results(
        self, recipe_hash: str, settings: str, task: str, blocks: Collection[str] | None = None
    ) -> dict[tuple[str, str], ItemResult]:
        """What is known of one recipe on one task: (item key, prompt hash) to its numbers.

        All of it, or some blocks by name.
        """
        query = (
            sa.select(RESULTS.c.body)
            .where(RESULTS.c.run == self._run)
            .where(RESULTS.c.recipe_hash == recipe_hash)
            .where(RESULTS.c.settings == settings)
            .where(RESULTS.c.task == task)
            .order_by(RESULTS.c.block)
        )
        if blocks is not None:
            query = query.where(RESULTS.c.block.in_(blocks))
        found: dict[tuple[str, str], ItemResult] = {}
        for body in self.database.read(lambda connection: connection.scalars(query).all()):
            for key, prompt, result in parsed(inflate(body)):
                found[key, prompt] = {name: tuple(numbers) for name, numbers in result.items()}
        return found

    def copy_results(self, other: "Ledger") -> None:
        """Takes over every block of another run; those that do not apply are never asked for."""
        theirs = [*RESULTS.c[1:]]
        wanted = sa.select(*theirs).where(RESULTS.c.run == other._run)
        rows = other.database.read(lambda connection: connection.execute(wanted).mappings().all())
        mine = sa.select(*theirs[:-1]).where(RESULTS.c.run == self._run)

        def copy(connection: sa.Connection) -> None:
            known = set(connection.execute(mine).tuples())
            for row in rows:
                if (row["recipe_hash"], row["settings"], row["task"], row["block"]) not in known:
                    connection.execute(sa.insert(RESULTS).values(**row, run=self._run))

        self.database.write(copy)


def _put(connection: sa.Connection, run: str, candidate: Candidate) -> None:
    body = json.dumps({name: getattr(candidate, name) for name in Candidate.__dataclass_fields__})
    same = (
        (CANDIDATES.c.run == run)
        & (CANDIDATES.c.kind == candidate.kind)
        & (CANDIDATES.c.number == candidate.number)
    )
    connection.execute(sa.delete(CANDIDATES).where(same))
    connection.execute(
        sa.insert(CANDIDATES).values(
            run=run, kind=candidate.kind, number=candidate.number, body=body
        )
    )


def _candidate(body: str) -> Candidate:
    fields = parsed(body)
    try:
        for name in ("scores", "violations", "estimates", "errors"):
            if fields[name] is not None:
                fields[name] = tuple(fields[name])
        return Candidate(**fields)
    except (TypeError, KeyError) as error:
        raise SearchError(f"a candidate in the run is damaged: {error}") from None
