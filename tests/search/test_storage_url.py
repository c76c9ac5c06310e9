"""URLs of databases: read, completed, refused and shown without what is nobody's business."""

import pytest
import sqlalchemy as sa

from search import storage_url
from search.database_faults import fault, in_short, is_away
from search.errors import StorageError
from search.storage import engine_options
from search.storage_url import Storage, parse_url, scrubbed, shown


@pytest.mark.parametrize(
    ("text", "driver", "seen"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql+psycopg", "postgresql://host/db"),
        ("postgres://me@host:5433/db ", "postgresql+psycopg", "postgresql://host:5433/db"),
        ("postgresql+psycopg://host/db", "postgresql+psycopg", "postgresql://host/db"),
        (
            "postgresql://me:s3cret@/db?host=/run/pg",
            "postgresql+psycopg",
            "postgresql:///run/pg/db",
        ),
        ("mysql://me:s3%40cret@host/db?charset=utf8mb4", "mysql+pymysql", "mysql://host/db"),
        ("mariadb://me:s3cret@[::1]:3306/db", "mariadb+pymysql", "mariadb://[::1]:3306/db"),
    ],
)
def test_a_url_is_completed_and_shown_without_credentials(
    text: str, driver: str, seen: str
) -> None:
    url = parse_url(text)
    assert url.drivername == driver and shown(url) == seen
    one = Storage(url, "run")
    assert one.shown == seen and "s3" not in repr(one) and "me" not in repr(one)
    sa.create_engine(url, **engine_options(url)).dispose()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host/db", "not a database URL"),
        ("", "not a database URL"),
        ("postgresql://me:s3@cret@host/db", "not a database URL"),
        ("postgresql://me:x@host:s3cret/db", "not a database URL"),
        ("postgresql://me:s3cret@host", "postgresql://host/: names no database"),
        (
            "oracle://me:s3cret@host/db",
            "oracle://...: expected postgresql://, mysql://, mariadb://",
        ),
        ("sqlite:///s3cret.db", "a run folder has an SQLite file of its own"),
        ("postgresql+pg8000://me:s3cret@host/db", r"\+pg8000://...: .* psycopg or psycopg2"),
        ("postgresql+psycopg2://me:s3cret@host/db", r"\(psycopg2\) is missing"),
        ("mysql+mysqldb://me:s3cret@host/db", r"pip install '\.\[mysql\]'"),
    ],
)
def test_what_is_none_is_told_without_itself(text: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as told:
        parse_url(text)
    assert "cret" not in str(told.value) and "me:" not in str(told.value)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_url, "find_spec", lambda name: None)
    with pytest.raises(StorageError, match=r"\(psycopg\) is missing; .*'\.\[postgresql\]'"):
        parse_url("postgresql://host/db")


def test_drivers_words_lose_credentials() -> None:
    url = parse_url("postgresql://ann:p%40ss%2Fw@host/db?sslpassword=hidden")
    said = 'ann: "p@ss/w" (p%40ss%2Fw), hidden; announced for user "ann"'
    assert scrubbed(said, url) == '***: "***" (***), ***; announced for user "***"'


def test_a_user_among_the_options_is_not_said() -> None:
    url = parse_url("postgresql://host/db?user=me&password=s3cret")
    assert scrubbed('role "me" does not exist (s3cret)', url) == 'role "***" does not exist (***)'


def test_options_of_the_url_come_first() -> None:
    url = parse_url("postgresql://host/db?connect_timeout=3&application_name=mine")
    arguments = engine_options(url)["connect_args"]
    assert "connect_timeout" not in arguments and "application_name" not in arguments
    assert arguments["keepalives_idle"] == 30


class Told(Exception):
    """As a driver raises it."""

    def __init__(self, *arguments: object, sqlstate: str | None = None) -> None:
        super().__init__(*arguments)
        self.sqlstate = sqlstate


def of_driver(said: Told) -> sa.exc.OperationalError:
    return sa.exc.OperationalError("SELECT 1", {}, said)


@pytest.mark.parametrize(
    ("said", "away"),
    [
        (Told("connection refused"), True),
        (Told("the database system is starting up", sqlstate="57P03"), True),
        (Told("deadlock detected", sqlstate="40P01"), True),
        (Told("No space left on device", sqlstate="53100"), False),
        (Told('password authentication failed for user "x"'), False),
        (Told("column does not exist", sqlstate="42703"), False),
        (Told(2013, "Lost connection"), True),
        (Told(1045, "Access denied for user", sqlstate="28000"), False),
        (Told(1114, "The table is full"), False),
        (Told(1054, "Unknown column"), False),
    ],
)
def test_what_comes_back_by_itself_is_waited_for(said: Told, away: bool) -> None:
    assert is_away(of_driver(said)) is away


def test_a_full_disk_of_a_server_is_told() -> None:
    url = parse_url("postgresql://ann:secret@host/db")
    for said in (Told("no space", sqlstate="53100"), Told(1021, "Disk full")):
        assert str(fault(of_driver(said), url)).startswith(
            "postgresql://host/db: the disk is full"
        )
    assert in_short(of_driver(Told(2013, "Lost ann\nmore")), url) == "Lost ***"
