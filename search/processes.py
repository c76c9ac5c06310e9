"""Processes that work for this one: started without its script, gone when it is gone."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

_MAIN = threading.Lock()
"""Processes are started from several threads, and the caller's script is one for all."""


@contextmanager
def without_main() -> Iterator[None]:
    """A process that starts here does not run the caller's script again: it needs none of it."""
    main = sys.modules["__main__"]
    with _MAIN:
        before = dict(vars(main))
        vars(main).update(__spec__=None, __file__=None)
        try:
            yield
        finally:
            for name in ("__spec__", "__file__"):
                del vars(main)[name]
                vars(main).update({name: before[name]} if name in before else {})


def follow_parent() -> None:
    """Leaves Ctrl-C to the parent, and ends when the parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    wait([sentinel])
    os._exit(0)
