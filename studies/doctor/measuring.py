"""Seconds of a trial, measured on one candidate: the first that the search would score.

The only part of `check` that loads a model. One candidate is built twice (the first time compiles
kernels and reads files) and scored on the first questions of each task in the search's own blocks;
seconds an item are those blocks' alone, so a task whose questions differ much in length is told
roughly.
"""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.blocks import Block, looks
from search.executors import Merge
from search.inline import InlineExecutor
from search.loop import searched_tasks
from search.trials import with_mask_seed

from ..preflight import Permissions, Preflight
from ..session import Hardware, open_executor
from .phases import Phase, first_look

ENOUGH_SECONDS = 10.0
"""Of one task; then no further block is scored."""
MOST_BLOCKS = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """What one candidate took on this machine, in seconds; `item` by task, on average."""

    load: float
    build: float
    item: Mapping[str, float]
    items: int
    """Scored to find out."""
    token_budget: int
    peak: int
    """Most memory of the process so far, in bytes, mapped files included."""

    def scoring(self, counts: Mapping[str, int]) -> float:
        """Seconds to score so many items of each task."""
        return sum(self.item[task] * count for task, count in counts.items())


def measure(found: Preflight, hardware: Hardware, permissions: Permissions) -> Measured:
    """Loads the base, builds the first warm start, scores some of its first questions."""
    started = time.perf_counter()
    resolved = hardware.resolved(None)
    executor = open_executor(found, resolved, permissions)
    loaded = time.perf_counter()
    start = found.warm_starts[0]
    merge = executor.prepare(with_mask_seed(start.data, found.study.seed))
    executor.build(merge)
    built = _timed(executor, merge)
    seconds: dict[str, float] = {}
    scored = 0
    for task in found.tasks:
        seconds[task], count = _an_item(executor, task, _blocks(found, task))
        scored += count
    return Measured(
        loaded - started,
        built,
        seconds,
        scored,
        executor.terms.token_budget,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024),
    )


def _timed(executor: InlineExecutor, merge: Merge) -> float:
    started = time.perf_counter()
    executor.build(merge)
    return time.perf_counter() - started


def _blocks(found: Preflight, task: str) -> Sequence[Block]:
    """The first blocks of the search split, as a race would score them; at least one."""
    steps = looks(found.splits[task]["search"], None)
    return [block for step in steps for block in step][:MOST_BLOCKS]


def _an_item(executor: InlineExecutor, task: str, blocks: Sequence[Block]) -> tuple[float, int]:
    """Seconds an item, and how many were scored; the first block is scored once before."""
    executor.score(task, blocks[0])  # tokenizing, memory, threads: paid once a search
    spent, count = 0.0, 0
    for block in blocks:
        started = time.perf_counter()
        executor.score(task, block)
        spent += time.perf_counter() - started
        count += len(block)
        if spent > ENOUGH_SECONDS:
            break
    return spent / count, count


def per_candidate(found: Preflight, measured: Measured) -> float:
    """Seconds of one candidate on all of the search split."""
    searched = searched_tasks(found.tasks, found.objectives, found.study.constraints)
    counts = {task: len(found.splits[task]["search"]) for task in searched}
    return measured.build + measured.scoring(counts)


def seconds_of(phase: Phase, found: Preflight, measured: Measured) -> float | None:
    """What a phase takes: its items at the tasks' average, and its candidates built."""
    if phase.items is None:
        return None
    split = phase.name if phase.name in ("select", "test") else "search"
    scoring = phase.items * _average(found, measured, split)
    return scoring + (phase.candidates or 0) * measured.build


def first_look_seconds(found: Preflight, measured: Measured) -> float:
    """Seconds of a trial that is dropped after its first look."""
    return measured.build + measured.scoring(first_look(found))


def _average(found: Preflight, measured: Measured, split: str) -> float:
    """Seconds an item over the tasks that are scored there, by how many each has in a split."""
    everywhere = found.tasks if split == "test" else first_look(found)
    counts = {task: len(found.splits[task][split]) for task in everywhere}
    total = sum(counts.values())
    return measured.scoring(counts) / total if total else 0.0


def measured_json(found: Preflight, measured: Measured) -> dict[str, Any]:
    """Plain data."""
    return {
        "load_seconds": round(measured.load, 3),
        "build_seconds": round(measured.build, 4),
        "seconds_per_item": {name: round(one, 5) for name, one in measured.item.items()},
        "seconds_per_trial": round(per_candidate(found, measured), 3),
        "seconds_of_a_first_look": round(first_look_seconds(found, measured), 3),
        "items_scored": measured.items,
        "token_budget": measured.token_budget,
        "peak_gigabytes": round(measured.peak / 1e9, 3),
    }
