"""Writes of several threads that meet are committed together: one wait for the disk, not many.

Whoever comes while another commits joins those that wait; the first of them to have its turn
commits for all. Each returns when its own write is durable, and is told its own error. What is
written `soon` is waited for by nobody. Writes are done in the order in which they came, so that a
kill leaves all of them up to one of them.
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
    alone: bool = False
    """Whether nobody waits for it."""
    over: bool = False


class Commits:
    """Writes, in as few transactions as they come together."""

    def __init__(self, commit: Callable[[Work], Any]) -> None:
        """`commit` does a work in one transaction; it is called by one thread at a time."""
        self._commit = commit
        self._waiting: list[_Wanted] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._helper: threading.Thread | None = None
        self._failed: Exception | None = None
        """What happened to a write that nobody waited for."""

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, once that is durable; raises what it raises."""
        mine = _Wanted(work)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.over:
                self._take_turn()
        if mine.error is not None:
            raise mine.error
        return cast(T, mine.value)

    def soon(self, work: Work) -> None:
        """Has `work` done after all that came before it; raises what an earlier one raised."""
        with self._lock:
            if self._failed is not None:
                raise self._failed
            self._waiting.append(_Wanted(work, alone=True))
            if self._helper is None:
                self._helper = threading.Thread(target=self._help, name="commits", daemon=True)
                self._helper.start()

    def flush(self) -> None:
        """Returns when all that came before is durable; raises what one of `soon` raised."""
        self.write(lambda connection: None)
        with self._lock:
            if self._failed is not None:
                raise self._failed

    def _help(self) -> None:
        """Commits what nobody waits for, unless somebody who waits has done so."""
        while True:
            with self._lock:
                if not any(one.alone for one in self._waiting):
                    self._helper = None
                    return
            with self._turn:
                self._take_turn()

    def _take_turn(self) -> None:
        """Commits for all who wait; they leave when that is over, so that Ctrl-C loses none."""
        with self._lock:
            batch = [one for one in self._waiting if not one.over]
        if batch:
            self._together(batch)
        with self._lock:
            over = [one for one in self._waiting if one.over]
            self._waiting = [one for one in self._waiting if not one.over]
            failed = [one.error for one in over if one.alone and one.error is not None]
            self._failed = self._failed or next(iter(failed), None)

    def _together(self, batch: list[_Wanted]) -> None:
        def all_of_them(connection: sa.Connection) -> None:
            for one in batch:
                one.value, one.error = one.work(connection), None

        try:
            self._commit(all_of_them)
        except Exception as error:
            if len(batch) == 1 or isinstance(error, StorageError):  # the database's fault
                for one in batch:
                    one.error = error
            else:
                for one in batch:
                    self._alone(one)
        for one in batch:
            one.over = True

    def _alone(self, one: _Wanted) -> None:
        try:
            one.value = self._commit(one.work)
        except Exception as error:
            one.error = error
        one.over = True
