"""Who holds a run on a database server: one process, or nobody.

A lock of the session (PostgreSQL's advisory lock, MySQL's GET_LOCK) on a connection of its own,
which the server frees when the process dies; all writing goes over that very connection. A lost
connection takes the lock with it: it is taken again, unless another process has taken the run
over meanwhile. Each holder leaves a token, which every transaction of writing compares with its
own and keeps in place until it is committed: who was taken over writes nothing more.

A pooler that hands out another session for each transaction (PgBouncer's transaction mode) takes
locks of the session away: connect to the server itself.
"""

import hashlib
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import sqlalchemy as sa

from .database_faults import Away, is_away
from .errors import StorageError
from .tables import get_meta, put_meta

HOLDER = "holder"
_TABLES = "\0tables"
"""In the place of a run's name: the lock of whoever makes tables."""
_GONE = 15
"""Seconds after which a server looks whether a silent holder is still there."""


class SessionLock(Protocol):
    """How one kind of server locks a name for a session."""

    def session(self, connection: sa.Connection) -> int:
        """The number of this session."""
        ...

    def take(self, connection: sa.Connection, wait: bool) -> bool:
        """Whether the lock is this session's now."""
        ...

    def end(self, connection: sa.Connection, session: int) -> None:
        """Ends another session if it holds the lock."""
        ...


class AdvisoryLock:
    """PostgreSQL's, of a database."""

    def __init__(self, name: str) -> None:
        digest = hashlib.blake2b(f"eutectic\0{name}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "little", signed=True)

    def session(self, connection: sa.Connection) -> int:
        """The process that serves it; the server is told to look after silent clients."""
        for setting in (f"idle = {_GONE}", f"interval = {_GONE}", "count = 3"):
            connection.execute(sa.text(f"SET tcp_keepalives_{setting}"))
        return int(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one())

    def take(self, connection: sa.Connection, wait: bool) -> bool:
        """At once, or when it is free."""
        name = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        query = sa.text(f"SELECT {name}(:key)")
        found = connection.execute(query, {"key": self._key}).scalar_one()
        return wait or bool(found)

    def end(self, connection: sa.Connection, session: int) -> None:
        """Only where that process holds this very lock."""
        query = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND "
            "granted AND pid = :pid AND ((classid::bigint << 32) | objid::bigint) = :key"
        )
        connection.execute(query, {"pid": session, "key": self._key})


class NamedLock:
    """MySQL's and MariaDB's, of a server."""

    def __init__(self, name: str, database: str) -> None:
        digest = hashlib.blake2b(f"{database}\0{name}".encode(), digest_size=16).hexdigest()
        self._name = f"eutectic_{digest}"

    def session(self, connection: sa.Connection) -> int:
        """The number of the connection."""
        return int(connection.execute(sa.text("SELECT CONNECTION_ID()")).scalar_one())

    def take(self, connection: sa.Connection, wait: bool) -> bool:
        """At once, or when it is free."""
        query, most = sa.text("SELECT GET_LOCK(:name, :most)"), 3600 if wait else 0
        found = connection.execute(query, {"name": self._name, "most": most}).scalar()
        return found == 1

    def end(self, connection: sa.Connection, session: int) -> None:
        """Only where that connection holds this very lock."""
        query = sa.text("SELECT IS_USED_LOCK(:name)")
        if connection.execute(query, {"name": self._name}).scalar() == session:
            connection.exec_driver_sql(f"KILL {int(session)}")


def lock_of(engine: sa.Engine, name: str) -> SessionLock:
    """The lock of a name in the database of an engine."""
    if engine.dialect.name == "postgresql":
        return AdvisoryLock(name)
    return NamedLock(name, engine.url.database or "")


class RunHold:
    """A run, held for this process; whoever uses it does so from one thread at a time."""

    def __init__(self, engine: sa.Engine, run: str, where: str) -> None:
        """Takes it.

        Raises:
            StorageError: another process holds it.
        """
        self._engine, self._run, self._where = engine, run, where
        self._lock = lock_of(engine, run)
        self._token = uuid.uuid4().hex
        self._own = self._session = 0
        """Of the newest connection; and of that which had the lock last."""
        self._taken_over = self._released = False
        self._connection: sa.Connection | None = None
        connection = self._connect()
        try:
            if not self._take(connection):
                who = _who(self._holder(connection))
                raise StorageError(f"{where}: in use by {who}; wait for it, or end it")
            holder = {"token": self._token, "pid": os.getpid(), "host": socket.gethostname()}
            with connection.begin():
                put_meta(connection, run, HOLDER, holder)
        except BaseException:
            self._drop(connection)
            raise
        self._connection = connection

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One transaction of writing, of the holder or of nobody.

        Raises:
            StorageError: another process has taken the run over, or may do so by now.
        """
        if self._taken_over:
            raise self._lost_to(None)
        if self._released:
            raise StorageError(f"{self._where}: is no longer held; nothing more is written")
        connection = self._connection or self._again()
        try:
            with connection.begin():
                holder = get_meta(connection, self._run, HOLDER, lock=True)
                if _token(holder) != self._token:
                    raise self._lost_to(holder)
                yield connection
        except BaseException as error:
            odd = connection.invalidated or is_away(error) or not isinstance(error, Exception)
            if odd or self._taken_over:
                self._drop(connection)
            raise

    def release(self) -> None:
        """Frees the run for others; a thread that is left behind writes nothing more."""
        self._released = True
        connection, self._connection = self._connection, None
        if connection is not None:
            self._drop(connection)

    def _connect(self) -> sa.Connection:
        connection = self._engine.connect()
        try:
            with connection.begin():
                self._own = self._lock.session(connection)
        except BaseException:
            self._drop(connection)
            raise
        return connection

    def _take(self, connection: sa.Connection) -> bool:
        try:
            with connection.begin():
                taken = self._lock.take(connection, wait=False)
        except BaseException:
            self._drop(connection)
            raise
        if taken:
            self._session = self._own
        return taken

    def _again(self) -> sa.Connection:
        """After the connection was lost: the lock once more, on another one."""
        connection = self._connect()
        if self._take(connection):
            self._connection = connection
            return connection
        try:
            holder = self._holder(connection)
            if _token(holder) != self._token:
                raise self._lost_to(holder)
            with connection.begin():  # the lost session may live on at the server
                self._lock.end(connection, self._session)
        finally:
            self._drop(connection)
        raise Away("the lock of the run is not free yet")

    def _holder(self, connection: sa.Connection) -> object:
        with connection.begin():
            return get_meta(connection, self._run, HOLDER)

    def _drop(self, connection: sa.Connection) -> None:
        """Really closes a connection: back in the pool it would keep the lock."""
        self._connection = None
        with suppress(sa.exc.SQLAlchemyError):
            connection.invalidate()
        with suppress(sa.exc.SQLAlchemyError):
            connection.close()

    def _lost_to(self, holder: object) -> StorageError:
        self._taken_over = True
        by = f" by {_who(holder)}" if holder else ""
        return StorageError(
            f"{self._where}: was taken over{by} while the connection to the server was lost; this "
            "process has stopped and writes nothing more"
        )


@contextmanager
def alone(engine: sa.Engine, patiently: Callable[[Callable[[], Any]], Any]) -> Iterator[None]:
    """Until the end nobody else makes tables in the database."""
    lock = lock_of(engine, _TABLES)

    def take() -> sa.Connection:
        connection = engine.connect()
        try:
            with connection.begin():
                lock.take(connection, wait=True)
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return connection

    connection = patiently(take)
    try:
        yield
    finally:
        with suppress(sa.exc.SQLAlchemyError):
            connection.invalidate()
        connection.close()


def _token(holder: object) -> object:
    return holder.get("token") if isinstance(holder, dict) else None


def _who(holder: object) -> str:
    if not isinstance(holder, dict):
        return "another process"
    return f"process {holder.get('pid')} on {holder.get('host')}"
