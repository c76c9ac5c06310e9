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
FIRST_WAIT, LONGEST_WAIT, GLANCE = 0.1, 5.0, 0.2

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
        self.stopped: Callable[[], bool] = lambda: False
        """Whether the search was interrupted: then nobody waits any longer."""
        self._url = url
        self._closed = Event()
        self._lock = Lock()
        self._away_since: float | None = None

    def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns.

        Raises:
            StorageError: the database is at fault, or was away for too long.
        """
        begun, wait, tries = time.monotonic(), FIRST_WAIT, 0
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
                tries += 1
                if tries > 1:  # else a connection was lost, and another one may do
                    self._is_away(begun, reason)
                if time.monotonic() - begun + wait > PATIENCE or self._over():
                    raise self._given_up(begun, reason) from None
            else:
                self._is_back()
                return done
            self._pause(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def close(self) -> None:
        """Nobody waits any longer."""
        self._closed.set()

    def _over(self) -> bool:
        return self._closed.is_set() or self.stopped()

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._over() and (left := end - time.monotonic()) > 0:
            self._closed.wait(min(left, GLANCE))

    def _is_away(self, since: float, reason: str) -> None:
        with self._lock:
            new = self._away_since is None
            if new:
                self._away_since = since
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

    def _given_up(self, since: float, reason: str) -> StorageError:
        away = time.monotonic() - since
        return StorageError(
            f"{shown(self._url)}: away for {away:.0f} s ({reason}); the run is saved, the same "
            "command goes on with it when the database is back"
        )


def _root(error: BaseException) -> BaseException:
    """SQLAlchemy's own error, where Optuna has put one of its own around it."""
    cause = error.__cause__
    return cause if isinstance(cause, sa.exc.SQLAlchemyError) else error
