"""Databases on a MySQL or MariaDB server that runs already."""

import itertools
import os

import sqlalchemy as sa

NAMES = itertools.count()


def empty_mysql(server: str) -> str:
    """A new empty database on a server, by URL; the user may make databases."""
    url = sa.make_url(server).set(drivername="mysql+pymysql")
    name = f"eutectic_{os.getpid()}_{next(NAMES)}"
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    made = url.set(drivername="mysql", database=name)
    return made.render_as_string(hide_password=False)
