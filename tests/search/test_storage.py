"""A run in a database: SQLite, or a real PostgreSQL that is stopped, started and cut off."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgresql_server import PostgreSQL, proxied

from search import patience
from search.errors import StorageError
from search.ledger import Candidate, Ledger
from search.objectives import Objective
from search.storage import Database, holds_run
from search.storage_url import Storage, parse_url
from search.study_log import StudyLog, forget_study

BLOCK = {("a", "p"): {"acc": (1.0,), "nll": (0.1 + 0.2, float("inf"))}}
OTHER = {("a", "p"): {"acc": (0.0,), "nll": (9.0, 9.0)}}
UP = (Objective("up", (("t", "acc"),), True),)


def on_server(url: str, run: str = "one") -> Storage:
    return Storage(parse_url(url), run)


@pytest.fixture(params=["postgresql", "mysql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """An empty database on a server."""
    names = {"postgresql": "server_url", "mysql": "mysql_url"}
    return str(request.getfixturevalue(names[request.param]))


@pytest.fixture(params=["sqlite", "server_url", "mysql_url"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str | Storage:
    """Where a run may be kept."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return on_server(request.getfixturevalue(request.param))


def a_trial(number: int) -> Candidate:
    data = {"merge_method": "linear", "name": "nul \0, snowman ☃, lone \ud800"}
    return Candidate("trial", number, "tpe", data, f"hash{number}", values={"w": 0.1})


def test_what_is_stored_comes_back(where: str | Storage) -> None:
    ended = a_trial(1).ended(state="complete", scores=(0.1, 1 / 3), violations=(-0.5,), items=7)
    with Ledger(where) as ledger:
        for number in (2, 0, 1):
            ledger.put(a_trial(number))
        ledger.record("r", "s", "t", "b", BLOCK, ended)
        ledger.record("r", "s", "t", "b", OTHER)
        ledger.set_meta("long", "x" * 300_000)
    with Ledger(where) as ledger:
        assert ledger.candidates("trial") == [a_trial(0), ended, a_trial(2)]
        assert ledger.candidates("reference") == [] and ledger.meta("none") is None
        assert ledger.results("r", "s", "t") == BLOCK and ledger.results("R", "s", "t") == {}
        assert ledger.meta("long") == "x" * 300_000


def test_many_threads_write_and_read_at_once(where: str | Storage) -> None:
    with Ledger(where) as ledger, ThreadPoolExecutor(12) as threads:

        def work(number: int) -> int:
            for block in range(6):
                owner = a_trial(number).ended(items=block + 1)
                ledger.record(f"r{number}", "s", "t", f"b{block}", BLOCK, owner)
                assert len(ledger.results(f"r{number}", "s", "t", [f"b{block}"])) == 1
            return len(ledger.candidates("trial"))

        assert max(threads.map(work, range(12))) == 12
        assert [one.items for one in ledger.candidates("trial")] == [6] * 12


def test_one_database_holds_many_runs(any_url: str) -> None:
    one, other = on_server(any_url, "one"), on_server(any_url, "two")
    with Ledger(one) as first, Ledger(other) as second:
        first.put(a_trial(0))
        first.record("r", "s", "t", "b", BLOCK)
        first.set_meta("identity", 1)
        assert second.candidates("trial") == [] and second.results("r", "s", "t") == {}
        second.record("r", "s", "t", "b", OTHER)
        second.copy_results(first)
        assert second.results("r", "s", "t") == OTHER and first.results("r", "s", "t") == BLOCK
        assert holds_run(one) and not holds_run(other)
        with closing(StudyLog(first.database, "one", UP, [], [])) as log:
            log.add([replace(a_trial(0), values={}, state="complete", scores=(0.5,))])
        with closing(StudyLog(second.database, "two", UP, [], [])):
            pass
        forget_study(first.database)
        first.database.forget()
        assert first.candidates("trial") == [] and first.meta("identity") is None
        assert second.results("r", "s", "t") == OTHER
    with closing(Database(one)) as database:
        names = "SELECT study_name FROM studies"
        found = database.read(lambda connection: list(connection.exec_driver_sql(names)))
        assert found == [("two",)]


def test_runs_whose_names_differ_in_case_are_two(any_url: str) -> None:
    one, other = on_server(any_url, "one"), on_server(any_url, "One")
    with Ledger(one) as first, Ledger(other) as second:
        first.put(a_trial(0))
        assert second.candidates("trial") == []
        with closing(StudyLog(first.database, "one", UP, [], [])):
            forget_study(second.database)  # not that of the other
        if first.database.engine.dialect.name == "mysql":  # Optuna's names are not told apart
            with pytest.raises(StorageError, match="holds a study 'one', from which MySQL"):
                StudyLog(second.database, "One", UP, [], [])
        else:
            StudyLog(second.database, "One", UP, [], []).close()


def test_looking_for_a_run_makes_nothing(any_url: str) -> None:
    storage = on_server(any_url)
    assert not holds_run(storage)
    with closing(Database(storage)) as database:
        assert database.read(lambda connection: sa.inspect(connection).get_table_names()) == []


def test_a_run_of_a_newer_version_is_refused_on_a_server(any_url: str) -> None:
    with closing(Database(on_server(any_url, ""))) as database:
        with Ledger(database) as ledger:
            ledger.set_meta("format", 4)
            ledger.set_meta("written_by", "9.9")
    for opened in (Ledger, holds_run):
        with pytest.raises(StorageError, match=r"format 4 \(by eutectic 9.9\).* --upgrade"):
            opened(on_server(any_url))


@pytest.mark.parametrize("option", ["odd=1", "sslmode=odd", "connect_timeout=odd"])
def test_an_option_that_is_none_is_one_message(any_url: str, option: str) -> None:
    join = "&" if "?" in any_url else "?"
    with pytest.raises(StorageError, match=r"^(postgresql|mysql)://.*/eutectic"):
        Ledger(on_server(f"{any_url}{join}{option}"))


# Runs of earlier versions.


def old_file(path: Path, version: int) -> None:
    """As versions 1 and 2 made it."""
    with Ledger(f"sqlite:///{path}") as ledger:
        ledger.put(a_trial(0))
        ledger.set_meta("identity", {"seed": 0})
        ledger.record("r", "s", "t", "b", BLOCK)
    with closing(sqlite3.connect(path)) as database:
        for table, keys in (
            ("meta", '"key" VARCHAR(100), value TEXT NOT NULL, PRIMARY KEY ("key")'),
            (
                "candidates",
                "kind VARCHAR(20), number INTEGER, body TEXT NOT NULL, PRIMARY KEY (kind, number)",
            ),
            (
                "results",
                "recipe_hash VARCHAR(64), settings VARCHAR(64), task VARCHAR(200), block "
                "VARCHAR(64), body BLOB NOT NULL, "
                "PRIMARY KEY (recipe_hash, settings, task, block)",
            ),
        ):
            columns = [one[1] for one in database.execute(f"PRAGMA table_info(eutectic_{table})")]
            names = ", ".join(f'"{one}"' for one in columns if one != "run")
            database.execute(f"ALTER TABLE eutectic_{table} RENAME TO old")
            database.execute(f"CREATE TABLE eutectic_{table} ({keys})")
            database.execute(f"INSERT INTO eutectic_{table} ({names}) SELECT {names} FROM old")
            database.execute("DROP TABLE old")
        database.execute("DELETE FROM eutectic_meta WHERE \"key\" = 'written_by'")
        database.execute(f"UPDATE eutectic_meta SET value = '{version}' WHERE \"key\" = 'format'")
        database.commit()


@pytest.mark.parametrize("version", [1, 2])
def test_a_run_of_an_older_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    path = tmp_path / "study.db"
    old_file(path, version)
    with Ledger(f"sqlite:///{path}") as ledger:
        assert ledger.meta("format") == 3 and ledger.meta("identity") == {"seed": 0}
        assert ledger.candidates("trial") == [a_trial(0)]
        assert ledger.results("r", "s", "t") == BLOCK
        ledger.put(a_trial(0).ended(items=5))
        ledger.record("r", "s", "t", "c", OTHER)
    with Ledger(f"sqlite:///{path}") as ledger:
        assert [one.items for one in ledger.candidates("trial")] == [5]


def test_a_process_of_the_older_version_may_go_on_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    old_file(path, 2)
    with closing(sqlite3.connect(path)) as older:
        with Ledger(f"sqlite:///{path}"):
            pass
        older.execute("DELETE FROM eutectic_candidates WHERE kind = 'trial' AND number = 0")
        body = json.dumps({"body": 1})
        for number in range(2):
            older.execute(
                "INSERT INTO eutectic_candidates (kind, number, body) VALUES ('beside', ?, ?)",
                (number, body),
            )
        older.commit()
    with Ledger(f"sqlite:///{path}") as ledger:
        assert ledger.candidates("trial") == []
        query = "SELECT run FROM eutectic_candidates"
        rows = ledger.database.read(lambda connection: list(connection.exec_driver_sql(query)))
        assert rows == [("",), ("",)]


UPGRADE = """
import os, sys
import sqlalchemy as sa
from search.ledger import Ledger
left = int(sys.argv[2])
def kill(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
sa.event.listen(sa.Engine, "after_cursor_execute", kill)
Ledger(sys.argv[1])
"""


@pytest.mark.parametrize("after", [11, 14, 21])
def test_a_kill_in_the_middle_leaves_the_old_or_the_new(tmp_path: Path, after: int) -> None:
    path = tmp_path / "study.db"
    old_file(path, 2)
    url = f"sqlite:///{path}"
    ended = subprocess.run([sys.executable, "-c", UPGRADE, url, str(after)], check=False)
    assert ended.returncode == -9
    with closing(sqlite3.connect(path)) as database:
        columns = {
            table: [one[1] for one in database.execute(f"PRAGMA table_info(eutectic_{table})")]
            for table in ("meta", "candidates", "results")
        }
        (text,) = database.execute(
            "SELECT value FROM eutectic_meta WHERE \"key\" = 'format'"
        ).fetchone()
    new = {"run" in names for names in columns.values()}
    assert new == {text == "3"}, (columns, text)
    with Ledger(url) as ledger:
        assert ledger.results("r", "s", "t") == BLOCK and ledger.meta("format") == 3


# A database that is away.


def test_a_server_that_restarts_is_waited_for(postgresql: PostgreSQL, server_url: str) -> None:
    told: list[str] = []
    with closing(Database(on_server(server_url))) as database, database.held():
        with Ledger(database) as ledger, closing(StudyLog(database, "one", UP, [], [])) as log:
            database.patience.tell = told.append
            ledger.put(a_trial(0))
            postgresql.stop()
            again = threading.Timer(1.0, postgresql.start)
            again.start()
            with ThreadPoolExecutor(6) as threads:
                for number in range(1, 5):
                    threads.submit(ledger.put, a_trial(number))
                found = threads.submit(ledger.candidates, "trial")
                ended = replace(a_trial(0), values={}, state="complete", scores=(0.5,))
                threads.submit(log.add, [ended]).result()
                assert found.result()[0] == a_trial(0)
            again.join()
            assert ledger.candidates("trial") == [a_trial(number) for number in range(5)]
            log.add([ended])
            assert len(log._study.get_trials()) == 1
    assert "the database is away" in told[0] and "the database is back, after" in told[1]
    assert len(told) % 2 == 0 and len(told) <= 6


def test_patience_ends(
    postgresql: PostgreSQL, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    with Ledger(on_server(server_url)) as ledger:
        ledger.put(a_trial(0))
        ledger.database.patience.tell = lambda text: None
        postgresql.stop()
        try:
            started = time.monotonic()
            with pytest.raises(
                StorageError, match=r"away for \d+ s .*; the run is saved, the same"
            ):
                ledger.put(a_trial(1))
            assert time.monotonic() - started < 5
            with pytest.raises(StorageError, match="^postgresql://.*/eutectic"):
                Ledger(on_server(server_url))  # whoever comes now is told at once
        finally:
            postgresql.start()
        ledger.put(a_trial(2))
        assert [one.number for one in ledger.candidates("trial")] == [0, 2]


def test_nobody_waits_after_an_interruption(postgresql: PostgreSQL, server_url: str) -> None:
    with Ledger(on_server(server_url)) as ledger, ThreadPoolExecutor(2) as threads:
        interrupted = threading.Event()
        ledger.database.patience.tell = lambda text: None
        ledger.database.patience.stopped = interrupted.is_set
        postgresql.stop()
        try:
            waiting = [threads.submit(ledger.put, a_trial(number)) for number in range(2)]
            time.sleep(0.5)
            assert not any(one.done() for one in waiting)
            interrupted.set()
            for one in waiting:
                with pytest.raises(StorageError, match="the run is saved"):
                    one.result(timeout=5)
        finally:
            postgresql.start()
        ledger.put(a_trial(2))


@pytest.mark.parametrize("held", [False, True])
def test_a_commit_whose_answer_was_lost_counts_once(
    postgresql: PostgreSQL, server_url: str, held: bool
) -> None:
    with proxied(postgresql, server_url) as (proxy, url), ExitStack() as stack:
        database = stack.enter_context(closing(Database(on_server(url))))
        database.patience.tell = lambda text: None
        if held:
            stack.enter_context(database.held())
        ledger = stack.enter_context(Ledger(database))
        proxy.losing = 1
        ledger.record("r", "s", "t", "b", BLOCK, a_trial(0).ended(items=1))
        assert proxy.lost == 1
        proxy.losing = 1
        ledger.put(a_trial(0).ended(items=2))
        assert proxy.lost == 2
        assert [one.items for one in ledger.candidates("trial")] == [2]
        assert ledger.results("r", "s", "t") == BLOCK
        (copies,) = postgresql.do("SELECT count(*) FROM eutectic_results", url=server_url)
        assert copies == (1,)


def test_a_trial_of_optunas_whose_answer_was_lost_is_there_once(
    postgresql: PostgreSQL, server_url: str
) -> None:
    ended = [
        replace(a_trial(number), values={}, state="complete", scores=(0.5,)) for number in range(3)
    ]
    with proxied(postgresql, server_url) as (proxy, url), ExitStack() as stack:
        database = stack.enter_context(closing(Database(on_server(url))))
        database.patience.tell = lambda text: None
        database.ready()
        log = stack.enter_context(closing(StudyLog(database, "one", UP, [], [])))
        proxy.losing = 2
        log.add(ended)
        assert proxy.lost == 2
        assert [one.number for one in log._study.get_trials()] == [0, 1, 2]


# Who holds a run.

HOLDER = """
import sys, time
from search.storage import Database
from search.storage_url import Storage, parse_url
database = Database(Storage(parse_url(sys.argv[1]), "one"))
with database.held():
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_process_holds_a_run_and_its_death_frees_it(any_url: str) -> None:
    command = [sys.executable, "-c", HOLDER, any_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            with closing(Database(on_server(any_url))) as second:
                with pytest.raises(StorageError, match=f"in use by process {holder.pid} on "):
                    with second.held():
                        raise AssertionError("held twice")
            with closing(Database(on_server(any_url, "two"))) as other, other.held():
                pass  # another run in the same database
        finally:
            holder.kill()
    with closing(Database(on_server(any_url))) as second:
        taken = False
        for _ in range(50):  # the server notices the death a moment later
            with suppress(StorageError), second.held():
                taken = True
                break
            time.sleep(0.1)
        assert taken


def test_who_let_go_of_a_run_writes_nothing_more(any_url: str) -> None:
    """A thread that an interruption left behind would write beside whoever comes next."""
    with closing(Database(on_server(any_url))) as database:
        with database.held(), Ledger(database) as ledger:
            ledger.put(a_trial(0))
        with pytest.raises(StorageError, match="no longer held"):
            Ledger(database).put(a_trial(1))
        with pytest.raises(StorageError, match="no longer held"):
            database.check_held()
        assert len(Ledger(database).candidates("trial")) == 1


def test_a_lost_connection_takes_the_lock_again(any_url: str) -> None:
    with closing(Database(on_server(any_url))) as database, database.held():
        told: list[str] = []
        database.patience.tell = told.append
        with Ledger(database) as ledger, closing(Database(on_server(any_url))) as second:
            hold = database.hold
            assert hold is not None and hold._connection is not None
            ends = {"postgresql": "SELECT pg_terminate_backend({})", "mysql": "KILL {}"}
            end = ends[database.engine.dialect.name].format(hold._session)
            with second.engine.connect() as connection, suppress(sa.exc.DBAPIError):
                connection.exec_driver_sql(end)
            ledger.put(a_trial(0))
            assert told == []  # another connection did it
            # A session that the server still believes in is ended by its own holder.
            hold._connection, kept = None, hold._connection
            ledger.put(a_trial(1))
            with pytest.raises(sa.exc.DBAPIError):
                kept.exec_driver_sql("SELECT 1")
            kept.close()
            assert len(ledger.candidates("trial")) == 2
            with pytest.raises(StorageError, match="in use by"), second.held():
                raise AssertionError("held twice")


def test_who_was_taken_over_writes_nothing_more(postgresql: PostgreSQL, server_url: str) -> None:
    told = r"was taken over by process \d+ on .*; this process has stopped"
    with proxied(postgresql, server_url) as (proxy, url):
        with closing(Database(on_server(url))) as first, first.held(), Ledger(first) as ledger:
            first.patience.tell = lambda text: None
            log = StudyLog(first, "one", UP, [], [])
            ledger.put(a_trial(0))
            proxy.cut()
            time.sleep(0.2)
            with closing(Database(on_server(server_url))) as second, second.held():
                with pytest.raises(StorageError, match=told):
                    ledger.put(a_trial(1))
                with Ledger(second) as other:
                    other.put(a_trial(2))
            for write in (
                lambda: ledger.put(a_trial(3)),
                lambda: ledger.set_meta("identity", 1),
                lambda: log.add([replace(a_trial(0), values={}, state="failed")]),
            ):
                with pytest.raises(StorageError, match="was taken over"):
                    write()
            assert [one.number for one in ledger.candidates("trial")] == [0, 2]
            assert ledger.meta("identity") is None and log._study.get_trials() == []
            log.close()


def test_a_holder_that_died_and_was_followed_is_found_out_by_its_token(
    postgresql: PostgreSQL, server_url: str
) -> None:
    """The lock is free again when it comes back: the token alone tells."""
    with proxied(postgresql, server_url) as (proxy, url):
        with closing(Database(on_server(url))) as first, first.held(), Ledger(first) as ledger:
            first.patience.tell = lambda text: None
            proxy.cut()
            time.sleep(0.2)
            with closing(Database(on_server(server_url))) as second, second.held():
                pass
            with pytest.raises(StorageError, match="was taken over"):
                ledger.put(a_trial(1))
            assert ledger.candidates("trial") == []
            with closing(Database(on_server(server_url))) as third, third.held():
                pass  # who was taken over keeps no lock


# Disks.


def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as ledger:
        ledger.put(a_trial(0))
        pages = ledger.database.read(
            lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        )
        with ledger.database.engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match=r"study.db: the disk is full; what was recorded"):
            ledger.set_meta("long", "x" * 100_000)
        assert ledger.candidates("trial") == [a_trial(0)] and ledger.meta("long") is None


def test_a_file_that_stays_locked_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.3)
    path = tmp_path / "study.db"
    with Ledger(f"sqlite:///{path}") as ledger, closing(sqlite3.connect(path)) as other:
        ledger.put(a_trial(0))
        ledger.database.patience.tell = lambda text: None
        with ledger.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA busy_timeout = 50")
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        assert ledger.candidates("trial") == [a_trial(0)]  # reading waits for nobody
        with pytest.raises(StorageError, match=r"study.db: away .*database is locked.* is saved"):
            ledger.put(a_trial(1))
        other.execute("ROLLBACK")
        ledger.put(a_trial(2))
        assert len(ledger.candidates("trial")) == 2
