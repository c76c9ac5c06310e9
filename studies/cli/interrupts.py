"""Ctrl-C, SIGTERM and a lost terminal: each ends the work in order, and none of them is lost."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN = 0.1
"""Seconds after which an interruption that could not be raised comes again."""


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and a lost terminal end the work as Ctrl-C does: nothing half-written stays."""
    with _handled(), _never_lost(), _told_once():
        yield


@contextmanager
def _handled() -> Iterator[None]:
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {
        number: signal.signal(number, _interrupt)
        for number in numbers
        if signal.getsignal(number) == signal.SIG_DFL  # `nohup` ignores one of them
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _never_lost() -> Iterator[None]:
    """An interruption that falls into a destructor, which cannot raise, comes again."""
    shown = sys.unraisablehook
    again: list[threading.Timer] = []

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            shown(unraisable)
            return
        ours = signal.getsignal(signal.SIGTERM) is _interrupt
        number = signal.SIGTERM if ours else signal.SIGINT
        again.append(threading.Timer(AGAIN, signal.raise_signal, (number,)))
        again[-1].daemon = True
        again[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = shown
        for one in again:
            one.cancel()


@contextmanager
def _told_once() -> Iterator[None]:
    """SQLAlchemy's pools log the traceback of an interruption before they pass it on."""
    pools = logging.getLogger("sqlalchemy.pool")
    level = pools.level
    pools.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        pools.setLevel(level)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
