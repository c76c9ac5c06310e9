"""The ledger's tables, their version, and how those of an earlier version are brought up to date.

Named `eutectic_*`, beside Optuna's. `run` is the study's name on a server, which holds many runs,
and empty in a run folder's own SQLite file, which holds one. The version of the tables stands in
eutectic_meta under the empty run.
"""

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from .bounded import parsed
from .errors import StorageError

FORMAT = 3
"""Version of the tables; one that is newer is refused, an older one brought up to date."""
WITHOUT_RUN = (1, 2)
"""Versions whose tables lack the column `run`; what else they hold is as today's."""


def _name(length: int) -> "sa.types.TypeEngine[str]":
    """Text that is a key: MySQL compares it byte by byte too, which it does not by itself."""
    binary = mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin")
    return sa.String(length).with_variant(binary, "mysql", "mariadb")


# MySQL's own TEXT and BLOB end at 64 KiB.
_TEXT = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4"), "mysql", "mariadb")
_BYTES = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_INNODB: Any = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}

METADATA = sa.MetaData()
META = sa.Table(
    "eutectic_meta",
    METADATA,
    sa.Column("run", _name(200), primary_key=True, server_default=""),
    sa.Column("key", _name(100), primary_key=True),
    sa.Column("value", _TEXT, nullable=False),
    **_INNODB,
)
CANDIDATES = sa.Table(
    "eutectic_candidates",
    METADATA,
    sa.Column("run", _name(200), primary_key=True, server_default=""),
    sa.Column("kind", _name(20), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", _TEXT, nullable=False),
    **_INNODB,
)
RESULTS = sa.Table(
    "eutectic_results",
    METADATA,
    sa.Column("run", _name(200), primary_key=True, server_default=""),
    sa.Column("recipe_hash", _name(64), primary_key=True),
    sa.Column("settings", _name(64), primary_key=True),
    sa.Column("task", _name(200), primary_key=True),
    sa.Column("block", _name(64), primary_key=True),
    sa.Column("body", _BYTES, nullable=False),
    **_INNODB,
)
BLOCKS = sa.Table(
    "eutectic_blocks",
    METADATA,
    sa.Column("run", _name(200), primary_key=True, server_default=""),
    sa.Column("block", _name(64), primary_key=True),
    sa.Column("items", _BYTES, nullable=False),
    **_INNODB,
)
TABLES = (RESULTS, BLOCKS, CANDIDATES, META)


def found_format(connection: sa.Connection) -> int | None:
    """The version of the tables that are there; None where there are none, or nothing in them."""
    inspector = sa.inspect(connection)
    if not inspector.has_table(META.name):
        return None
    query = sa.select(META.c.value).where(META.c.key == "format")
    if _has_run(inspector):
        query = query.where(META.c.run == "")
    text = connection.execute(query).scalar_one_or_none()
    return None if text is None else int(json.loads(text))


def refuse_newer(found: int, connection: sa.Connection, where: str) -> None:
    """Raises StorageError for tables of a version that this one does not know."""
    if found == FORMAT or found in WITHOUT_RUN:
        return
    query = sa.select(META.c.value).where(META.c.key == "written_by", META.c.run == "")
    by = connection.execute(query).scalar_one_or_none()
    writer = f" (by eutectic {json.loads(by)})" if by else ""
    anew = ", or start anew with --fresh" if connection.dialect.name == "sqlite" else ""
    raise StorageError(
        f"{where}: the run was written in format {found}{writer}, this version ({own_version()}) "
        f"reads up to {FORMAT}; bring it up to date with pip install --upgrade eutectic{anew}"
    )


def make_tables(connection: sa.Connection, where: str) -> None:
    """Makes the tables, or brings those of an earlier version up to date.

    In the transaction of the connection, so that a kill leaves the old or the new: SQLite alters
    tables in a transaction, and runs of earlier versions are SQLite files. Their rows stay as
    they are, so that a ledger of gigabytes takes no longer than an empty one; keys need not
    hold `run`, which is the same in every row of a file.
    """
    found = found_format(connection)
    if found is not None:
        refuse_newer(found, connection, where)
    inspector = sa.inspect(connection)
    if inspector.has_table(META.name):
        for table in TABLES:
            if inspector.has_table(table.name) and not _has_run(inspector, table):
                connection.exec_driver_sql(
                    f"ALTER TABLE {table.name} ADD COLUMN run VARCHAR(200) NOT NULL DEFAULT ''"
                )
    METADATA.create_all(connection)
    if found != FORMAT:
        for key, value in (("format", FORMAT), ("written_by", own_version())):
            put_meta(connection, "", key, value)


def put_meta(connection: sa.Connection, run: str, key: str, value: object) -> None:
    """Stores a JSON value under a name."""
    same = (META.c.run == run) & (META.c.key == key)
    connection.execute(sa.delete(META).where(same))
    connection.execute(sa.insert(META).values(run=run, key=key, value=json.dumps(value)))


def get_meta(connection: sa.Connection, run: str, key: str, *, lock: bool = False) -> object:
    """A JSON value stored under a name, None if there is none; `lock` keeps it as it is."""
    query = sa.select(META.c.value).where(META.c.run == run, META.c.key == key)
    if lock:
        query = query.with_for_update()
    text = connection.execute(query).scalar_one_or_none()
    return None if text is None else parsed(text)


def delete_run(connection: sa.Connection, run: str, spared: str) -> None:
    """Deletes every row of a run but what is `spared` in its meta."""
    for table in TABLES:
        rows = sa.delete(table).where(table.c.run == run)
        connection.execute(rows.where(META.c.key != spared) if table is META else rows)


def _has_run(inspector: sa.Inspector, table: sa.Table = META) -> bool:
    return any(one["name"] == "run" for one in inspector.get_columns(table.name))


@cache
def own_version() -> str:
    """Of eutectic, as installed."""
    try:
        return version("eutectic")
    except PackageNotFoundError:
        return "unknown"
