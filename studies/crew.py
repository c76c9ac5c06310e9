"""Who scores a search's candidates: this process, worker processes, or a Ray cluster.

A worker opens the study as the search did, from the same files, and answers only if it finds the
same: its models' hashes are in each recipe's, its settings are compared with the others'.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from search.executors import Executor, Pool
from search.leases import Lease
from search.workers import Working

from .errors import StudyError
from .preflight import Permissions, Preflight, inspect
from .session import Hardware, open_executor

if TYPE_CHECKING:
    from search.workers import Source

    from .config import Study

EXECUTORS = ("inline", "process", "ray")


@dataclass(frozen=True, slots=True)
class Workforce:
    """What the command line asks for; `workers` None: as many as there are devices for."""

    executor: str | None = None
    workers: int | None = None
    address: str | None = None
    lease: float | None = None
    methods: tuple[Path, ...] = ()
    """Files of merge methods that every worker loads too."""

    @property
    def kind(self) -> str:
        """Which executor: several workers are processes unless said otherwise."""
        if self.executor is not None:
            return self.executor
        return "process" if self.workers and self.workers > 1 else "inline"

    @property
    def elsewhere(self) -> bool:
        """Whether a cluster scores: this machine's devices do not matter then."""
        return self.kind == "ray" and self.address is not None

    @property
    def here(self) -> int:
        """How many workers share this machine's threads; a worker elsewhere takes one."""
        return (os.cpu_count() or 1) if self.elsewhere else (self.workers or 1)


@dataclass(frozen=True, slots=True)
class Crew:
    """The executor of a search, and its pool if the work is done elsewhere."""

    executor: "Executor"
    working: Working
    pool: Pool | None = None
    notes: list[str] = field(default_factory=list)
    """What was said before anybody could be told."""
    tell: Callable[[Callable[[str], None]], None] = lambda _: None
    """Takes whoever is to be told from now on."""


@dataclass(frozen=True, slots=True)
class StudyOpening:
    """Opens a study in a worker. Pickled: it has the study's own text, and names of files."""

    study: "Study"
    maps: dict[str, Path]
    permissions: Permissions
    hardware: Hardware
    methods: tuple[Path, ...]

    def __call__(self, token_budget: int | None) -> Working:
        """The executor of the worker that this runs in."""
        if self.methods:
            from merging.methods.own import load_methods
            from merging.methods.table import add_methods

            for file in self.methods:
                add_methods(load_methods(file))
        preflight = inspect(self.study, self.maps, self.permissions)
        hardware = replace(self.hardware, token_budget=token_budget or self.hardware.token_budget)
        return open_executor(preflight, hardware, self.permissions)


def refuse_workforce(asked: Workforce, device: str | None = None) -> None:
    """Refuses combinations that mean nothing.

    Raises:
        StudyError: which, and what to do.
    """
    if asked.kind not in EXECUTORS:
        raise StudyError(f"--executor {asked.kind}: expected one of {', '.join(EXECUTORS)}")
    if asked.kind == "inline" and (asked.workers or 1) > 1:
        raise StudyError(
            f"--executor inline --workers {asked.workers}: inline is one worker, in this process; "
            "leave out one of the two"
        )
    if asked.address is not None and asked.kind != "ray":
        raise StudyError("--address is that of a Ray cluster; give --executor ray too")
    if asked.lease is not None and asked.kind == "inline":
        raise StudyError("--lease is for workers; give --executor process or ray too")
    if asked.kind == "ray" and ":" in (device or ""):
        raise StudyError(f"--device {device}: Ray hands out the GPUs; --device cuda uses them")


@contextmanager
def assembled(preflight: Preflight, hardware: Hardware, asked: Workforce) -> Iterator[Crew]:
    """The crew that was asked for, ready to work; it is dismissed at the end.

    Raises:
        WorkersError: no worker can be had.
        MergeError: an architecture that cannot be mapped.
    """
    if asked.kind == "inline":
        executor = open_executor(preflight, hardware, preflight.permissions)
        yield Crew(executor, executor)
        return
    from search.executors import Planner
    from search.pool import WorkerPool

    notes: list[str] = []
    planner = Planner(preflight.study.recipe, preflight.checkpoints)
    pool = WorkerPool(planner, _source(preflight, hardware, asked), Lease(asked.lease))
    pool.tell = notes.append
    if shared := _oversubscribed(hardware, asked):
        notes.append(shared)
    try:
        pool.open()

        def told(tell: Callable[[str], None]) -> None:
            pool.tell = tell

        yield Crew(pool, pool, pool, notes, told)
    finally:
        pool.close()


def _oversubscribed(hardware: Hardware, asked: Workforce) -> str:
    """What to say where workers have more threads than this machine has cores."""
    cores, workers, threads = os.cpu_count() or 1, asked.workers or 1, hardware.threads or 1
    if asked.elsewhere or workers * threads <= max(cores, workers):
        return ""
    return (
        f"{workers} workers of {threads} threads share {cores} cores, which is slower; threads "
        "can change scores, so they are those that the run was begun with, or of --threads"
    )


def _source(preflight: Preflight, hardware: Hardware, asked: Workforce) -> "Source":
    device = hardware.device or "cpu"
    own = replace(hardware, device="cuda" if device.startswith("cuda") else device)
    opening = StudyOpening(
        preflight.study, dict(preflight.maps), preflight.permissions, own, asked.methods
    )
    threads = hardware.threads or 1
    devices = () if asked.elsewhere else visible_devices(device)
    count = asked.workers or max(1, len(devices))
    if asked.kind == "process":
        from search.process_workers import ProcessSource

        return ProcessSource(opening, count, threads, devices)
    from search.ray_workers import RaySource

    gpu = device.startswith("cuda")
    return RaySource(
        opening, asked.workers if asked.elsewhere else count, threads, gpu, asked.address
    )


def visible_devices(device: str) -> Sequence[str]:
    """What CUDA_VISIBLE_DEVICES of workers may be, for `cuda` or `cuda:1`; none for others."""
    if not device.startswith("cuda"):
        return ()
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    every = named.split(",") if named else [str(n) for n in range(torch.cuda.device_count())]
    _, _, chosen = device.partition(":")
    return every[int(chosen) : int(chosen) + 1] if chosen else every
