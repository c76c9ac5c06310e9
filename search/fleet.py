"""Looks under way: one at a time in this thread, or as many as a pool has workers.

With a pool each look is carried out by a thread of its own, which lends a worker and writes what
it learns into the ledger block by block. Judging, proposing, and whatever else decides stay in the
caller's thread.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self, cast

from .ahead import MOST_THREADS, POLL_SECONDS
from .assessor import Assessor, Done, Work
from .errors import StoppedError
from .executors import Pool
from .observer import Step


class Fleet:
    """Carries out looks. A context manager: leaving it, no look is under way any more."""

    def __init__(
        self, assessor: Assessor, pool: Pool | None, tell: Callable[[Step], None]
    ) -> None:
        """Without a pool a look is carried out when it is waited for."""
        self._assessor = assessor
        self._pool = pool
        self._tell = tell
        self._works: dict[int, Work] = {}
        self._futures: dict[Future[Done], int] = {}
        self._threads = ThreadPoolExecutor(MOST_THREADS, "look") if pool is not None else None
        self._stop = threading.Event()
        self._scored: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Waits for the blocks under way; on Ctrl-C, or without need of them, for nothing."""
        self._stop.set()
        if self._threads is None or self._pool is None:
            return
        if kind is not None and not issubclass(kind, Exception):
            self._pool.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)

    @property
    def under_way(self) -> Mapping[int, Work]:
        """What is being scored, by the trial's number."""
        return self._works

    @property
    def items(self) -> int:
        """Items that the looks under way take, at most."""
        contest = self._assessor.contestants
        return sum(contest.cost(look) for work in self._works.values() for look in work.looks)

    def is_free(self) -> bool:
        """Whether another look can be begun now."""
        return len(self._works) < (1 if self._pool is None else self._pool.workers)

    def begin(self, work: Work) -> None:
        """Begins a look at a trial."""
        number = work.candidate.number
        self._works[number] = work
        self._assessor.observer.scoring(work.candidate)
        if self._threads is not None:
            self._futures[self._threads.submit(self._carry_out, work)] = number

    def ended(self, also: "Future[Any] | None" = None) -> Sequence[Done]:
        """The looks that have ended; raises what one of them raised.

        With a pool it may be none: a worker has come, or what is waited for `also`.
        """
        if self._pool is None:
            ((number, work),) = self._works.items()
            done = self._assessor.carry_out(work, self._assessor.scorer)
            del self._works[number]
            return [done]
        while True:
            waits = [*self._futures, *([also] if also is not None and self.is_free() else [])]
            over, _ = wait(waits, POLL_SECONDS, FIRST_COMPLETED)
            self._tell_progress()
            if over:
                break
            self._pool.refresh()
            if also is None and self.is_free():
                return []  # a worker has come
        over.discard(cast(Any, also))
        numbers = sorted((self._futures.pop(future), future) for future in over)
        found = []
        for number, future in numbers:
            del self._works[number]
            self._scored.pop(number, None)
            found.append(future.result())
        return found

    def _carry_out(self, work: Work) -> Done:
        """In a thread of its own, with a worker to itself."""
        assert self._pool is not None
        number = work.candidate.number

        def tell(step: Step) -> None:
            if self._stop.is_set():
                raise StoppedError
            self._scored[number] = step.done

        with self._pool.lend(work.candidate.recipe_hash) as executor:
            scorer = self._assessor.scorer.by(executor, tell)
            return self._assessor.carry_out(work, scorer)

    def _tell_progress(self) -> None:
        done = sum(self._scored.get(number, 0) for number in self._works)
        self._tell(Step("scoring", done, self.items))
