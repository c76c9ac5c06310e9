"""Writes of several threads: together where they meet, each with its own error."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from search.commits import Commits, Work
from search.storage import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'study.db'}")
    found.ready()
    found.write(lambda c: c.exec_driver_sql("CREATE TABLE seen (n INTEGER PRIMARY KEY)"))
    yield found
    found.close()


def numbers(database: Database) -> list[int]:
    query = sa.text("SELECT n FROM seen ORDER BY n")
    return list(database.read(lambda connection: connection.execute(query).scalars().all()))


def put(number: int) -> Work:
    return lambda c: c.exec_driver_sql("INSERT INTO seen VALUES (?)", (number,)).rowcount


def test_who_waits_is_committed_together(database: Database) -> None:
    begun, go, transactions = threading.Event(), threading.Event(), []

    def commit(work: Work) -> object:
        transactions.append(1)
        begun.set()
        go.wait(10)
        return database._commit(work)

    commits = Commits(commit)
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(commits.write, put(0))
        begun.wait(10)
        others = [threads.submit(commits.write, put(n)) for n in range(1, 9)]
        while len(commits._waiting) < 9:
            pass
        go.set()
        assert [one.result(10) for one in (first, *others)] == [1] * 9
    assert len(transactions) == 2 and numbers(database) == list(range(9))


def test_one_that_fails_takes_none_along(database: Database) -> None:
    def bad(connection: sa.Connection) -> None:
        connection.exec_driver_sql("INSERT INTO seen VALUES (100)")
        raise KeyError("mine")

    commits = Commits(database._commit)
    with ThreadPoolExecutor(8) as threads:
        works = [bad if n % 4 == 3 else put(n) for n in range(40)]
        found = [threads.submit(commits.write, work) for work in works]
        errors = [type(one.exception(10)) for one in found]
    assert errors == [KeyError if n % 4 == 3 else type(None) for n in range(40)]
    assert numbers(database) == [n for n in range(40) if n % 4 != 3]


def test_whoever_is_interrupted_leaves_the_others_to_themselves(database: Database) -> None:
    stop = threading.Event()

    def commit(work: Work) -> object:
        if not stop.is_set():
            stop.set()
            while len(commits._waiting) < 4:
                pass
            raise KeyboardInterrupt
        return database._commit(work)

    commits = Commits(commit)
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(commits.write, put(n)) for n in range(4)]
        errors = [one.exception(10) for one in found]
    interrupted = [n for n, error in enumerate(errors) if isinstance(error, KeyboardInterrupt)]
    assert len(interrupted) == 1
    assert numbers(database) == [n for n in range(4) if n not in interrupted] or numbers(
        database
    ) == list(range(4))


def test_what_is_written_soon_comes_in_order_and_is_flushed(database: Database) -> None:
    for number in range(50):
        database.write_soon(put(number))
        if number % 7 == 0:
            assert database.write(put(1000 + number)) == 1
            assert number in numbers(database)  # what came before is there
    database.flush()
    assert numbers(database)[:50] == list(range(50))


def test_what_nobody_waited_for_is_told_to_whoever_comes_next(database: Database) -> None:
    database.write_soon(put(1))
    database.write_soon(put(1))  # a key that is there
    with pytest.raises(Exception, match="UNIQUE"):
        database.flush()
    with pytest.raises(Exception, match="UNIQUE"):
        database.write_soon(put(2))


def test_an_interruption_between_others_errors_loses_no_write(database: Database) -> None:
    tries: list[int] = []

    def commit(work: Work) -> object:
        tries.append(1)
        if len(tries) == 1:
            while len(commits._waiting) < 4:
                pass
        if len(tries) == 2:
            raise KeyError("of one of them")
        if len(tries) == 3:
            raise KeyboardInterrupt
        return database._commit(work)

    commits = Commits(commit)
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(commits.write, put(n)) for n in range(4)]
        errors = [one.exception(10) for one in found]
    done = [n for n, error in enumerate(errors) if error is None]
    assert sum(isinstance(one, KeyboardInterrupt) for one in errors) == 1
    assert len(done) == 3 and set(done) <= set(numbers(database))
