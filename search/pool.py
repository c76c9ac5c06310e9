"""A pool of workers: leases, replacement, and the recipe that costs worker after worker.

A block of work is asked of one worker with a lease. When the worker dies, or the lease runs out,
it is killed and replaced, and the same block is asked of another; results are idempotent in the
ledger, so nothing is counted twice. A merge that was at work when TRIES workers died is set aside
with CrashedError: one that crashes every worker must not stop the search.

Threads of the coordinator lend a worker each (`lend`); who schedules them is the caller.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from evaluation.task import ItemResult

from .errors import CrashedError, StoppedError, WorkerLostError, WorkersError
from .executors import GoldItems, GoldSlopes, Merge, Planner, Terms
from .leases import Lease
from .lent import Lent, Place
from .workers import Source, Worker

TRIES = 2
"""So many workers may die over one merge before it is set aside."""
STARTS = 3
"""So many workers in a row may fail to start before no more are tried."""
AGAIN_SECONDS = 10.0
"""Between attempts to fill places that stay empty."""


@dataclass(eq=False)
class WorkerPool:
    """Lends the workers of a source; an executor itself, for whoever needs one worker only.

    `tell` takes a line for whoever watches, and may be called by any thread.
    """

    planner: Planner
    source: Source
    lease: Lease
    tell: Callable[[str], None] = lambda _: None
    _places: dict[int, Place] = field(default_factory=dict, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _terms: Terms | None = field(default=None, init=False)
    _budget: int | None = field(default=None, init=False)
    _crashes: Counter[str] = field(default_factory=Counter, init=False)
    _deaths: dict[str, str] = field(default_factory=dict, init=False)
    """Of merges that cost workers, how the last one ended."""
    _failures: list[str] = field(default_factory=list, init=False)
    """Of workers that did not start, since the last one that did."""
    _tried: float = field(default=0.0, init=False)
    _nowhere: bool = field(default=False, init=False)
    """Whether no worker could be had when that was last looked for."""
    _stopped: bool = field(default=False, init=False)
    _front: Merge | None = field(default=None, init=False)
    """What was built last for whoever needs one worker only."""

    def open(self) -> None:
        """Starts the workers; returns when the first is ready.

        Raises:
            WorkersError: none can be had.
        """
        self.refresh()
        with self._changed:
            while self._terms is None:
                if self._hopeless():
                    self._raise_hopeless()
                self._changed.wait(timeout=AGAIN_SECONDS)
                self.refresh()

    @property
    def terms(self) -> Terms:
        """How every worker scores."""
        assert self._terms is not None  # the pool is open
        return self._terms

    @property
    def settings(self) -> str:
        """Hash of everything but recipe and items that can change a score."""
        return self.terms.settings

    @property
    def workers(self) -> int:
        """Those that are ready, or at least one, whom everybody waits for."""
        with self._changed:
            return max(1, sum(one.worker is not None for one in self._places.values()))

    def refresh(self) -> None:
        """Starts workers, in the background, where there are fewer than can be had."""
        wanted = self.source.wanted()
        if not wanted and not self._nowhere and not self._stopped:
            self.tell("there is room for no worker any more; the search waits until there is")
        self._nowhere = not wanted
        with self._changed:
            if self._stopped:
                return
            for number in range(wanted):
                self._places.setdefault(number, Place(number))
            pause = AGAIN_SECONDS * 2 ** min(len(self._failures), 6)
            waits = bool(self._failures) and time.monotonic() - self._tried < pause
            places = self._places.values()
            taken = sum(one.worker is not None or one.starting for one in places)
            empty = [one for one in places if one.worker is None and not one.starting]
            del empty[max(0, wanted - taken) :]
            if waits or not empty:
                return
            self._tried = time.monotonic()
            for one in empty:
                one.starting = True
                thread = threading.Thread(target=self._start, args=(one,), daemon=True)
                thread.start()

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """Reads, plans and hashes a recipe, in this process."""
        return self.planner.prepare(data)

    def build(self, merge: Merge) -> None:
        """Has a worker build a merge."""
        with self.lend(merge.hash) as executor:
            executor.build(merge)
        self._front = merge

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Has a worker score the merge built last."""
        assert self._front is not None  # something was built
        with self.lend(self._front.hash) as executor:
            executor.holding(self._front)
            return executor.score(task, indices)

    def gradient(
        self, merge: Merge, asked: Sequence[GoldItems], *, slopes: bool = True
    ) -> Sequence[GoldSlopes]:
        """Has a worker take losses."""
        with self.lend(merge.hash) as executor:
            return executor.gradient(merge, asked, slopes=slopes)

    @contextmanager
    def lend(self, wanted: str = "") -> "Iterator[Lent]":
        """An executor for one thread, with a worker to itself."""
        lent = Lent(self, wanted)
        try:
            yield lent
        finally:
            lent.give_back()

    def shrink(self) -> int:
        """Fewer tokens at once for every worker, after memory ran out in one.

        Raises:
            ExhaustedError: there are no fewer to be had.
        """
        budget = self._shrunk()
        with self._changed:
            self._budget, self._terms = budget, None
            idle = [one for one in self._places.values() if one.worker and not one.lent]
        for place in idle:
            self._bury(place, "works with fewer tokens from now on", quiet=True)
        self.open()
        return budget

    def _shrunk(self) -> int:
        """The budget of one worker that takes fewer tokens; another is asked where it dies."""
        while True:
            place, worker = self.take("")
            try:
                budget = worker.shrink(self.lease.of_build())
            except WorkerLostError as error:
                self._bury(place, str(error))
                continue
            except BaseException:
                self.hand_back(place, "")
                raise
            self.hand_back(place, "")
            return budget

    @property
    def stopped(self) -> bool:
        """Whether nobody works any longer."""
        return self._stopped

    def stop(self) -> None:
        """Kills every worker: whoever waits for an answer is told."""
        with self._changed:
            self._stopped = True
            workers = [one.worker for one in self._places.values() if one.worker is not None]
            self._changed.notify_all()
        for worker in workers:
            worker.kill()

    def close(self) -> None:
        """Ends the workers and their source."""
        self.stop()
        self.source.close()

    def take(self, wanted: str) -> tuple[Place, Worker]:
        """An idle worker, rather one that holds `wanted`; waits for one.

        Raises:
            StoppedError: the pool ends.
            WorkersError: there is none, and none can be had.
        """
        with self._changed:
            while True:
                if self._stopped:
                    raise StoppedError
                idle = [one for one in self._places.values() if one.worker and not one.lent]
                if idle:
                    place = max(idle, key=lambda one: (one.holds == wanted, -one.number))
                    place.lent = True
                    assert place.worker is not None
                    return place, place.worker
                if self._hopeless():
                    self._raise_hopeless()
                self._changed.wait(timeout=AGAIN_SECONDS)
                self.refresh()  # and wakes nobody, or those who wait would wake each other

    def hand_back(self, place: Place, holds: str) -> None:
        """Takes a worker back, with what it holds now."""
        with self._changed:
            place.lent, place.holds = False, holds
            self._changed.notify_all()

    def lost(self, place: Place, merge: str, error: WorkerLostError) -> None:
        """Replaces a worker that died or is late.

        Raises:
            StoppedError: it died because the pool ends.
            CrashedError: the merge has cost too many workers.
        """
        with self._changed:
            stopped = self._stopped
        if stopped:
            raise StoppedError
        self._bury(place, str(error))
        if error.blameless:
            return
        with self._changed:
            self._crashes[merge] += 1
            self._deaths[merge] = str(error)
        self.refuse_deadly(merge)

    def refuse_deadly(self, merge: str) -> None:
        """Raises CrashedError for a merge that has cost too many workers already."""
        with self._changed:
            count, last = self._crashes[merge], self._deaths.get(merge, "")
        if count >= TRIES:
            raise CrashedError(f"cost {count} workers, the last one {last}")

    def _bury(self, place: Place, why: str, *, quiet: bool = False) -> None:
        with self._changed:
            worker, place.worker = place.worker, None
            place.lent, place.holds = False, ""
        if worker is not None:
            worker.kill()
            if not quiet:
                self.tell(f"{worker.label} {why}; another takes its place")
        self._refill()

    def _refill(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self.refresh()

    def _start(self, place: Place) -> None:
        """Fills a place; in a thread of its own."""
        try:
            worker, terms = self.source.start(place.number, self._budget)
        except Exception as error:  # whatever keeps a worker from starting is told, not raised
            with self._changed:
                place.starting = False
                self._failures.append(str(error) or type(error).__name__)
                told = self._failures[-1] if self._alive() and not self._stopped else ""
                self._changed.notify_all()
            if told:
                self.tell(f"worker {place.number + 1} did not start: {told}")
            return
        with self._changed:
            place.starting = False
            refused, others = self._refusal(terms), self._terms
            if not refused:
                place.worker, self._failures[:] = worker, []
            elif terms.token_budget == self._budget:
                self._failures.append(f"{worker.label} {refused}")
            self._changed.notify_all()
        if refused:
            worker.kill()
            self.tell(f"{worker.label} {refused}: it is not used")
            self.refresh()
        elif others is not None and terms.machine != others.machine:
            self.tell(
                f"{worker.label} runs on {terms.machine}, others on {others.machine}: last "
                "bits of scores may differ between them"
            )

    def _refusal(self, terms: Terms) -> str:
        """Why a worker that has started is not used; empty for one that is."""
        if self._stopped:
            return "came too late"
        self._budget = self._budget or terms.token_budget
        if terms.token_budget != self._budget:  # fewer since it was asked to start
            return f"takes {terms.token_budget} tokens at once, not {self._budget}"
        self._terms = self._terms or terms
        if terms.settings == self._terms.settings:
            return ""
        return f"scores otherwise than the others ({_difference(self._terms, terms)})"

    def _alive(self) -> bool:
        return any(one.worker is not None or one.starting for one in self._places.values())

    def _hopeless(self) -> bool:
        enough = STARTS if self._terms is not None else min(STARTS, len(self._places))
        return 0 < enough <= len(self._failures) and not self._alive()

    def _raise_hopeless(self) -> None:
        raise WorkersError(f"no worker can be had: {self._failures[-1]}")


def _difference(one: Terms, other: Terms) -> str:
    names = [name for name in one.scoring if one.scoring[name] != other.scoring.get(name)]
    told = (f"{name}: {other.scoring.get(name)}, not {one.scoring[name]}" for name in names)
    return "; ".join(told) or "by another version of eutectic"
