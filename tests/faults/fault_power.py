"""Power cuts: the run folder as it stood at a moment, its last writes torn.

SQLite's log is what a commit has flushed: what comes behind its last committed frame, the shared
index (rebuilt), pages of the main file that the log holds too, and every other file may be torn.
A disk that says it has flushed and has not loses the end of that log as well: then an earlier
state of the ledger is found, and no other.
"""

import os
import shutil
import signal
import struct
from pathlib import Path
from random import Random

from fault_cases import Case
from fault_process import finish, journal, start
from fault_rules import Broken, read

FRAME = 24
"""Bytes of a frame's header in SQLite's log, whose own header has 32."""


def power_cut(case: Case) -> int:
    """Nothing that was committed is lost, the rest is done again."""
    saved = cut(case)
    wal = saved / "study.db-wal"
    if wal.is_file():
        half_frame(wal, case.chance)
        if case.chance.random() < 0.5:
            garble_logged_pages(saved / "study.db", wal, case.chance)
    tear_others(saved, case.chance)
    put_back(saved, case.run)
    case.ended(0, case.commands[-1], 0)
    return case.resumed(1)


def disk_that_lied(case: Case) -> int:
    """Commits are lost from the end: the run goes on from where the log is whole."""
    saved = cut(case)
    wal = saved / "study.db-wal"
    if wal.is_file():
        os.truncate(wal, case.chance.randrange(wal.stat().st_size + 1))
    tear_others(saved, case.chance)
    put_back(saved, case.run)
    have = read(case.run).results if (case.run / "study.db").is_file() else {}
    told = [line[1:5] for line in journal(case.commands[-1].journal) if line[0] == "recorded"]
    there = [tuple(key) in have for key in told]
    if there != sorted(there, reverse=True):
        raise Broken("a later block is there where an earlier one is lost")
    return case.resumed(1 + there.count(False) + len(told))


def cut(case: Case) -> Path:
    """A copy of the run folder at a moment at which nothing moves; the process is killed."""
    command = case.command()
    process = start(command)
    case.moment(process, command)
    if process.exitcode is None:
        os.kill(process.pid or 0, signal.SIGSTOP)
    saved = case.folder / "saved"
    if case.run.is_dir():
        shutil.copytree(case.run, saved)
    else:
        saved.mkdir()
    process.kill()
    finish(process)
    return saved


def put_back(saved: Path, run: Path) -> None:
    """The copy in the place of the run."""
    shutil.rmtree(run, ignore_errors=True)
    run.parent.mkdir(exist_ok=True)
    saved.rename(run)


def half_frame(wal: Path, chance: Random) -> None:
    """A frame behind the last one that was not written to its end: any bytes, or an old one."""
    whole = wal.read_bytes()
    length = chance.randrange(4120)
    old = whole[32 : 32 + length] if chance.random() < 0.5 else chance.randbytes(length)
    with wal.open("ab") as file:
        file.write(old)


def garble_logged_pages(database: Path, wal: Path, chance: Random) -> None:
    """Pages of the main file whose newest state is in the log: torn by a cut at a checkpoint."""
    content, pages = wal.read_bytes(), set()
    size, salts = struct.unpack(">I", content[8:12])[0], content[16:24]
    latest: set[int] = set()
    for at in range(32, len(content) - FRAME - size + 1, FRAME + size):
        page, committed = struct.unpack(">II", content[at : at + 8])
        if content[at + 8 : at + 16] != salts:
            break
        latest.add(page)
        if committed:
            pages |= latest
    have = database.stat().st_size // size
    with database.open("r+b") as file:
        for page in sorted(pages):
            if 1 < page <= have and chance.random() < 0.5:
                file.seek((page - 1) * size + chance.randrange(size // 2))
                file.write(chance.randbytes(size // 4))


def tear_others(saved: Path, chance: Random) -> None:
    """Every file but the database is cut off, zeroed at its end, or emptied, by chance."""
    for file in sorted(saved.iterdir()):
        if file.name in ("study.db", "study.db-wal") or chance.random() < 0.5:
            continue
        if file.name == "study.db-shm" and chance.random() < 0.5:
            file.unlink()
            continue
        content = file.read_bytes()
        kept = content[: chance.choice((0, chance.randrange(len(content) + 1)))]
        zeros = bytes(len(content) - len(kept)) if chance.random() < 0.5 else b""
        file.write_bytes(kept + zeros)
