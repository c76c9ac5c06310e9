"""What a stranger's run folder may not hold: links, pipes, a database that acts by itself.

A search writes where a run is. A log.txt that is a link to ~/.profile would be written through,
and so would a database whose tables are views or have triggers. Nothing of that is ever made here.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from .errors import RunError

OURS = "type = 'table' AND sql NOT LIKE 'create virtual%' OR type = 'index'"
"""What eutectic and Optuna make in a database, as SQLite lists it."""


def refuse_links(folder: Path, names: Iterable[str]) -> None:
    """Raises RunError for a file of a run, by its name, that is a link, a pipe or a device."""
    for name in names:
        file = folder / name
        if file.is_symlink():
            raise RunError(
                f"{file}: a link, and a run is written in its own folder alone; put the file there"
            )
        if file.exists() and not file.is_file() and not file.is_dir():
            raise RunError(f"{file}: a pipe or a device where a file should be; remove it")


def refuse_active(database: Path) -> None:
    """Raises RunError for an SQLite file with more in it than tables and indices."""
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as found:
            query = f"SELECT type, name FROM sqlite_master WHERE NOT ({OURS}) LIMIT 1"
            strange = found.execute(query).fetchone()
    except sqlite3.Error as error:
        raise RunError(f"{database}: cannot be read: {error}") from None
    if strange is not None:
        raise RunError(
            f"{database}: holds a {strange[0]} {strange[1]!r:.80}, which eutectic did not make; "
            "do not use this run"
        )
