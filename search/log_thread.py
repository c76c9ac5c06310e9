"""The Optuna log, written by a thread of its own: a search of many workers does not wait for it.

The log is no truth: what it lacks when a search is killed is added when the search goes on.
"""

import threading
from collections.abc import Sequence
from typing import Protocol

from .ledger import Candidate


class Log(Protocol):
    """Where ended trials are logged."""

    def add(self, trials: Sequence[Candidate], *, ended: bool = False) -> None:
        """Logs those that are not there yet."""
        ...


class LogThread:
    """Adds the newest state of the trials, again and again; what it raises is raised by `add`."""

    def __init__(self, log: Log) -> None:
        """Takes the log, which nobody else may use until the search has ended."""
        self._log = log
        self._newest: Sequence[Candidate] | None = None
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._working = False

    def add(self, trials: Sequence[Candidate], *, ended: bool = False) -> None:
        """Has the trials logged; when the search has `ended`, returns after that is done."""
        with self._changed:
            if self._error is not None:
                raise self._error
            self._newest = list(trials)
            if not self._working:
                self._working = True
                threading.Thread(target=self._work, name="log", daemon=True).start()
        if ended:
            self.flush()
            self._log.add(trials, ended=True)

    def flush(self) -> None:
        """Waits until nothing is left to be logged."""
        with self._changed:
            self._changed.wait_for(lambda: not self._working)
            if self._error is not None:
                raise self._error

    def _work(self) -> None:
        while True:
            with self._changed:
                newest, self._newest = self._newest, None
                if newest is None or self._error is not None:
                    self._working = False
                    self._changed.notify_all()
                    return
            try:
                self._log.add(newest)
            except BaseException as error:  # raised where the search can be told
                with self._changed:
                    self._error = error
