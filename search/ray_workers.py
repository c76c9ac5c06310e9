"""Workers on a Ray cluster: one actor a device, wherever the cluster has room for it.

Nodes may join and leave. Ray places actors and carries calls; leases, replacement and whose turn
it is are the pool's, as with processes: Ray restarts nothing by itself.
"""

import os
import pickle
import threading
import time
from dataclasses import dataclass, field
from typing import Any, cast

from .errors import WorkerLostError, WorkersError, told_in_short
from .executors import Terms
from .ray_actor import Answerer, own_version
from .ray_cluster import Need, RayCluster
from .workers import START_SECONDS, THREADS, Call, Opening

PLACE_SECONDS = 120.0
"""An actor whose process does not run by then has no place in the cluster."""
LEAVING_SECONDS = 1.0
"""So long after its actors a node may be told to have left."""
FREED_SECONDS = 5.0
"""What an actor had is told to be free by then."""
CLOSE_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class RaySource:
    """Starts actors of one study.

    `opening` is pickled to them; `count` None: as many as the cluster holds. An actor asks for
    `threads` CPUs, and a GPU where `gpu`.
    """

    opening: Opening
    count: int | None
    threads: int
    gpu: bool
    address: str | None
    _cluster: RayCluster = field(init=False)
    _need: Need = field(init=False)
    _made: Any = field(init=False)
    """The actors' class, as Ray knows it."""
    _workers: "set[RayWorker]" = field(default_factory=set, init=False)
    _starting: int = field(default=0, init=False)
    _freed: list[float] = field(default_factory=list, init=False)
    """When actors were killed: what they had may not be told to be free yet."""
    _closed: bool = field(default=False, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)

    def __post_init__(self) -> None:
        """Connects.

        Raises:
            WorkersError: there is no cluster, or none with room for a worker.
        """
        self._need = Need(self.threads, int(self.gpu))
        self._cluster = RayCluster(self.address, self._need, self.count or 1)
        self._made = self._cluster.ray.remote(Answerer)
        if self.wanted() == 0:
            try:
                raise WorkersError(f"{self._cluster.name}: {self._no_room()}")
            finally:
                self._cluster.close()

    def _no_room(self) -> str:
        nodes = self._cluster.nodes()
        holds = sum(map(self._need.times, nodes.values()))
        why = "others use them all" if holds else f"none of its {len(nodes)} nodes has that"
        return f"a worker asks for {self._need}, {why}; --threads says how many CPUs"

    def wanted(self) -> int:
        """As many as were asked for and the cluster has room for, beside what others run there."""
        with self._changed:
            if self._closed:
                return 0
            nodes = self._cluster.nodes()
            ours = self._starting + sum(one.node in nodes for one in self._workers)
            self._freed = [one for one in self._freed if time.monotonic() - one < FREED_SECONDS]
            free = self._need.times(self._cluster.free()) + len(self._freed)
        room = min(sum(map(self._need.times, nodes.values())), ours + free)
        return room if self.count is None else min(self.count, room)

    def start(self, place: int, token_budget: int | None) -> tuple["RayWorker", Terms]:
        """Has Ray place an actor, and waits until it has opened the study."""
        with self._changed:
            if self._closed:
                raise WorkerLostError("came too late")
            self._starting += 1
            worker = RayWorker(self, place)
            self._workers.add(worker)
        try:
            terms = worker.open(self.opening, token_budget)
        except BaseException:
            worker.kill()
            raise
        finally:
            with self._changed:
                self._starting -= 1
                self._changed.notify_all()
        return worker, terms

    def actor(self) -> Any:
        """A new actor, which Ray may still have to place."""
        environment = {name: str(self.threads) for name in THREADS}
        environment["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
        needs = {"num_cpus": self._need.cpus, "num_gpus": self._need.gpus}
        wanted = self._made.options(**needs, max_restarts=0, max_task_retries=0)
        return wanted.remote(environment)

    def asked(self, reference: Any, seconds: float) -> Any:
        """What an actor answers; raises Ray's errors."""
        return self._cluster.ray.get(reference, timeout=seconds)

    def has_left(self, node: str) -> bool:
        """Whether a node has left the cluster, or is just leaving."""
        until = time.monotonic() + LEAVING_SECONDS
        while not self._closed and not self._cluster.silent():
            if node not in self._cluster.nodes():
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return not self._closed

    def end(self, worker: "RayWorker", actor: Any) -> None:
        """Kills an actor, once."""
        with self._changed:
            if worker not in self._workers:
                return
            self._workers.discard(worker)
            self._freed.append(time.monotonic())
        self._cluster.ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """Kills what is left, and leaves the cluster when nobody waits for it any more."""
        with self._changed:
            self._closed = True
            left = list(self._workers)
        for worker in left:
            worker.kill()
        with self._changed:
            self._changed.wait_for(lambda: self._starting == 0, CLOSE_SECONDS)
        self._cluster.close()


class RayWorker:
    """A worker in an actor."""

    def __init__(self, source: RaySource, place: int) -> None:
        """Has an actor made."""
        self.label = f"worker {place + 1}"
        self.node = ""
        self._source = source
        self._actor = source.actor()

    def open(self, opening: Opening, token_budget: int | None) -> Terms:
        """Waits for the actor's process, and for the study to be open in it."""
        card = self._get(self._actor.card.remote(), PLACE_SECONDS)
        self.node, machine = card["node"], card["machine"]
        self.label += f" (node {machine}, process {card['process']})"
        if card["version"] != own_version():
            raise WorkerLostError(
                f"node {machine} has eutectic {card['version'] or '?'}, the search runs "
                f"{own_version() or '?'}: install the same on both"
            )
        arguments = pickle.dumps(opening), os.getcwd(), token_budget
        try:
            return cast(Terms, self._unpacked(self._actor.open.remote(*arguments), START_SECONDS))
        except WorkerLostError:
            raise
        except Exception as error:
            raise WorkerLostError(f"node {machine}: {error}") from error

    def call(self, call: Call, seconds: float) -> Any:
        """Asks, and waits for the answer."""
        return self._unpacked(self._actor.answer.remote(call), seconds)

    def shrink(self, seconds: float) -> int:
        """Fewer tokens at once."""
        return int(self._unpacked(self._actor.answer.remote(None), seconds))

    def kill(self) -> None:
        """Ray ends the process, whatever it is doing."""
        self._source.end(self, self._actor)

    def _unpacked(self, reference: Any, seconds: float) -> Any:
        good, found = pickle.loads(self._get(reference, seconds))
        if not good:
            raise found
        return found

    def _get(self, reference: Any, seconds: float) -> Any:
        from ray.exceptions import GetTimeoutError, RayError

        try:
            return self._source.asked(reference, seconds)
        except GetTimeoutError:
            raise WorkerLostError(f"gave no answer within {seconds:.0f} s") from None
        except RayError as error:
            if self.node and self._source.has_left(self.node):
                raise WorkerLostError("left with its node", blameless=True) from error
            raise WorkerLostError(_epitaph(error)) from error


def _epitaph(error: Exception) -> str:
    """How an actor died, of what Ray tells in many lines."""
    text = str(error)
    if "failed to import" in text:
        return "cannot load eutectic there: install it on every node"
    if "NODE_OUT_OF_MEMORY" in text or type(error).__name__ == "OutOfMemoryError":
        return "was killed: its node ran out of memory"
    if "worker process has died" in text:
        return "died (out of memory?)"
    return told_in_short(error)
