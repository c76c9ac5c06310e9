"""SIGTERM and Ctrl-C, once and twice: an orderly end, or at the second an end at once."""

import os
import signal
import time
from collections.abc import Callable

from fault_cases import Case
from fault_harms import SignalledInBlock
from fault_process import finish, start
from fault_rules import Broken

INTERRUPTED = 130


def signals(number: int, times: int) -> Callable[[Case], int]:
    """A kind of fault: a signal to the process group, as a terminal and a supervisor send it."""

    def signalled(case: Case) -> int:
        if case.chance.random() < 0.3:
            return _inside_a_block(case, number, times)
        command = case.command()
        process = start(command)
        case.moment(process, command)
        for again in range(times):
            if again:
                time.sleep(case.chance.choice((0.0, 0.01, 0.1, 0.4)))
            try:
                os.killpg(process.pid or 0, number)
            except ProcessLookupError:
                break  # it has ended, or not begun
        code = case.ended(finish(process), command, INTERRUPTED, 0, -number)
        if code == INTERRUPTED and "interrupted" not in command.said.read_text():
            raise Broken(f"it said {command.said.read_text()[-500:]!r}")
        return case.resumed(1)

    return signalled


def _inside_a_block(case: Case, number: int, times: int) -> int:
    """The signal comes while a block is scored, the second one at once."""
    block = case.chance.randrange(case.known.blocks // 2)
    harm = SignalledInBlock((block,) * times, signal.Signals(number))
    case.ends(case.command(harm=harm), INTERRUPTED)
    return case.resumed(1)
