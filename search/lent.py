"""A worker of a pool in the hands of one thread: an executor like any other."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from evaluation.task import ItemResult

from .errors import WorkerLostError
from .executors import GoldItems, GoldSlopes, Merge
from .workers import Call, Worker

if TYPE_CHECKING:
    from .pool import WorkerPool


@dataclass(slots=True, eq=False)
class Place:
    """One worker's place in the pool. `holds`: the hash of the merge that it built last."""

    number: int
    worker: Worker | None = None
    holds: str = ""
    lent: bool = False
    starting: bool = False


class Lent:
    """One worker of a pool as the executor of one thread.

    When the worker is lost, another takes over in the middle of a call.
    """

    def __init__(self, pool: "WorkerPool", wanted: str) -> None:
        """Takes a worker when the first call is made."""
        self._pool = pool
        self._wanted = wanted
        self._place: Place | None = None
        self._worker: Worker | None = None
        self._merge: Merge | None = None
        self._holds = ""

    @property
    def settings(self) -> str:
        """Of the pool."""
        return self._pool.settings

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """Reads, plans and hashes a recipe, in this process."""
        return self._pool.prepare(data)

    def holding(self, merge: Merge) -> None:
        """Scores this one from now on; the worker builds it where it holds another."""
        self._merge = merge

    def build(self, merge: Merge) -> None:
        """Has the worker build a merge, if it holds another."""
        self._merge = merge
        if self._holds_of_worker() != merge.hash:
            self._call("build", merge, ())

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Has the worker score the merge built last."""
        assert self._merge is not None  # something was built
        found = self._call("score", self._merge, (task, tuple(indices)))
        return cast(Mapping[str, ItemResult], found)

    def gradient(
        self, merge: Merge, asked: Sequence[GoldItems], *, slopes: bool = True
    ) -> Sequence[GoldSlopes]:
        """Has the worker take losses; what it holds then is of no use."""
        found = self._call("gradient", merge, (tuple(asked), slopes))
        return cast(Sequence[GoldSlopes], found)

    def give_back(self) -> None:
        """The worker is free again."""
        if self._place is not None:
            self._pool.hand_back(self._place, self._holds)
            self._place = self._worker = None

    def _holds_of_worker(self) -> str:
        self._taken()
        return self._holds

    def _taken(self) -> tuple[Place, Worker]:
        if self._place is None or self._worker is None:
            self._place, self._worker = self._pool.take(self._wanted)
            self._holds = self._place.holds
        return self._place, self._worker

    def _lease(self, call: Call, *, held: bool) -> float:
        """Seconds for a call; whoever takes over a block has to build first."""
        lease = self._pool.lease
        if call.name == "build":
            return lease.of_build()
        if call.name == "gradient":
            return lease.of_gradient()
        task, indices = call.arguments
        return lease.of_block(task, len(indices)) + (0.0 if held else lease.of_build())

    def _call(self, name: str, merge: Merge, arguments: tuple[Any, ...]) -> Any:
        call = Call(cast(Any, name), merge.data, merge.hash, arguments)
        while True:
            place, worker = self._taken()
            self._pool.refuse_deadly(merge.hash)  # another thread may have found out
            held, self._holds = self._holds == merge.hash, ""
            seconds, started = self._lease(call, held=held), time.monotonic()
            try:
                answer = worker.call(call, seconds)
            except WorkerLostError as error:
                self._place = self._worker = None
                self._pool.lost(place, merge.hash, error)
                continue
            if held and call.name == "score":  # what a build or a lost worker took is no block's
                task, indices = call.arguments
                self._pool.lease.took(task, len(indices), time.monotonic() - started)
            if name != "gradient":
                self._holds = merge.hash
            return answer
