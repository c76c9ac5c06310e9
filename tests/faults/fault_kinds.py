"""The kinds of faults. Each breaks a search, resumes it, and tells the blocks done twice."""

import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fault_cases import Case, Undisturbed
from fault_disks import disk_full, quota
from fault_harms import ClockJumps, KilledAtFile, KilledAtStatement
from fault_memory import memory_short
from fault_power import disk_that_lied, power_cut
from fault_process import finish, start
from fault_rivals import proposer_killed, stale_lock, two_coordinators
from fault_rules import Broken
from fault_server import database_gone
from fault_signals import signals
from fault_workers import WORKER_KINDS

KILLED = -signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case in which everything was held: blocks that were scored twice, and seconds."""

    kind: str
    repeated: int
    seconds: float


def break_and_resume(known: Undisturbed, kind: str, seed: str, folder: Path) -> Outcome:
    """One case of a kind; the same seed draws the same faults, though moments in time vary.

    Raises:
        Broken: something was not held.
    """
    begun = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    try:
        repeated = KINDS[kind](Case(known, folder, random.Random(f"{kind} {seed}"), []))
    except TimeoutError as error:
        raise Broken(f"it hangs: {error}") from None
    shutil.rmtree(folder)
    return Outcome(kind, repeated, time.monotonic() - begun)


def killed_at_moments(case: Case) -> int:
    """The coordinator dies of kill -9, up to three times before it may end."""
    faults = case.chance.choice((1, 1, 2, 3))
    for _ in range(faults):
        command = case.command()
        process = start(command)
        case.moment(process, command)
        process.kill()
        case.ended(finish(process), command, KILLED, 0)
    return case.resumed(faults)


def killed_at_statements(case: Case) -> int:
    """It dies before or after a statement to the database, or before a commit."""
    number = case.chance.randrange(case.known.statements)
    case.ends(case.command(harm=KilledAtStatement(number)), KILLED, 0)
    return case.resumed(1)


def killed_at_files(case: Case) -> int:
    """It dies before a file is opened, or moved to its place."""
    number = case.chance.randrange(case.known.files)
    case.ends(case.command(harm=KilledAtFile(number)), KILLED, 0)
    return case.resumed(1)


def clock_jumps(case: Case) -> int:
    """A clock that jumps by months, and a kill in between: no step depends on the time of day."""
    command = case.command(harm=ClockJumps(case.chance.randrange(1000)))
    process = start(command)
    case.moment(process, command)
    process.kill()
    case.ended(finish(process), command, KILLED, 0)
    return case.resumed(1, harm=ClockJumps(case.chance.randrange(1000)))


KINDS: Mapping[str, Callable[[Case], int]] = {
    "kill -9 at a moment": killed_at_moments,
    "kill -9 at a statement": killed_at_statements,
    "kill -9 at a file": killed_at_files,
    "SIGTERM": signals(signal.SIGTERM, 1),
    "SIGTERM twice": signals(signal.SIGTERM, 2),
    "Ctrl-C": signals(signal.SIGINT, 1),
    "Ctrl-C twice": signals(signal.SIGINT, 2),
    "disk full": disk_full,
    "quota": quota,
    "memory short": memory_short,
    "clock jumps": clock_jumps,
    "power cut": power_cut,
    "disk that lied": disk_that_lied,
    "proposer killed": proposer_killed,
    "two coordinators": two_coordinators,
    "stale lock": stale_lock,
    "database gone": database_gone,
    **WORKER_KINDS,
}
"""By their names in tables of figures."""
