"""The ledger: every candidate and item result of a run; the truth all else is computed from.

Results are keyed by (recipe hash, evaluation settings, task, item, prompt hash) and stored in
blocks, one row a block; writing a block twice changes nothing. Own tables are named `eutectic_*`
and stand beside Optuna's. SQLite runs in WAL mode with synchronous FULL: a block that was
recorded survives a power cut.
"""

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

import sqlalchemy as sa

from evaluation.task import ItemResult

from .bounded import inflate, parsed
from .errors import SearchError

FORMAT = 2
"""Version of the tables; a run folder of another version is refused."""

_METADATA = sa.MetaData()
_META = sa.Table(
    "eutectic_meta",
    _METADATA,
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_CANDIDATES = sa.Table(
    "eutectic_candidates",
    _METADATA,
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
)
_RESULTS = sa.Table(
    "eutectic_results",
    _METADATA,
    sa.Column("recipe_hash", sa.String(64), primary_key=True),
    sa.Column("settings", sa.String(64), primary_key=True),
    sa.Column("task", sa.String(200), primary_key=True),
    sa.Column("block", sa.String(64), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)


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
    """One open ledger; used by one process at a time, from one thread."""

    def __init__(self, url: str) -> None:
        """Opens or creates the tables at an SQLAlchemy URL.

        Raises SearchError for another format.
        """
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _sqlite_connect)
            sa.event.listen(self._engine, "begin", _sqlite_begin)
        try:
            _METADATA.create_all(self._engine)
            found = self.meta("format")
        except sa.exc.DatabaseError as error:
            self._engine.dispose()
            raise SearchError(f"{self._engine.url.database}: {error.orig}") from None
        if found is None:
            self.set_meta("format", FORMAT)
        elif found != FORMAT:
            raise SearchError(
                f"the run was written in format {found}, this version reads {FORMAT}; "
                "continue it with the version that wrote it, or start anew with --fresh"
            )

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
        """Writes everything into the main database file and lets go of it."""
        if self._engine.dialect.name == "sqlite":
            connection = self._engine.raw_connection()
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        self._engine.dispose()

    def meta(self, key: str) -> Any:
        """A JSON value stored under a name, None if there is none."""
        with self._engine.connect() as connection:
            text = connection.execute(
                sa.select(_META.c.value).where(_META.c.key == key)
            ).scalar_one_or_none()
        return None if text is None else parsed(text)

    def set_meta(self, key: str, value: Any) -> None:
        """Stores a JSON value under a name."""
        with self._writing() as connection:
            connection.execute(sa.delete(_META).where(_META.c.key == key))
            connection.execute(sa.insert(_META).values(key=key, value=json.dumps(value)))

    def candidates(self, kind: Kind) -> list[Candidate]:
        """All candidates of one kind in order of number."""
        query = (
            sa.select(_CANDIDATES.c.body)
            .where(_CANDIDATES.c.kind == kind)
            .order_by(_CANDIDATES.c.number)
        )
        with self._engine.connect() as connection:
            bodies = connection.execute(query).scalars().all()
        return [_candidate(body) for body in bodies]

    def put(self, candidate: Candidate) -> None:
        """Stores a candidate, in the place of an earlier state of the same one."""
        with self._writing() as connection:
            _put(connection, candidate)

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
        key = {"recipe_hash": recipe_hash, "settings": settings, "task": task, "block": block}
        there = sa.and_(*(_RESULTS.c[name] == value for name, value in key.items()))
        with self._writing() as connection:
            if connection.execute(sa.select(_RESULTS.c.block).where(there)).first() is None:
                connection.execute(sa.insert(_RESULTS).values(**key, body=body))
            if owner is not None:
                _put(connection, owner)

    def results(
        self, recipe_hash: str, settings: str, task: str, blocks: Collection[str] | None = None
    ) -> dict[tuple[str, str], ItemResult]:
        """What is known of one recipe on one task: (item key, prompt hash) to its numbers.

        All of it, or some blocks by name.
        """
        query = (
            sa.select(_RESULTS.c.body)
            .where(_RESULTS.c.recipe_hash == recipe_hash)
            .where(_RESULTS.c.settings == settings)
            .where(_RESULTS.c.task == task)
            .order_by(_RESULTS.c.block)
        )
        if blocks is not None:
            query = query.where(_RESULTS.c.block.in_(blocks))
        found: dict[tuple[str, str], ItemResult] = {}
        with self._engine.connect() as connection:
            bodies = connection.execute(query).scalars().all()
        for body in bodies:
            for key, prompt, result in parsed(inflate(body)):
                found[key, prompt] = {name: tuple(numbers) for name, numbers in result.items()}
        return found

    def copy_results(self, other: "Ledger") -> None:
        """Takes over every block of another run; those that do not apply are never asked for."""
        with other._engine.connect() as source:
            rows = source.execute(sa.select(_RESULTS)).mappings().all()
        with self._writing() as connection:
            mine = set(
                connection.execute(
                    sa.select(
                        _RESULTS.c.recipe_hash,
                        _RESULTS.c.settings,
                        _RESULTS.c.task,
                        _RESULTS.c.block,
                    )
                ).tuples()
            )
            for row in rows:
                if (row["recipe_hash"], row["settings"], row["task"], row["block"]) not in mine:
                    connection.execute(sa.insert(_RESULTS).values(**row))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._engine.begin() as connection:
            yield connection


def _put(connection: sa.Connection, candidate: Candidate) -> None:
    body = json.dumps({name: getattr(candidate, name) for name in Candidate.__dataclass_fields__})
    same = (_CANDIDATES.c.kind == candidate.kind) & (_CANDIDATES.c.number == candidate.number)
    connection.execute(sa.delete(_CANDIDATES).where(same))
    connection.execute(
        sa.insert(_CANDIDATES).values(kind=candidate.kind, number=candidate.number, body=body)
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


def _sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _sqlite_begin says so
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    # A deferred transaction that turns into a writing one fails at once instead of waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
