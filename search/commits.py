"""Writes of several threads that meet are committed together: one wait for the disk, not many.

Whoever comes while another commits joins those that wait; the first of them to have its turn
commits for all. Each returns when its own write is durable, and is told its own error.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from .errors import StorageError

T = TypeVar("T")
Work = Callable[[sa.Connection], Any]
"""What is written in a transaction; may be done again, so it is idempotent."""


@dataclass(slots=True, eq=False)
class _Wanted:
    work: Work
    value: Any = None
    error: Exception | None = None
    over: bool = False


class Commits:
    """Writes, in as few transactions as they come together."""

    def __init__(self, commit: Callable[[Work], Any]) -> None:
        """`commit` does a work in one transaction; it is called by one thread at a time."""
        self._commit = commit
        self._waiting: list[_Wanted] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, once that is durable; raises what it raises."""
        mine = _Wanted(work)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.over:
                with self._lock:
                    batch, self._waiting = self._waiting, []
                self._together(batch)
        if mine.error is not None:
            raise mine.error
        return cast(T, mine.value)

    def _together(self, batch: list[_Wanted]) -> None:
        def all_of_them(connection: sa.Connection) -> None:
            for one in batch:
                one.value = one.work(connection)

        try:
            self._commit(all_of_them)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, StorageError):  # the database's fault
                for one in batch:
                    one.error = error
            else:
                for one in batch:
                    self._alone(one)
        except BaseException:  # Ctrl-C, of whoever has the turn: the others go on
            with self._lock:
                self._waiting += [one for one in batch if not one.over]
            raise
        for one in batch:
            one.over = True

    def _alone(self, one: _Wanted) -> None:
        try:
            one.value = self._commit(one.work)
        except Exception as error:
            one.error = error
