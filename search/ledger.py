"""The ledger: every candidate and item result of a run; the truth all else is computed from.

Results are keyed by (recipe hash, evaluation settings, task, item, prompt hash) and stored in
blocks, one row a block (`block_codec`); writing a block twice changes nothing. Which items a block
has is stored once, whoever was scored on it. Own tables are named `eutectic_*`
and stand beside Optuna's. SQLite runs in WAL mode with synchronous FULL: a block that was
recorded survives a power cut.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

import sqlalchemy as sa

from evaluation.task import ItemResult

from .block_codec import decode, encode, packed_keys, unpacked_keys
from .blocks import items_name
from .errors import SearchError

FORMAT = 2
"""Version of the tables; a run folder of another version is refused."""

_FEW = 16
"""So many blocks are asked for by name; of more all are read, and some are passed over."""
_ASKED = 500
"""Names in one query, rows held at once."""

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
_BLOCKS = sa.Table(
    "eutectic_blocks",
    _METADATA,
    sa.Column("block", sa.String(64), primary_key=True),
    sa.Column("items", sa.LargeBinary, nullable=False),
)
"""The items of blocks by name, a digest of them: the same in every run."""

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


def label(candidate: Candidate) -> str:
    """`trial 12`, a reference's name, or `random 12` of the search beside."""
    return f"trial {candidate.number}" if candidate.kind == "trial" else candidate.name


@dataclass(frozen=True, slots=True)
class Scored:
    """One block of results of a recipe, by (item key, prompt hash)."""

    recipe_hash: str
    settings: str
    task: str
    block: str
    results: Mapping[tuple[str, str], ItemResult]


@dataclass(frozen=True, slots=True)
class _Row:
    """A block as it is stored; `items` are those that its name stands for, if it is such a name."""

    key: dict[str, str]
    body: bytes
    items: list[tuple[str, str]] | None

    @classmethod
    def of(cls, one: Scored) -> "_Row":
        keys = list(one.results)
        named = items_name(keys) == one.block
        fields = ("recipe_hash", "settings", "task", "block")
        return cls(
            {name: getattr(one, name) for name in fields},
            encode(list(one.results.values()), None if named else keys),
            keys if named else None,
        )


class Ledger:
    """One open ledger; used by one process at a time, from one thread."""

    def __init__(self, url: str) -> None:
        """Opens or creates the tables at an SQLAlchemy URL.

        Raises SearchError for another format.
        """
        self._engine = sa.create_engine(url)
        self._defined: set[str] = set()
        """Blocks whose items are known to be stored."""
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
        return None if text is None else json.loads(text)

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
            return [_candidate(body) for body in connection.execute(query).scalars()]

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
        row = _Row.of(Scored(recipe_hash, settings, task, block, results))
        with self._writing() as connection:
            self._record(connection, row)
            if owner is not None:
                _put(connection, owner)

    def record_all(self, scored: Iterable["Scored"]) -> None:
        """Stores many blocks at once, all or none; those that are there are left."""
        with self._writing() as connection:
            for one in scored:
                self._record(connection, _Row.of(one))

    def _record(self, connection: sa.Connection, row: "_Row") -> None:
        there = sa.and_(*(_RESULTS.c[name] == value for name, value in row.key.items()))
        if connection.execute(sa.select(_RESULTS.c.block).where(there)).first() is not None:
            return
        block = row.key["block"]
        if row.items is not None and block not in self._defined:
            _define(connection, {block: packed_keys(row.items)})
            self._defined.add(block)
        connection.execute(sa.insert(_RESULTS).values(**row.key, body=row.body))

    def results(
        self, recipe_hash: str, settings: str, task: str, blocks: Collection[str] | None = None
    ) -> dict[tuple[str, str], ItemResult]:
        """What is known of one recipe on one task: (item key, prompt hash) to its numbers.

        All of it, or some blocks by name.
        """
        bodies = self.bodies(recipe_hash, settings, task, blocks)
        query = sa.select(_BLOCKS.c.block, _BLOCKS.c["items"])
        found: dict[tuple[str, str], ItemResult] = {}
        with self._engine.connect() as connection:
            for names in _runs(sorted(bodies), _ASKED):
                rows = connection.execute(query.where(_BLOCKS.c.block.in_(names))).tuples()
                keys = {name: unpacked_keys(items) for name, items in rows}
                for name in names:
                    found |= decode(bodies[name], keys.get(name))
        return found

    def block_names(self, recipe_hash: str, settings: str, task: str) -> set[str]:
        """The blocks of one recipe on one task that are there, by name."""
        query = (
            sa.select(_RESULTS.c.block)
            .where(_RESULTS.c.recipe_hash == recipe_hash)
            .where(_RESULTS.c.settings == settings)
            .where(_RESULTS.c.task == task)
        )
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def bodies(
        self, recipe_hash: str, settings: str, task: str, blocks: Collection[str] | None = None
    ) -> dict[str, bytes]:
        """The blocks of one recipe on one task, as bytes by name; all of them, or some."""
        query = (
            sa.select(_RESULTS.c.block, _RESULTS.c.body)
            .where(_RESULTS.c.recipe_hash == recipe_hash)
            .where(_RESULTS.c.settings == settings)
            .where(_RESULTS.c.task == task)
        )
        if blocks is not None and len(blocks) <= _FEW:
            query = query.where(_RESULTS.c.block.in_(blocks))
        with self._engine.connect() as connection:
            found = dict(iter(connection.execute(query).tuples()))
        if blocks is None:
            return found
        return {name: found[name] for name in blocks if name in found}

    def bodies_of(
        self, recipe_hashes: Collection[str], settings: str
    ) -> dict[tuple[str, str], dict[str, bytes]]:
        """The blocks of many recipes by (recipe hash, task) and name, in one query."""
        columns = (_RESULTS.c.recipe_hash, _RESULTS.c.task, _RESULTS.c.block, _RESULTS.c.body)
        query = (
            sa.select(*columns)
            .where(_RESULTS.c.recipe_hash.in_(recipe_hashes))
            .where(_RESULTS.c.settings == settings)
        )
        found: dict[tuple[str, str], dict[str, bytes]] = {}
        with self._engine.connect() as connection:
            for recipe_hash, task, block, body in connection.execute(query).tuples():
                found.setdefault((recipe_hash, task), {})[block] = body
        return found

    def copy_results(self, other: "Ledger") -> None:
        """Takes over every block of another run; those that do not apply are never asked for."""
        key = (_RESULTS.c.recipe_hash, _RESULTS.c.settings, _RESULTS.c.task, _RESULTS.c.block)
        with other._engine.connect() as source, self._writing() as connection:
            defined = source.execute(sa.select(_BLOCKS.c.block, _BLOCKS.c["items"])).tuples()
            _define(connection, dict(iter(defined)))
            mine = set(connection.execute(sa.select(*key)).tuples())
            every = source.execution_options(yield_per=_ASKED).execute(sa.select(_RESULTS))
            for part in every.mappings().partitions():
                fresh = [dict(row) for row in part if tuple(row[one.name] for one in key) not in mine]
                if fresh:
                    connection.execute(sa.insert(_RESULTS), fresh)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._engine.begin() as connection:
            yield connection


def _define(connection: sa.Connection, items: Mapping[str, bytes]) -> None:
    """Stores which items blocks have, where that is not known yet."""
    for names in _runs(sorted(items), _ASKED):
        known = sa.select(_BLOCKS.c.block).where(_BLOCKS.c.block.in_(names))
        there = set(connection.execute(known).scalars())
        fresh = [{"block": name, "items": items[name]} for name in names if name not in there]
        if fresh:
            connection.execute(sa.insert(_BLOCKS), fresh)


def _runs(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _put(connection: sa.Connection, candidate: Candidate) -> None:
    body = json.dumps({name: getattr(candidate, name) for name in Candidate.__dataclass_fields__})
    same = (_CANDIDATES.c.kind == candidate.kind) & (_CANDIDATES.c.number == candidate.number)
    connection.execute(sa.delete(_CANDIDATES).where(same))
    connection.execute(
        sa.insert(_CANDIDATES).values(kind=candidate.kind, number=candidate.number, body=body)
    )


def _candidate(body: str) -> Candidate:
    fields = json.loads(body)
    for name in ("scores", "violations", "estimates", "errors"):
        if fields[name] is not None:
            fields[name] = tuple(fields[name])
    return Candidate(**fields)


def _sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _sqlite_begin says so
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    # A deferred transaction that turns into a writing one fails at once instead of waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
