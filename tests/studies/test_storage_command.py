"""A run whose results are in a real PostgreSQL, through the commands."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
import yaml
from postgresql_server import PostgreSQL
from typer.testing import CliRunner, Result

from search import patience
from search.ledger import Ledger
from search.storage import Database
from search.storage_url import Storage, parse_url
from studies import Run, Study
from studies.cli.completing import complete_runs
from studies.errors import RunError

CANARY = "Kanarienvogel/1@x"


def on_server(url: str, run: str = "pico") -> Storage:
    return Storage(parse_url(url), run)


def logged(url: str, name: str = "pico") -> optuna.Study:
    """The Optuna study as anybody's tool reads it."""
    storage = optuna.storages.RDBStorage(parse_url(url).render_as_string(hide_password=False))
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.trials is not None and study.user_attrs is not None
    return study


@pytest.fixture(autouse=True)
def no_connection_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Optuna never closes what the tests open."""
    made: list[optuna.storages.RDBStorage] = []
    plain = optuna.storages.RDBStorage.__init__

    def begin(self: optuna.storages.RDBStorage, *arguments: Any, **named: Any) -> None:
        made.append(self)
        plain(self, *arguments, **named)

    monkeypatch.setattr(optuna.storages.RDBStorage, "__init__", begin)
    yield
    for one in made:
        one.remove_session()
        one.engine.dispose()


def words_of(folder: Path) -> str:
    """Everything that the files of a folder say."""
    return "\n".join(
        one.read_text(encoding="utf-8", errors="replace")
        for one in sorted(folder.rglob("*"))
        if one.is_file() and not one.is_symlink()
    )


@pytest.mark.parametrize("server", ["server_url", "mysql_url"])
def test_a_run_on_a_server_is_the_run_of_a_folder(
    request: pytest.FixtureRequest,
    searched,
    bench,
    server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server_url = request.getfixturevalue(server)
    result = bench.search("--storage", server_url)
    assert result.exit_code == 0, result.stderr
    assert not (bench.run / "study.db").exists()
    for name in ("trials.csv", "winner.yaml"):
        here, there = (
            (one.run / name).read_text().replace(str(one.folder), "") for one in (bench, searched)
        )
        assert here == there
    section = yaml.safe_load((bench.run / "study.yaml").read_text())["resolved"]
    assert section["storage"] == on_server(server_url).shown and "@" not in section["storage"]
    study = logged(server_url)
    assert len(study.trials) == 6 and "winner" in study.user_attrs

    monkeypatch.setenv("EUTECTIC_STORAGE", server_url)
    table = bench.call("trials", bench.run, "--format", "csv")
    assert table.exit_code == 0 and table.stdout == (bench.run / "trials.csv").read_text()
    (bench.run / "report.html").unlink()
    assert bench.call("report", bench.run).exit_code == 0 and (bench.run / "report.html").is_file()
    exported = bench.call("export", bench.run)
    assert exported.stdout == (bench.run / "winner.yaml").read_text()
    verified = bench.call("verify", bench.run, "--trial", "0", "--json")
    assert verified.exit_code == 0 and json.loads(verified.stdout)["different"] == []

    # The same command again goes on, and so it does in another folder: the server has it all.
    more = bench.search("--trials", "8", "--json")
    assert json.loads(more.stdout)["trials"] == 8, more.output
    elsewhere = bench.folder / "elsewhere"
    again = bench.search("--trials", "8", "--json", "--out", elsewhere)
    assert json.loads(again.stdout) == {**json.loads(more.stdout), "run": str(elsewhere)} | {
        "winner": {
            **json.loads(more.stdout)["winner"],
            "recipe": str(elsewhere / "winner.yaml"),
        }
    }


def test_where_a_run_is_kept_is_said(
    another, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("EUTECTIC_STORAGE", server_url)
        assert another.call("trials", another.run).exit_code == 0  # has a file of its own
        assert len(Run(another.run).trials()) == 6
        begun = another.search()
        assert begun.exit_code == 2 and "its results are in its own study.db" in begun.stderr
        patch.setenv("EUTECTIC_STORAGE", "")
        assert another.call("trials", another.run).exit_code == 0
    kept = another.call("trials", another.run, "--storage", server_url)
    assert kept.exit_code == 2 and "its results are in its own study.db; leave" in kept.stderr
    begun = another.search("--storage", server_url)
    assert begun.exit_code == 2 and "its results are in its own study.db; leave" in begun.stderr
    reused = another.search("--storage", server_url, "--out", "new", "--from", another.run)
    assert reused.exit_code == 0, reused.stderr
    with (
        Ledger(on_server(server_url)) as ledger,
        Run(another.run).path.joinpath("trials.csv").open() as file,
    ):
        assert sum(one.items for one in ledger.candidates("trial")) == 0, "scored again"
        assert len(ledger.candidates("trial")) == len(file.readlines()) - 1
    for command in ("trials", "report", "export", "verify", "dashboard"):
        told = another.call(command, "new")
        assert told.exit_code == 2 and "its results are in the database postgresql:" in told.stderr
        assert "EUTECTIC_STORAGE=URL" in told.stderr
    told = another.search("--out", "new")
    assert told.exit_code == 2 and "its results are in the database postgresql:" in told.stderr


def test_a_folder_is_that_of_its_run_on_its_server(
    bench, server_url: str, postgresql: PostgreSQL
) -> None:
    assert bench.search("--storage", server_url, "--trials", "2").exit_code == 0
    bench.change(("name: pico", "name: other"))
    other = bench.search("--storage", server_url, "--out", bench.run)
    assert other.exit_code == 2 and "is the folder of the run 'pico'" in other.stderr
    bench.change()
    moved = bench.search("--storage", postgresql.make())
    assert moved.exit_code == 2 and "has none of them; name the one that has" in moved.stderr
    second = bench.search("--storage", server_url, "--out", "second", "--seed", "5")
    assert second.exit_code == 2 and not Path("second").exists()
    assert "'pico' in postgresql://" in second.stderr and "another `name`" in second.stderr
    assert "--out NEW" not in second.stderr and "--from" not in second.stderr
    kept = bench.run / "study.yaml"
    scored = bench.call("evaluate", "alpha", "--study", kept, "--threads", "1", "--json")
    assert scored.exit_code == 0, scored.stderr  # needs no results
    assert complete_runs("runs/") == ["runs/pico"]
    source = bench.search("--storage", server_url, "--from", bench.run, "--out", "new", "--fresh")
    assert source.exit_code == 2, "its own results would be deleted"


def test_the_dashboard_shows_a_server(bench, server_url: str) -> None:
    pytest.importorskip("optuna_dashboard")
    assert bench.search("--storage", server_url, "--trials", "2").exit_code == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = "from studies.cli import main; main()"
    arguments = [sys.executable, "-c", command, "dashboard", str(bench.run), "--port", port]
    environment = {**os.environ, "EUTECTIC_STORAGE": server_url}
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as server:
        try:
            found = None
            while found is None and server.poll() is None:
                with suppress(urllib.error.URLError):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
                        found = json.loads(answer.read())
                time.sleep(0.1)
        finally:
            server.terminate()
    assert found is not None
    assert [one["study_name"] for one in found["study_summaries"]] == ["pico"]


def test_fresh_deletes_that_run_alone(bench, server_url: str) -> None:
    for name in ("pico", "other"):
        bench.change(("name: pico", f"name: {name}"))
        assert bench.search("--storage", server_url, "--trials", "3").exit_code == 0
    bench.change()
    assert bench.search("--storage", server_url, "--fresh", "--seed", "5").exit_code == 0
    with Ledger(on_server(server_url)) as ledger, Ledger(on_server(server_url, "other")) as other:
        assert len(ledger.candidates("trial")) == 6 and len(other.candidates("trial")) == 3
        assert ledger.meta("identity")["seed"] == 5
        known = ledger.meta("identity")
    for name, trials in (("pico", 6), ("other", 3)):
        assert len(logged(server_url, name).trials) == trials
    refused = bench.search("--storage", server_url, "--seed", "6", "--out", "new")
    assert refused.exit_code == 2 and "belongs to another study: seed" in refused.stderr
    assert not (bench.folder / "new").exists()
    with Ledger(on_server(server_url)) as ledger:
        assert ledger.meta("identity") == known


def test_what_a_fault_kept_from_starting_leaves_nothing(
    bench, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RunError("not now")

    with monkeypatch.context() as patch:
        patch.setattr("studies.conduct.changed_code", refuse)
        failed = bench.search("--storage", server_url)
    assert failed.exit_code == 2 and "not now" in failed.stderr, failed.output
    assert not bench.run.exists()
    with Ledger(on_server(server_url)) as ledger:
        assert ledger.meta("identity") is None


def test_a_second_coordinator_is_refused(bench, server_url: str) -> None:
    database = Database(on_server(server_url))
    with database.held():
        refused = bench.search("--storage", server_url)
        assert refused.exit_code == 2 and f"in use by process {os.getpid()}" in refused.stderr
        assert not bench.run.exists()
    database.close()


@pytest.fixture
def away(
    postgresql: PostgreSQL, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[threading.Thread]:
    """Stops the server in the middle of a search, and starts it again after a while."""
    begun, stopped = threading.Event(), threading.Event()
    plain = Ledger.record

    def record(self: Ledger, *arguments: object) -> None:
        plain(self, *arguments)  # type: ignore[arg-type]
        if not begun.is_set() and any(one.number >= 1 for one in self.candidates("trial")):
            begun.set()
            stopped.wait(60)  # else a quick search ends before the server does

    monkeypatch.setattr(Ledger, "record", record)

    def restart() -> None:
        if begun.wait(60):
            postgresql.stop()
            stopped.set()
            time.sleep(2)
            postgresql.start()

    thread = threading.Thread(target=restart)
    thread.start()
    yield thread
    begun.set()
    stopped.set()
    thread.join()


def test_a_search_outlives_a_server_that_is_away(searched, bench, server_url: str, away) -> None:
    result = bench.search("--storage", server_url)
    assert result.exit_code == 0, result.output
    away.join()
    log = (bench.run / "log.txt").read_text()
    assert "the database is away (postgresql:" in log and "the database is back, after" in log
    assert "the database is away" in result.stderr  # --quiet leaves warnings
    assert (bench.run / "trials.csv").read_text() == (searched.run / "trials.csv").read_text()
    with (
        Ledger(on_server(server_url)) as ledger,
        Ledger(f"sqlite:///{searched.run / 'study.db'}") as folder,
    ):
        for kind in ("trial", "reference"):
            assert [one.items for one in ledger.candidates(kind)] == [
                one.items for one in folder.candidates(kind)
            ]
    assert len(logged(server_url).trials) == 6


def test_a_server_that_stays_away_is_one_message(
    postgresql: PostgreSQL, bench, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    plain = Ledger.record

    def record(self: Ledger, *arguments: object) -> None:
        plain(self, *arguments)  # type: ignore[arg-type]
        if self.candidates("trial"):
            postgresql.stop()

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", record)
        result = bench.search("--storage", server_url)
    try:
        assert result.exit_code == 2, result.output
        assert "the run is saved, the same command goes on" in result.stderr.splitlines()[-1]
        gone = bench.call("trials", bench.run, "--storage", server_url)
        assert gone.exit_code == 2 and "postgresql://" in gone.stderr
    finally:
        postgresql.start()
    resumed = bench.search("--storage", server_url)
    assert resumed.exit_code == 0, resumed.output


def test_after_an_interruption_nobody_waits_for_a_server(
    postgresql: PostgreSQL, bench, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 20.0)
    plain, stopped = Ledger.record, [0.0]

    def record(self: Ledger, *arguments: object) -> None:
        plain(self, *arguments)  # type: ignore[arg-type]
        if self.candidates("trial"):
            postgresql.stop()
            stopped[0] = time.monotonic()
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", record)
        result = bench.search("--storage", server_url)
    try:
        assert result.exit_code == 2 and "the run is saved" in result.stderr, result.output
        assert time.monotonic() - stopped[0] < 10
    finally:
        postgresql.start()


# Credentials.


@pytest.fixture(scope="session")
def canary(postgresql: PostgreSQL) -> str:
    """A user who must give a password."""
    postgresql.require_password("canary_user", CANARY)
    return "canary_user"


@pytest.fixture
def with_password(canary: str, server_url: str) -> sa.URL:
    """An empty database, for that user."""
    return sa.make_url(server_url).set(username=canary, password=CANARY)


def secret_free(text: str) -> bool:
    return not any(part in text for part in (CANARY, "Kanarienvogel", "canary_user"))


def test_credentials_are_in_nothing_that_is_left_or_said(
    bench, postgresql: PostgreSQL, with_password: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = with_password.render_as_string(hide_password=False)
    said = []
    for arguments in (
        ["search", bench.study, "--threads", "1", "--progress", "plain"],
        ["search", bench.study, "--threads", "1", "--progress", "json", "--trials", "7"],
        ["trials", bench.run],
        ["report", bench.run],
        ["export", bench.run, "--weights", bench.folder / "merged"],
    ):
        result = bench.call(*arguments, "--storage", url)
        assert result.exit_code == 0, result.output
        said.append(result.output + result.stderr)
    written = words_of(bench.run) + words_of(bench.folder / "merged") + "".join(said)
    assert secret_free(written)
    names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    stored = [
        row
        for (table,) in postgresql.do(names, url=url)
        for row in postgresql.do(f'SELECT * FROM "{table}"', url=url)
    ]
    assert len(stored) > 20 and secret_free(str(stored))


def in_debug(bench, *arguments: object) -> Result:
    """A command with tracebacks."""
    from studies.cli import app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EUTECTIC_DEBUG", "")
        return CliRunner().invoke(app, ["--debug", *map(str, arguments)])


WRONG = (
    {"password": "Kanarienvogel-wrong"},
    {"database": "nowhere"},
    {"query": {"host": "/nowhere"}},
    {"query": {"host": "/nowhere", "password": "Kanarienvogel"}},
    {"host": "localhost", "port": 1, "query": {}},
)


@pytest.mark.parametrize("change", WRONG)
def test_credentials_are_in_no_error(bench, with_password: sa.URL, change: dict) -> None:
    url = with_password.set(**change).render_as_string(hide_password=False)
    result = bench.search("--storage", url)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1 and secret_free(result.output), result.stderr
    assert "postgresql://" in result.stderr
    if "password" in change:
        assert "refused the user or the password" in result.stderr
    shown = in_debug(bench, "search", bench.study, "--storage", url)
    assert shown.exception is not None
    assert secret_free("".join(traceback.format_exception(shown.exception)))
    assert not (bench.folder / "runs").exists()


@pytest.mark.parametrize(
    "url",
    [
        f"canary_user:{CANARY}@host/db",
        f"postgresql://canary_user:{CANARY}@host/db",  # / and @ are not encoded
        f"postgresql://canary_user:Kanarienvogel@host:{CANARY}/db",
        "oracle://canary_user:Kanarienvogel@host/db",
        "postgresql+asyncpg://canary_user:Kanarienvogel@host/db",
        "postgresql://canary_user:Kanarienvogel@host",
        "sqlite:///canary_user.db",
        "mysql+mysqldb://canary_user:Kanarienvogel@host/db",
    ],
)
def test_a_url_that_is_none_is_told_without_it(bench, url: str) -> None:
    for arguments in (["search", bench.study], ["trials", bench.folder]):
        result = bench.call(*arguments, "--storage", url)
        assert result.exit_code == 2 and secret_free(result.output), result.output
    result = bench.search("--storage", url)
    assert result.stderr.startswith("eutectic: --storage") and len(result.stderr) < 400
    assert not (bench.folder / "runs").exists()


def test_python_has_it_too(bench, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Study(bench.study).search(storage=server_url, trials=3, threads=1, quiet=True)
    assert len(run.trials()) == 3 and run.report().is_file()
    assert run.export() == (bench.run / "winner.yaml").read_text()
    with pytest.raises(RunError, match="its results are in the database"):
        Run(bench.run)
    monkeypatch.setenv("EUTECTIC_STORAGE", server_url)
    assert len(Run(bench.run).refresh().front()) >= 1
    assert secret_free(repr(vars(run))) and not Run(bench.run).verify(trial=0).different
    with pytest.raises(RunError, match="holds no run 'x'"):
        study = bench.run / "study.yaml"
        study.write_text(study.read_text().replace("name: pico", "name: x"))
        Run(bench.run)
