"""Workers in this process, that die, hang and differ on demand: what a pool is tried with."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from search.errors import WorkerLostError
from search.executors import Merge, Planner, Terms
from search.leases import Lease
from search.pool import WorkerPool
from search.workers import Call, Servant, Working
from tests.search.conftest import ToyExecutor

TERMS = Terms("toy", {"threads": 1}, 64, machine="one")


@dataclass(slots=True)
class Bench:
    """What a worker holds: a toy executor with terms."""

    toy: Any
    terms: Terms = TERMS

    @property
    def settings(self) -> str:
        """Of the terms."""
        return self.terms.settings

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """As the toy does."""
        return cast(Merge, self.toy.prepare(data))

    def build(self, merge: Merge) -> None:
        """As the toy does."""
        self.toy.build(merge)

    def score(self, task: str, indices: Sequence[int]) -> Any:
        """As the toy does."""
        return self.toy.score(task, indices)

    def gradient(self, merge: Merge, asked: Sequence[Any], *, slopes: bool = True) -> Any:
        """As the toy does."""
        return self.toy.gradient(merge, asked, slopes=slopes)

    def shrink(self) -> int:
        """Half as many tokens."""
        budget = self.terms.token_budget // 2
        self.terms = Terms(f"toy {budget}", {"threads": 1}, budget)
        return budget


@dataclass(slots=True)
class HereWorker:
    """A worker in this process: `fault` is called with every call, and may raise or wait."""

    label: str
    servant: Servant
    fault: Callable[["HereWorker", Call], None]
    calls: list[Call] = field(default_factory=list)
    dead: threading.Event = field(default_factory=threading.Event)

    def call(self, call: Call, seconds: float) -> Any:
        """Answers, unless it is dead or the fault says otherwise."""
        if self.dead.is_set():
            raise WorkerLostError("was killed")
        self.calls.append(call)
        self.fault(self, call)
        return self.servant.answer(call)

    def hang(self, seconds: float) -> None:
        """Gives no answer within a lease."""
        if self.dead.wait(seconds):
            raise WorkerLostError("was killed")
        raise WorkerLostError(f"gave no answer within {seconds:.0f} s")

    def shrink(self, seconds: float) -> int:
        """Fewer tokens."""
        return self.servant.shrink()

    def kill(self) -> None:
        """Dead from now on."""
        self.dead.set()


@dataclass(slots=True)
class HereSource:
    """Workers over toys; `count` may change, `terms` are those of the worker of a place."""

    count: int
    toy: Callable[[], Any] = ToyExecutor
    fault: Callable[[HereWorker, Call], None] = lambda *_: None
    terms: Callable[[int, int | None], Terms] = lambda *_: TERMS
    started: list[HereWorker] = field(default_factory=list)

    def wanted(self) -> int:
        """As many as are asked for now."""
        return self.count

    def start(self, place: int, token_budget: int | None) -> tuple[HereWorker, Terms]:
        """At once; raises what `terms` raises."""
        terms = self.terms(place, token_budget)
        bench = cast(Working, Bench(self.toy(), terms))
        worker = HereWorker(f"worker {place + 1}", Servant(bench), self.fault)
        self.started.append(worker)
        return worker, terms

    def close(self) -> None:
        """Holds nothing."""


class ToyPlanner:
    """Recipes to merges, as the toys have them."""

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """As any toy does."""
        return ToyExecutor().prepare(data)


def pool_of(source: HereSource, lease: float | None = 5.0) -> WorkerPool:
    """An open pool."""
    pool = WorkerPool(cast(Planner, ToyPlanner()), source, Lease(lease))
    pool.open()
    return pool


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to be so"
        time.sleep(0.005)
