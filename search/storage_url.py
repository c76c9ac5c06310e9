"""Where a run may be kept, by URL: which databases are known, their drivers, how one is shown.

A URL holds a user and a password: nothing here puts either into a message.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import quote, quote_plus

import sqlalchemy as sa

from .errors import StorageError

DRIVERS: Mapping[str, Mapping[str, str]] = {
    "postgresql": {"psycopg": "psycopg", "psycopg2": "psycopg2"},
    "mysql": {"pymysql": "pymysql", "mysqldb": "MySQLdb"},
    "mariadb": {"pymysql": "pymysql", "mysqldb": "MySQLdb"},
}
"""Database to its drivers, by SQLAlchemy's names, the first choice first; and their modules."""
EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}
FORM = "postgresql://USER:PASSWORD@HOST/DATABASE"


@dataclass(frozen=True, slots=True)
class Storage:
    """A database server, and under which name a run is kept in it."""

    url: sa.URL = field(repr=False)
    run: str

    @property
    def shown(self) -> str:
        """The database without user and password."""
        return shown(self.url)


def parse_url(text: str) -> sa.URL:
    """A server's URL with the driver that is installed; connects to nothing.

    Raises:
        StorageError: it is none, or its driver is missing.
    """
    url = _read(text.strip())
    backend, _, driver = url.drivername.partition("+")
    backend = "postgresql" if backend == "postgres" else backend
    if backend == "sqlite":
        raise StorageError(
            "--storage sqlite://...: a run folder has an SQLite file of its own already "
            f"(study.db); leave it out, or name a server: {FORM}"
        )
    if backend not in DRIVERS:
        raise StorageError(
            f"--storage {backend}://...: expected {', '.join(f'{one}://' for one in DRIVERS)}, "
            f"for example {FORM}"
        )
    if not url.database:
        raise StorageError(f"--storage {shown(url)}: names no database; expected {FORM}")
    return url.set(drivername=f"{backend}+{_driver(backend, driver)}")


def shown(url: sa.URL) -> str:
    """A database for people: without user, password and options."""
    if url.get_backend_name() == "sqlite":
        return url.database or "sqlite://"
    socket = url.query.get("host") or url.query.get("unix_socket") or ""
    host = url.host or (socket if isinstance(socket, str) else ",".join(socket))
    host = f"[{host}]" if ":" in host else host
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"


def scrubbed(text: str, url: sa.URL) -> str:
    """A driver's words without user, password, and options that are one."""
    secrets = [url.password, *(v for k, v in url.query.items() if "pass" in k.lower())]
    for secret in secrets:
        if secret and isinstance(secret, str):
            for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
                text = text.replace(form, "***")
    named = url.username if url.password or url.host else None
    for user in (named, url.query.get("user")):
        if user and isinstance(user, str):
            text = re.sub(rf"(?<!\w){re.escape(user)}(?!\w)", "***", text)
    return text


def _read(text: str) -> sa.URL:
    malformed = StorageError(
        f"--storage: not a database URL (not shown, it may hold a password); expected {FORM}, "
        "where @ : / and the like in user and password are written %40 %3A %2F"
    )
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise malformed from None
    if "@" in f"{url.host or ''}{url.database or ''}":
        raise malformed  # a part of a password that was not encoded
    return url


def _driver(backend: str, asked: str) -> str:
    known = DRIVERS[backend]
    if asked and asked not in known:
        raise StorageError(
            f"--storage {backend}+{asked}://...: eutectic speaks through "
            f"{' or '.join(known)}; write {backend}://..."
        )
    for driver in [asked] if asked else known:
        if find_spec(known[driver]) is not None:
            return driver
    missing, extra = asked or next(iter(known)), EXTRAS[backend]
    raise StorageError(
        f"--storage {backend}://...: the driver ({missing}) is missing; install it "
        f"with pip install '.[{extra}]' in its folder"
    )
