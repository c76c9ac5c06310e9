"""One suite over every executor: this process, worker processes, actors of a Ray cluster."""

import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from harmed_workers import HarmedOpening

from evaluation.errors import ExhaustedError, NonFiniteError
from merging.errors import MergeError
from search.errors import CrashedError, StoppedError
from search.executors import Executor, GoldItems, Merge, Planner
from search.leases import Lease
from search.pool import WorkerPool
from search.process_workers import ProcessSource
from search.trials import with_mask_seed
from search.workers import OtherModelsError, Source
from studies.config import read_study
from studies.crew import StudyOpening
from studies.preflight import Preflight, inspect
from studies.session import Hardware, open_executor
from studies.terms import SearchOptions, overridden

pytestmark = pytest.mark.xdist_group("ray")

SPLIT = (
    "split: {calibration: 0, search: 0.4, select: 0.3, test: 0.3}",
    "split: {calibration: 0.3, search: 0.3, select: 0.2, test: 0.2}",
)
HARDWARE = Hardware("cpu", "float32", 512, 1)
SHORT = 3.0
"""Seconds of a lease; whoever hangs sleeps for minutes."""


@dataclass(frozen=True, slots=True)
class Site:
    """A study, the executor of this process, and where workers find what harms them."""

    preflight: Preflight
    inline: Executor
    harms: Path

    def merge(self, first: float, second: float = 0.25) -> Merge:
        """The candidate with these weights."""
        start = {**self.preflight.space.start}
        weights = [name for name in start if name.endswith("weight")]
        start |= dict(zip(weights, (first, second), strict=True))
        data = with_mask_seed(self.preflight.space.fill(start), 0)
        return self.inline.prepare(data)

    @property
    def opening(self) -> HarmedOpening:
        """What a worker opens."""
        study = self.preflight.study
        own = StudyOpening(study, {}, self.preflight.permissions, HARDWARE, ())
        return HarmedOpening(own, self.harms, self.preflight.references[0].data)

    def harm(self, name: str) -> None:
        """Harms the next worker that scores."""
        (self.harms / name).touch()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[..., Any], pico_family: Any
) -> Site:
    bench = make_bench(tmp_path_factory.mktemp("executors"), pico_family)
    bench.change(SPLIT)
    study = overridden(read_study(bench.study), SearchOptions(hardware=HARDWARE))
    preflight = inspect(study, {}, SearchOptions().permissions)
    harms = bench.folder / "harms"
    harms.mkdir()
    return Site(preflight, open_executor(preflight, HARDWARE, preflight.permissions), harms)


def source(kind: str, site: Site, count: int, address: str | None) -> Source:
    if kind == "process":
        return ProcessSource(site.opening, count, 1)
    from search.ray_workers import RaySource

    return RaySource(site.opening, count, 1, False, address)


@contextmanager
def pool_of(kind: str, site: Site, count: int, address: str | None) -> Iterator[WorkerPool]:
    planner = Planner(site.preflight.study.recipe, site.preflight.checkpoints)
    pool = WorkerPool(planner, source(kind, site, count, address), Lease())
    try:
        pool.open()
        yield pool
    finally:
        pool.close()


@pytest.fixture(scope="module", params=["process", "ray"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared(kind: str, site: Site, request: pytest.FixtureRequest) -> Iterator[WorkerPool]:
    """Two workers; on a Ray cluster of two nodes, one on each."""
    address = request.getfixturevalue("ray_cluster").address if kind == "ray" else None
    with pool_of(kind, site, 2, address) as pool:
        yield pool


@pytest.fixture
def pool(shared: WorkerPool) -> WorkerPool:
    """The shared pool, with leases that no test has changed."""
    shared.lease = Lease()
    shared.tell = lambda _: None
    return shared


@pytest.fixture
def told(pool: WorkerPool) -> list[str]:
    lines: list[str] = []
    pool.tell = lines.append
    return lines


def scores(executor: Any, merge: Merge, task: str = "sums") -> Any:
    executor.build(merge)
    return executor.score(task, range(20))


def test_the_same_merge_and_items_give_the_same_bits(site: Site, pool: WorkerPool) -> None:
    assert pool.settings == site.inline.settings
    asked = [GoldItems("sums", "acc", tuple(range(8)))]
    for first in (0.0, 0.5, 0.9):
        merge = pool.prepare(site.merge(first).data)
        assert merge == site.merge(first)
        for task in ("sums", "lines"):
            assert scores(pool, merge, task) == scores(site.inline, merge, task)
        (ours,), (theirs,) = pool.gradient(merge, asked), site.inline.gradient(merge, asked)
        assert ours == theirs and ours.slopes
        assert pool.gradient(merge, asked, slopes=False)[0].loss == ours.loss
    assert scores(pool, site.merge(0.0)) != scores(pool, site.merge(0.9))


def test_faults_arrive_as_they_were_raised(site: Site, pool: WorkerPool, told: list[str]) -> None:
    """No fault of a recipe, of its numbers or of memory costs a worker."""
    wait_until(lambda: pool.workers == 2)
    data = copy.deepcopy(dict(site.merge(0.5).data))
    for model in data["models"]:
        model["parameters"]["weight"] = 3e38
    data["parameters"]["lambda"] = 1e4
    broken = site.inline.prepare(data)
    for executor in (site.inline, pool):
        executor.build(broken)
        with pytest.raises(NonFiniteError, match="NaN or Inf"):
            executor.score("sums", range(4))
        with pytest.raises(MergeError, match="'tiess'"):
            executor.prepare({**broken.data, "merge_method": "tiess"})
    site.harm("exhaust")
    with pytest.raises(ExhaustedError, match="memory ran out"):
        scores(pool, site.merge(0.5))
    with pytest.raises(OtherModelsError, match="other weights for the same recipe"):
        pool.build(replace(site.merge(0.5), hash="0" * 32))
    assert scores(pool, site.merge(0.5)) == scores(site.inline, site.merge(0.5))
    assert not told and pool.workers == 2


def test_threads_have_a_worker_each_and_end_in_any_order(site: Site, pool: WorkerPool) -> None:
    wait_until(lambda: pool.workers == 2)
    merges = [site.merge(n / 10) for n in range(8)]

    def of(merge: Merge) -> Any:
        with pool.lend(merge.hash) as executor:
            return [scores(executor, merge, task) for task in ("sums", "lines")]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(of, merges))
    assert found == [[scores(site.inline, one, t) for t in ("sums", "lines")] for one in merges]


def test_the_block_of_a_worker_that_is_late_is_done_again(
    site: Site, pool: WorkerPool, told: list[str]
) -> None:
    wait_until(lambda: pool.workers == 2)
    pool.lease = Lease(SHORT)
    site.harm("hang")
    assert scores(pool, site.merge(0.6)) == scores(site.inline, site.merge(0.6))
    (line,) = told
    assert "no answer within 3 s" in line and "another takes its place" in line


def test_what_costs_worker_after_worker_is_set_aside(
    site: Site, pool: WorkerPool, told: list[str]
) -> None:
    poison = site.merge(0.77)
    site.harm(f"poison-{poison.hash}")
    with pytest.raises(CrashedError, match="cost 2 workers"):
        scores(pool, poison)
    assert len(told) == 2 and all("out of memory?" in line for line in told)
    assert scores(pool, site.merge(0.2)) == scores(site.inline, site.merge(0.2))


def test_fewer_tokens_and_then_the_end(site: Site, pool: WorkerPool) -> None:
    """Whoever waits is told that the pool ends, and no process stays."""
    before = pool.settings
    assert pool.shrink() == pool.terms.token_budget == HARDWARE.token_budget / 2
    assert pool.settings != before
    assert scores(pool, site.merge(0.4)).keys() == scores(site.inline, site.merge(0.4)).keys()
    site.harm("hang")
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(scores, pool, site.merge(0.4))
        wait_until(lambda: not (site.harms / "hang").exists())
        found = processes(pool)
        assert found and all(map(runs, found))
        pool.stop()
        with pytest.raises(StoppedError):
            late.result(20)
    pool.close()
    wait_until(lambda: not any(map(runs, found)))


def processes(pool: WorkerPool) -> list[int]:
    """Of the workers, as their labels tell."""
    workers = [one.worker for one in pool._places.values() if one.worker is not None]
    return [int(one.label.rpartition("process ")[2].rstrip(")")) for one in workers]


def runs(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not so():
        assert time.monotonic() < until
        time.sleep(0.05)
