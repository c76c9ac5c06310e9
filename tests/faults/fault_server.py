"""A real PostgreSQL that is gone in the middle of a search, and comes back."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fault_cases import Case
from fault_process import finish, lines, start, until
from fault_rules import Broken

if TYPE_CHECKING:
    from postgresql_server import PostgreSQL


def database_gone(case: Case) -> int:
    """It is stopped for some seconds: the search waits; or it is killed while it waits.

    What it was told of no answer is done again, so no block is.
    """
    with served() as server:
        case.url = server.make()
        command = case.command("--storage", case.url)
        process = start(command)
        wanted = case.chance.randrange(1, case.known.blocks - 20)
        until(lambda: len(lines(command.journal, "recorded")) >= wanted, process)
        server.stop()
        dies = case.chance.random() < 0.4
        time.sleep(case.chance.uniform(0.5, case.known.longest))
        if dies:
            process.kill()
            finish(process)
        server.start()
        codes = (-signal.SIGKILL, 0) if dies else (0,)
        case.ended(finish(process), command, *codes)
        if not dies and "the database is back" not in (case.run / "log.txt").read_text():
            raise Broken("the database was gone, and nobody was told")
        return case.resumed(1)


@contextmanager
def served() -> Iterator["PostgreSQL"]:
    """A server of its own. Its folder has a short name: sockets have short names."""
    from postgresql_server import PostgreSQL

    folder = tempfile.mkdtemp(prefix="pg")
    server = PostgreSQL(Path(folder))
    try:
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
