"""What a database's error means: it is away and may come back, or one message for the user."""

import errno
import sqlite3

import sqlalchemy as sa

from .errors import StorageError
from .storage_url import FORM, scrubbed, shown

_AWAY_STATES = ("08", "57P", "53300", "55P03", "40001", "40P01")
"""SQLSTATEs, or how they begin: no connection, shutdown, too many clients, locks, deadlock."""
_AWAY_NUMBERS = frozenset(
    (0, 1040, 1042, 1053, 1158, 1159, 1160, 1161, 1205, 1213, 1317, 1927, 2002, 2003, 2006, 2013,
     2014, 2055, 4031)
)  # fmt: skip
"""Of MySQL and MariaDB: too many connections, shutdown, lost connections, locks, deadlock."""
_REFUSED_STATES, _REFUSED_NUMBERS = ("28000", "28P01"), (1044, 1045, 1698, 3118)
_FULL_STATES, _FULL_NUMBERS = ("53100",), (1021, 1114)
_REFUSED_WORDS = ("password authentication failed", "no password supplied", "Access denied")


class Away(Exception):
    """The database may be back soon; its text says what is the matter."""


def is_away(error: BaseException) -> bool:
    """Whether the same may succeed a little later."""
    if isinstance(error, Away | sa.exc.TimeoutError | sa.exc.DisconnectionError):
        return True
    if isinstance(error, sa.exc.PendingRollbackError):  # a connection was lost in a transaction
        return True
    if not isinstance(error, sa.exc.DBAPIError):
        # Optuna wraps what SQLAlchemy raises.
        cause = error.__cause__
        return isinstance(cause, sa.exc.SQLAlchemyError) and is_away(cause)
    if _is_full(error) or _is_refused(error):
        return False
    if error.connection_invalidated:
        return True
    if not isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    state, number = _state(error), _number(error)
    if number is not None:
        return number in _AWAY_NUMBERS
    return not state or state.startswith(_AWAY_STATES)


def fault(error: BaseException, url: sa.URL) -> StorageError:
    """The one message for an error that waiting does not help."""
    where = shown(url)
    if not isinstance(error, sa.exc.DBAPIError):
        cause = error.__cause__
        if isinstance(cause, sa.exc.SQLAlchemyError) and not isinstance(error, Away):
            return fault(cause, url)
        return StorageError(f"{where}: {in_short(error, url)}")
    if _is_full(error):
        return StorageError(
            f"{where}: the disk is full; what was recorded is kept: make room, and the same "
            "command goes on"
        )
    if _is_refused(error):
        return StorageError(
            f"{where}: the server refused the user or the password; the URL has the form {FORM}, "
            "where @ : / and the like in user and password are written %40 %3A %2F"
        )
    if _sqlite_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"{where}: another process keeps the file locked; end it, and the same command goes on"
        )
    return StorageError(f"{where}: {in_short(error, url)}")


def in_short(error: BaseException, url: sa.URL) -> str:
    """The first line of what the driver said, without credentials."""
    said = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    number = _number(error) if isinstance(error, sa.exc.DBAPIError) else None
    args: tuple[object, ...] = getattr(said, "args", ())
    text = str(args[-1] if number is not None else said)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for noise in ("connection failed: ", "connection is bad: "):
        lines = [line.removeprefix(noise) for line in lines]
    return scrubbed(lines[0], url) if lines else type(said).__name__


def _is_full(error: sa.exc.DBAPIError) -> bool:
    said = error.orig
    full = isinstance(said, OSError) and said.errno in (errno.ENOSPC, errno.EDQUOT)
    return (
        full
        or _sqlite_code(error) == sqlite3.SQLITE_FULL
        or _state(error) in _FULL_STATES
        or _number(error) in _FULL_NUMBERS
    )


def _is_refused(error: sa.exc.DBAPIError) -> bool:
    # A refused connection has no SQLSTATE in psycopg, but it has the server's words.
    return (
        _state(error) in _REFUSED_STATES
        or _number(error) in _REFUSED_NUMBERS
        or any(words in str(error.orig) for words in _REFUSED_WORDS)
    )


def _state(error: sa.exc.DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""


def _number(error: sa.exc.DBAPIError) -> int | None:
    """The number of a MySQL error."""
    args = getattr(error.orig, "args", ())
    return args[0] if args and isinstance(args[0], int) else None


def _sqlite_code(error: sa.exc.DBAPIError) -> int | None:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
