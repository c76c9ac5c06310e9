"""A run folder from a stranger: its database is data, and it does not act, grow or unpickle."""

import json
import pickle
import sqlite3
import zlib
from contextlib import closing

import pytest


def change(another, *statements: str, **values: object) -> None:
    with closing(sqlite3.connect(another.run / "study.db")) as db, db:
        for statement in statements:
            db.execute(statement, values if ":" in statement else {})


TRIGGER = (
    "CREATE TRIGGER evil AFTER INSERT ON eutectic_candidates "
    "BEGIN DELETE FROM eutectic_results; END"
)
VIEW = (
    "ALTER TABLE eutectic_candidates RENAME TO kept",
    "CREATE VIEW eutectic_candidates AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 "
    "FROM n) SELECT kind, number, body FROM kept, n",
)
VIRTUAL = ("CREATE VIRTUAL TABLE evil USING fts5(x)",)


@pytest.mark.parametrize("statements", [(TRIGGER,), VIEW, VIRTUAL])
@pytest.mark.parametrize("command", ["trials", "report", "export", "verify", "search"])
def test_a_database_that_acts_by_itself(another, refused, command, statements) -> None:
    change(another, *statements)
    before = (another.run / "study.db").read_bytes()
    result = another.search() if command == "search" else another.call(command, another.run)
    refused(result, "which eutectic did not make")
    assert (another.run / "study.db").read_bytes() == before


def test_a_block_that_unpacks_without_end(another, refused) -> None:
    packing = zlib.compressobj(9)
    bomb = b"".join(packing.compress(bytes(1 << 20)) for _ in range(300)) + packing.flush()
    assert len(bomb) < 1 << 20
    change(another, "UPDATE eutectic_results SET body = :bomb", bomb=bomb)
    refused(another.call("verify", another.run), "larger than the 67108864 bytes")


@pytest.mark.parametrize("body", [b"", b"x", zlib.compress(b"{}")[:-3], zlib.compress(b"[[")])
def test_a_damaged_block(another, refused, body) -> None:
    change(another, "UPDATE eutectic_results SET body = :body", body=body)
    refused(another.call("verify", another.run), "is damaged")


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"evil": 1}', "[" * 100_000, "null"])
def test_a_damaged_candidate(another, refused, body) -> None:
    change(another, "UPDATE eutectic_candidates SET body = :body", body=body)
    refused(another.call("trials", another.run), "is damaged")


def test_what_a_sampler_keeps_is_not_unpickled(another, canary, refused) -> None:
    class Payload:
        def __reduce__(self):
            return open, (str(canary), "w")

    packed = pickle.dumps(Payload()).hex()
    attributes = {"sampler:user_attrs": {"state": packed}, "cma:optimizer:0": packed}
    with closing(sqlite3.connect(another.run / "study.db")) as db, db:
        found = db.execute("SELECT number, body FROM eutectic_candidates WHERE kind='trial'")
        for number, body in found.fetchall():
            changed = json.dumps({**json.loads(body), "system_attrs": attributes})
            where = (changed, number)
            db.execute(
                "UPDATE eutectic_candidates SET body=? WHERE kind='trial' AND number=?", where
            )
        db.execute("DELETE FROM eutectic_meta WHERE key = 'view'")
    for command in ("trials", "report", "verify"):
        another.call(command, another.run)
    resumed = another.search("--trials", 7, "--sampler", "tpe")
    assert resumed.exit_code == 0, resumed.stderr
    assert not canary.exists()


def test_a_pipe_in_a_run(another, refused) -> None:
    import os

    (another.run / "log.txt").unlink()
    os.mkfifo(another.run / "log.txt")
    refused(another.search("--trials", 7), "a pipe or a device where a file should be")
