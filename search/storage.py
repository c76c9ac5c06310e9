"""An open database: SQLite in a run folder (the default), PostgreSQL or MySQL by URL.

SQLite runs in WAL mode with synchronous FULL: what was recorded survives a power cut. Reading
never waits for writing. Writing is done by one process, the one that holds the run, from one
thread at a time; reading from any number. While a database is away, both wait (`patience`).
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from .commits import Commits
from .database_faults import in_short
from .errors import StorageError
from .file_systems import refuse_network
from .patience import Patience
from .run_lock import RunHold, alone
from .storage_url import Storage, shown
from .tables import FORMAT, delete_run, found_format, get_meta, make_tables, refuse_newer

T = TypeVar("T")

_READING = {"eutectic_reading": True}
_CONNECT = 10
"""Seconds until a server must have answered."""
_SILENT = 300
"""Seconds until MySQL must have answered a statement."""


class Database:
    """One open database; for several threads of one process."""

    def __init__(self, where: "Storage | sa.URL | str") -> None:
        """Opens it; makes no tables.

        Args:
            where: A run on a server, or the URL of a run folder's SQLite file.

        Raises:
            StorageError: the server refuses, or the file lies on a network file system.
        """
        server = isinstance(where, Storage)
        self.url = where.url if isinstance(where, Storage) else sa.make_url(where)
        self.run = where.run if isinstance(where, Storage) else ""
        self.where = f"{shown(self.url)}, run {self.run}" if server else shown(self.url)
        self.patience = Patience(self.url)
        self.hold: RunHold | None = None
        self._commits = Commits(self._commit)
        if not server and self.url.database:
            refuse_network(Path(self.url.database))
        # A lost connection is told once, in words: not in tracebacks of the pool.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        try:
            self.engine = sa.create_engine(self.url, **engine_options(self.url))
        except (TypeError, ValueError, sa.exc.ArgumentError) as error:
            raise self._odd_option(error) from None
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _sqlite_connect)
            sa.event.listen(self.engine, "begin", _sqlite_begin)

    def ready(self) -> None:
        """Makes the tables where there are none, brings older ones up to date.

        Raises:
            StorageError: they are of a newer version, or the database refuses.
        """
        if self.read(self._is_ready):
            return
        if self.engine.dialect.name == "sqlite":
            self.write(lambda connection: make_tables(connection, self.where))
        else:
            with self.making_tables():
                self.write(lambda connection: make_tables(connection, self.where))

    def _is_ready(self, connection: sa.Connection) -> bool:
        found = found_format(connection)
        if found is not None:
            refuse_newer(found, connection, self.where)
        return found == FORMAT

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` finds, in one transaction; PostgreSQL shows each statement its own state."""

        def reading() -> T:
            with self.engine.connect().execution_options(**_READING) as connection:
                return work(connection)

        return self._patiently(reading)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Does `work` in one transaction, all of it or nothing; with what other threads write.

        Raises:
            StorageError: another process has taken the run over; nothing was written.
        """
        return self._commits.write(work)

    def write_soon(self, work: Callable[[sa.Connection], object]) -> None:
        """Does `work` after all earlier writes, without waiting; a later one raises its error."""
        self._commits.soon(work)

    def flush(self) -> None:
        """Waits until all that was written is durable."""
        self._commits.flush()

    def _commit(self, work: Callable[[sa.Connection], T]) -> T:
        def writing() -> T:
            if self.hold is not None:
                with self.hold.transaction() as connection:
                    return work(connection)
            with self.engine.begin() as connection:
                return work(connection)

        return self._patiently(writing)

    def _patiently(self, work: Callable[[], T]) -> T:
        try:
            found = self.patience(work)
        except StorageError:
            raise
        except (TypeError, ValueError, OSError) as error:  # what a driver makes of such an option
            if self.patience.opened or not self.url.query:
                raise
            raise self._odd_option(error) from None
        self.patience.opened = True
        return found

    def _odd_option(self, error: Exception) -> StorageError:
        said = in_short(error, self.url)
        return StorageError(f"{self.where}: an option of the URL (after ?) is at fault: {said}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the run on its server for this process.

        Raises:
            StorageError: another process holds it.
        """
        self.ready()
        self.hold = hold = self._patiently(lambda: RunHold(self.engine, self.run, self.where))
        try:
            yield
        finally:
            hold.release()

    def check_held(self) -> None:
        """Raises StorageError where another process has taken the run over."""
        if self.hold is not None:
            self.write(lambda connection: None)

    @contextmanager
    def making_tables(self) -> Iterator[None]:
        """Alone among all processes that would make tables in a server's database."""
        if self.engine.dialect.name == "sqlite":
            yield
        else:
            with alone(self.engine, self._patiently):
                yield

    def forget(self, spared: str = "holder") -> None:
        """Deletes the run's rows."""
        self.write(lambda connection: delete_run(connection, self.run, spared))

    def close(self) -> None:
        """Lets go of it; an SQLite file is whole by itself then."""
        self.patience.close()
        if self.engine.dialect.name == "sqlite":
            # On a full disk the log stays beside the file: nothing of it is lost.
            with suppress(sqlite3.Error, sa.exc.DBAPIError):
                with closing(self.engine.raw_connection()) as connection:
                    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.engine.dispose()


def holds_run(storage: Storage) -> bool:
    """Whether a search has begun a run on a server; makes nothing there."""
    database = Database(storage)

    def look(connection: sa.Connection) -> bool:
        found = found_format(connection)
        if found is None:
            return False
        refuse_newer(found, connection, database.where)
        return get_meta(connection, storage.run, "identity") is not None

    try:
        return database.read(look)
    finally:
        database.engine.dispose()


def engine_options(url: sa.URL) -> dict[str, Any]:
    """Arguments of `sqlalchemy.create_engine`: for the ledger's engine and Optuna's alike."""
    backend, driver = url.get_backend_name(), url.get_driver_name()
    if backend == "sqlite":
        wanted: dict[str, Any] = {"timeout": 60}
    elif backend == "postgresql":
        # A server that is gone without a word is noticed within a minute or so.
        wanted = {
            "connect_timeout": _CONNECT,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
            "application_name": "eutectic",
        }
    else:
        wanted = {"connect_timeout": _CONNECT, "read_timeout": _SILENT}
        if driver == "pymysql":
            wanted["write_timeout"] = _SILENT
    return {
        "connect_args": {key: value for key, value in wanted.items() if key not in url.query},
        "hide_parameters": True,
        "pool_pre_ping": backend != "sqlite",
        "pool_size": 4,
        "max_overflow": 4,
        "pool_timeout": 300,
    }


def _sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _sqlite_begin says so
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    # A deferred transaction that turns into a writing one fails at once instead of waiting.
    reading = "eutectic_reading" in connection.get_execution_options()
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
