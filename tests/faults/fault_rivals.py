"""Others that touch a run: a second coordinator, a lock of the dead, a proposer that is killed."""

import os
import signal
from pathlib import Path

from fault_cases import Case
from fault_process import Command, finish, start, until
from fault_rules import Broken
from fault_workers import gone


def two_coordinators(case: Case) -> int:
    """The second of two searches in one run is refused, and changes nothing."""
    first = case.command()
    process = start(first)
    if case.chance.random() < 0.3:
        return _at_once(case, first, process, 0)
    until(lambda: (case.run / ".holder").is_file(), process)
    case.moment(process, first)
    if process.exitcode is None:
        process_id = process.pid or 0
        os.kill(process_id, signal.SIGSTOP)  # one that hangs holds its run as well
        options = case.chance.choice(((), ("--fresh",), ("--trials", 3)))
        second = case.command(*options)
        code = finish(start(second))
        os.kill(process_id, signal.SIGCONT)
        told = second.said.read_text()
        ended = not (case.run / ".holder").is_file()
        if not ended and (code != 2 or f"in use by process {process_id}" not in told):
            raise Broken(f"the second coordinator ended with {code}: {told[-500:]}")
    case.ended(finish(process), first, 0)
    return case.resumed(0)


def _at_once(case: Case, first: Command, process: object, faults: int) -> int:
    """Both begin in the same moment, after so many faults: one of them is refused, whichever."""
    second = case.command()
    codes = [finish(each) for each in (start(second), process)]  # type: ignore[arg-type]
    if sorted(codes) != [0, 2]:
        raise Broken(f"two coordinators at once ended with {codes}")
    loser = (second, first)[codes.index(2)]
    if "in use by" not in loser.said.read_text():
        raise Broken(f"the second coordinator said {loser.said.read_text()[-500:]}")
    return case.resumed(faults)


def stale_lock(case: Case) -> int:
    """The lock that a killed search left is taken over, whomever it names; by one of two."""
    command = case.command()
    process = start(command)
    until(lambda: (case.run / ".holder").is_file(), process)
    case.moment(process, command)
    process.kill()
    case.ended(finish(process), command, -signal.SIGKILL, 0)
    content = case.chance.choice(("{", "", '{"pid": 1}', f'{{"pid": {os.getpid()}}}', None))
    if content is not None:
        (case.run / ".holder").write_text(content)
    if case.chance.random() < 0.5:
        first = case.command()
        return _at_once(case, first, start(first), 1)
    return case.resumed(1)


def proposer_killed(case: Case) -> int:
    """The process that proposes dies of kill -9: told in one line, or no longer needed.

    Or the coordinator does, and the other follows it.
    """
    command = case.command(own_proposer=True)
    process = start(command)
    until(lambda: bool(children(process.pid or 0)), process)
    case.moment(process, command)
    helpers = children(process.pid or 0)
    if case.chance.random() < 0.5:
        process.kill()
        case.ended(finish(process), command, -signal.SIGKILL, 0)
        gone(helpers)
        return case.resumed(1)
    for helper in helpers:
        os.kill(helper, signal.SIGKILL)
    code = case.ended(finish(process), command, 0, 2)
    if code == 2 and "was killed" not in command.said.read_text():
        raise Broken(f"it said {command.said.read_text()[-500:]}")
    return case.resumed(1)


def children(parent: int) -> list[int]:
    """Processes that propose or work for another one, without the tracker of its semaphores."""
    try:
        found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        told = {int(one): Path(f"/proc/{one}/cmdline").read_text() for one in found}
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [one for one, line in told.items() if "spawn_main" in line]
