"""Waiting for a database that is away: a restart, a lost network, a lock that is held too long."""

import sys
import time
from collections.abc import Callable
from threading import Event, Lock
from typing import TypeVar

import sqlalchemy as sa

from .database_faults import fault, in_short, is_away
from .errors import StorageError
from .storage_url import shown

PATIENCE = 300.0
"""Seconds that a database may be away."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0

T = TypeVar("T")


def say(text: str) -> None:
    """To whom it is told where no search is watched."""
    print(f"warning: {text}", file=sys.stderr)


class Patience:
    """Does work with a database again until it succeeds; for several threads at once.

    Work must be idempotent: a commit whose answer was lost is done again.
    """

    def __init__(self, url: sa.URL) -> None:
        """For the database at `url`. Before `opened` an error is told at once."""
        self.tell: Callable[[str], None] = say
        self.opened = False
        self._url = url
        self._closed = Event()
        self._lock = Lock()
        self._away_since: float | None = None

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns.

        Raises:
            StorageError: the database is at fault, or was away for too long.
        """
        begun, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                done = work()
            except StorageError:
                raise
            except Exception as error:
                if not is_away(error):
                    if isinstance(_root(error), sa.exc.SQLAlchemyError):
                        raise fault(error, self._url) from None
                    raise
                reason = in_short(_root(error), self._url)
                if not self.opened:
                    raise fault(error, self._url) from None
                self._is_away(reason)
                if time.monotonic() - begun + wait > PATIENCE or self._closed.is_set():
                    raise self._given_up(reason) from None
            else:
                self._is_back()
                return done
            self._closed.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def close(self) -> None:
        """Nobody waits any longer."""
        self._closed.set()

    def _is_away(self, reason: str) -> None:
        with self._lock:
            new = self._away_since is None
            if new:
                self._away_since = time.monotonic()
        if new:
            self.tell(
                f"the database is away ({shown(self._url)}: {reason}); trying again for up to "
                f"{PATIENCE:.0f} s"
            )

    def _is_back(self) -> None:
        if self._away_since is None:  # nearly always: no lock for that
            return
        with self._lock:
            since, self._away_since = self._away_since, None
        if since is not None:
            self.tell(f"the database is back, after {time.monotonic() - since:.0f} s")

    def _given_up(self, reason: str) -> StorageError:
        away = time.monotonic() - (self._away_since or time.monotonic())
        return StorageError(
            f"{shown(self._url)}: away for {away:.0f} s ({reason}); the run is saved, the same "
            "command goes on with it when the database is back"
        )


def _root(error: BaseException) -> BaseException:
    """SQLAlchemy's own error, where Optuna has put one of its own around it."""
    cause = error.__cause__
    return cause if isinstance(cause, sa.exc.SQLAlchemyError) else error
