"""The ledger: every candidate and item result of a run; the truth all else is computed from.

Results are keyed by (recipe hash, evaluation settings, task, item, prompt hash) and stored in
blocks, one row a block (`result_rows`); writing a block twice changes nothing, so that whatever
the database did not answer is done again. `tables` has the tables, `storage` the databases that
they are kept in.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

import sqlalchemy as sa

from evaluation.task import ItemResult

from .block_codec import decode
from .bounded import parsed
from .errors import SearchError
from .result_rows import (
    RECIPES,
    Bodies,
    Scored,
    block_names,
    bodies,
    bodies_of,
    items_of,
    parts,
    read_rows,
    recipe_hashes,
    row_of,
    state_of,
    store,
    write_rows,
)
from .storage import Database
from .storage_url import Storage
from .tables import CANDIDATES, get_meta, put_meta

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
        self._defined: set[str] = set()
        """Blocks whose items are known to be stored."""
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

    def put(
        self, candidate: Candidate, told: Mapping[str, Any] | None = None, *, soon: bool = False
    ) -> None:
        """Stores a candidate, in the place of an earlier state of the same one.

        `told` are JSON values by name, stored with it: all of that or nothing. `soon` does not
        wait for it: what is written later is not stored earlier, and `flush` waits for all.
        """

        def store(connection: sa.Connection) -> None:
            for key, value in (told or {}).items():
                put_meta(connection, self._run, key, value)
            _put(connection, self._run, candidate)

        if soon:
            self.database.write_soon(store)
        else:
            self.database.write(store)

    def flush(self) -> None:
        """Waits until all that was put is durable."""
        self.database.flush()

    def put_all(self, candidates: Iterable[Candidate]) -> None:
        """Stores many candidates at once, all or none."""
        every = list(candidates)

        def work(connection: sa.Connection) -> None:
            for one in every:
                _put(connection, self._run, one)

        self.database.write(work)

    def state(self) -> str:
        """A digest of all that a report follows from: equal ones are of the same run as it was."""
        return self.database.read(lambda connection: state_of(connection, self._run))

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
        row = row_of(self._run, Scored(recipe_hash, settings, task, block, results))

        def work(connection: sa.Connection) -> None:
            store(connection, row, self._defined)
            if owner is not None:
                _put(connection, self._run, owner)

        self.database.write(work)
        self._defined |= {row.block} if row.items is not None else set()

    def record_all(self, scored: Iterable[Scored]) -> None:
        """Stores many blocks at once, all or none; those that are there are left."""
        rows = [row_of(self._run, one) for one in scored]

        def work(connection: sa.Connection) -> None:
            for row in rows:
                store(connection, row, self._defined)

        self.database.write(work)
        self._defined |= {row.block for row in rows if row.items is not None}

    def results(
        self, recipe_hash: str, settings: str, task: str, blocks: Collection[str] | None = None
    ) -> dict[tuple[str, str], ItemResult]:
        """What is known of one recipe on one task: (item key, prompt hash) to its numbers.

        All of it, or some blocks by name.
        """
        found = self.bodies(recipe_hash, settings, task, blocks)
        items = self.database.read(lambda connection: items_of(connection, self._run, found))
        results: dict[tuple[str, str], ItemResult] = {}
        for name in sorted(found):
            results |= decode(found[name], items.get(name))
        return results

    def block_names(self, recipe_hash: str, settings: str, task: str) -> set[str]:
        """The blocks of one recipe on one task that are there, by name."""
        key = (self._run, recipe_hash, settings, task)
        return self.database.read(lambda connection: block_names(connection, *key))

    def bodies(
        self, recipe_hash: str, settings: str, task: str, blocks: Collection[str] | None = None
    ) -> Bodies:
        """The blocks of one recipe on one task, as bytes by name; all of them, or some."""
        key = (self._run, recipe_hash, settings, task)
        return self.database.read(lambda connection: bodies(connection, *key, blocks))

    def bodies_of(
        self, recipe_hashes: Collection[str], settings: str
    ) -> dict[tuple[str, str], Bodies]:
        """The blocks of many recipes by (recipe hash, task) and name, in one query."""
        return self.database.read(
            lambda connection: bodies_of(connection, self._run, recipe_hashes, settings)
        )

    def copy_results(self, other: "Ledger") -> None:
        """Takes over every block of another run; those that do not apply are never asked for.

        A few recipes at a time: broken off, it is done again for those that are left.
        """
        hashes = other.database.read(lambda connection: recipe_hashes(connection, other._run))
        for some in parts(hashes, RECIPES):
            copied = other.database.read(partial(read_rows, run=other._run, recipe_hashes=some))
            self.database.write(
                partial(write_rows, run=self._run, recipe_hashes=some, copied=copied)
            )


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
