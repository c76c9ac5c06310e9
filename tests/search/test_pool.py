"""The pool: leases, replacement, who is to blame, workers that come, go and differ."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from evaluation.errors import NonFiniteError
from search.errors import CrashedError, StoppedError, WorkerLostError, WorkersError
from search.executors import Merge, Terms
from search.leases import FIRST, LEAST, Lease
from search.workers import Call
from tests.search.crews import TERMS, HereSource, HereWorker, ToyPlanner, pool_of, until


def merge_of(weight: float = 0.5) -> Merge:
    models = [{"model": "math", "parameters": {"weight": weight}}]
    return ToyPlanner().prepare({"merge_method": "task_arithmetic", "models": models})


def scored(pool: Any, merge: Merge, indices: tuple[int, ...] = (0, 1)) -> Any:
    with pool.lend(merge.hash) as executor:
        executor.build(merge)
        return executor.score("up", indices)


def test_a_merge_is_scored_by_the_worker_that_holds_it() -> None:
    source = HereSource(3)
    pool = pool_of(source)
    until(lambda: pool.workers == 3)
    for weight in (0.1, 0.2, 0.3):
        scored(pool, merge_of(weight))
    holders = [one.calls[-1].hash for one in source.started if one.calls]
    for weight in (0.3, 0.1, 0.2):
        scored(pool, merge_of(weight))
    builds = [call for one in source.started for call in one.calls if call.name == "build"]
    assert len(builds) <= 3 + (3 - len(set(holders)))
    assert scored(pool, merge_of(0.2))["up1"] == {"skill": (0.2 + 0.01,)}


def test_a_worker_that_dies_is_replaced_and_the_block_is_done_again() -> None:
    died: list[str] = []

    def fault(worker: HereWorker, call: Call) -> None:
        if call.name == "score" and not died:
            died.append(worker.label)
            raise WorkerLostError("was killed")

    source, said = HereSource(1, fault=fault), []
    pool = pool_of(source)
    pool.tell = said.append
    assert scored(pool, merge_of())["up0"] == {"skill": (0.5,)}
    assert len(source.started) == 2 and source.started[0].dead.is_set()
    assert said == ["worker 1 was killed; another takes its place"]


def test_a_merge_that_costs_two_workers_is_set_aside_and_others_go_on() -> None:
    poison = merge_of(0.9)

    def fault(worker: HereWorker, call: Call) -> None:
        if call.hash == poison.hash:
            raise WorkerLostError("died of SIGSEGV")

    pool = pool_of(HereSource(2, fault=fault))
    with pytest.raises(CrashedError, match="cost 2 workers, the last one died of SIGSEGV"):
        scored(pool, poison)
    assert scored(pool, merge_of(0.1))["up0"] == {"skill": (0.1,)}
    with pytest.raises(CrashedError, match="cost 2 workers"):
        scored(pool, poison)  # asked for again it costs no more


def test_a_machine_that_goes_away_is_nobodys_fault() -> None:
    left: list[int] = []

    def fault(worker: HereWorker, call: Call) -> None:
        if len(left) < 5:
            left.append(1)
            raise WorkerLostError("its node left", blameless=True)

    pool = pool_of(HereSource(1, fault=fault))
    assert scored(pool, merge_of())["up0"] == {"skill": (0.5,)}


def test_a_worker_that_hangs_loses_its_lease() -> None:
    hung: list[int] = []

    def fault(worker: HereWorker, call: Call) -> None:
        if call.name == "score" and not hung:
            hung.append(1)
            worker.hang(0.05)

    source = HereSource(1, fault=fault)
    assert scored(pool_of(source), merge_of())["up0"] == {"skill": (0.5,)}
    assert source.started[0].dead.is_set() and len(source.started) == 2


def test_what_a_worker_raises_is_raised_and_costs_nobody() -> None:
    def fault(worker: HereWorker, call: Call) -> None:
        if call.name == "score":
            raise NonFiniteError("task 'up', item 3: NaN")

    source = HereSource(1, fault=fault)
    pool = pool_of(source)
    for _ in range(3):
        with pytest.raises(NonFiniteError, match="item 3"):
            scored(pool, merge_of())
    assert len(source.started) == 1


def test_as_many_threads_work_at_once_as_there_are_workers() -> None:
    together = threading.Barrier(3)

    def fault(worker: HereWorker, call: Call) -> None:
        if call.name == "score":
            together.wait(timeout=10)  # broken where fewer than three come

    pool = pool_of(HereSource(3, fault=fault))
    until(lambda: pool.workers == 3)
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda w: scored(pool, merge_of(w)), (0.1, 0.2, 0.3)))
    assert [one["up0"]["skill"][0] for one in found] == [0.1, 0.2, 0.3]


def test_whoever_waits_when_the_pool_stops_is_told() -> None:
    begun = threading.Event()

    def fault(worker: HereWorker, call: Call) -> None:
        begun.set()
        worker.hang(60)

    pool = pool_of(HereSource(1, fault=fault))
    with ThreadPoolExecutor(2) as threads:
        working = threads.submit(scored, pool, merge_of(0.1))
        begun.wait(10)
        waiting = threads.submit(scored, pool, merge_of(0.2))
        pool.stop()
        for one in (working, waiting):
            with pytest.raises(StoppedError):
                one.result(timeout=10)


def test_workers_come_and_are_used() -> None:
    source = HereSource(1)
    pool = pool_of(source)
    assert pool.workers == 1
    source.count = 3
    pool.refresh()
    until(lambda: pool.workers == 3)


def test_a_place_is_filled_wherever_there_is_room() -> None:
    """Machines leave and come: who is left need not have the first numbers."""
    gone: list[str] = []

    def fault(worker: HereWorker, call: Call) -> None:
        if worker.label == "worker 1" and not gone:
            gone.append(worker.label)
            source.count = 1  # its machine has left; the other's worker is at work
            raise WorkerLostError("left", blameless=True)

    source = HereSource(2, fault=fault)
    pool = pool_of(source)
    until(lambda: pool.workers == 2)
    until(lambda: bool(scored(pool, merge_of(0.1 * len(source.started))) and gone))
    pool.refresh()
    assert pool.workers == 1 and len(source.started) == 2
    source.count = 2
    pool.refresh()
    until(lambda: pool.workers == 2)
    assert len(source.started) == 3


def test_a_search_that_waits_for_any_worker_at_all_says_so_once() -> None:
    source, said = HereSource(1), []
    pool = pool_of(source)
    pool.tell = said.append
    source.count = 0
    pool.refresh()
    pool.refresh()
    assert said == ["there is room for no worker any more; the search waits until there is"]
    source.count = 1
    pool.refresh()
    pool.stop()
    source.count = 0
    pool.refresh()
    assert len(said) == 1


def test_one_that_started_before_tokens_shrank_starts_again() -> None:
    """It is ready before any that has the new budget, and does not set the terms."""
    shrunk, told = threading.Event(), threading.Event()
    budgets: list[int | None] = []

    def terms(place: int, budget: int | None) -> Terms:
        budgets.append(budget)
        if len(budgets) == 2:
            shrunk.wait(10)
        elif len(budgets) == 3:
            shrunk.set()
            told.wait(10)
        return TERMS if budget in (None, 64) else Terms(f"toy {budget}", {"threads": 1}, budget)

    source, said = HereSource(1, terms=terms), []
    pool = pool_of(source)

    def tell(line: str) -> None:
        said.append(line)
        told.set()

    pool.tell = tell
    source.count = 2
    pool.refresh()
    until(lambda: len(budgets) == 2)
    assert pool.shrink() == 32 and pool.settings == "toy 32"
    until(lambda: pool.workers == 2)
    assert "takes 64 tokens at once, not 32" in said[0]
    assert budgets == [None, 64, 32, 32]


def test_one_that_scores_otherwise_is_refused_with_the_reason() -> None:
    def terms(place: int, budget: int | None) -> Terms:
        return TERMS if place == 0 else Terms("other", {"threads": 4}, 64)

    source, said = HereSource(1, terms=terms), []
    pool = pool_of(source)
    pool.tell = said.append
    source.count = 2
    pool.refresh()
    until(lambda: bool(said))
    assert "threads: 4, not 1" in said[0] and pool.workers == 1
    assert source.started[1].dead.is_set()


def test_other_hardware_is_used_and_told() -> None:
    def terms(place: int, budget: int | None) -> Terms:
        return TERMS if place == 0 else Terms("toy", {"threads": 1}, 64, machine="another")

    source, said = HereSource(1, terms=terms), []
    pool = pool_of(source)
    pool.tell = said.append
    source.count = 2
    pool.refresh()
    until(lambda: bool(said))
    assert "last bits of scores may differ" in said[0] and pool.workers == 2


def test_no_worker_at_all_is_told_at_once() -> None:
    def terms(place: int, budget: int | None) -> Terms:
        raise WorkerLostError("model 'base' is not there")

    with pytest.raises(WorkersError, match="no worker can be had: model 'base' is not there"):
        pool_of(HereSource(2, terms=terms))


def test_later_workers_get_the_first_ones_token_budget() -> None:
    budgets: list[int | None] = []

    def terms(place: int, budget: int | None) -> Terms:
        budgets.append(budget)
        return TERMS

    source = HereSource(1, terms=terms)
    pool = pool_of(source)
    source.count = 2
    pool.refresh()
    until(lambda: pool.workers == 2)
    assert budgets == [None, TERMS.token_budget]


def test_fewer_tokens_are_fewer_for_all() -> None:
    def terms(place: int, budget: int | None) -> Terms:
        return TERMS if budget in (None, 64) else Terms(f"toy {budget}", {"threads": 1}, budget)

    pool = pool_of(HereSource(2, terms=terms))
    until(lambda: pool.workers == 2)
    assert pool.shrink() == 32
    assert pool.settings == "toy 32"
    until(lambda: pool.workers == 2)
    assert scored(pool, merge_of())["up0"] == {"skill": (0.5,)}


def test_other_models_are_refused() -> None:
    pool = pool_of(HereSource(1))
    merge = merge_of()
    other = Merge(merge.recipe, merge.jobs, "another hash", merge.data)
    with pytest.raises(Exception, match="models, or files of merge methods, differ"):
        scored(pool, other)


@pytest.mark.parametrize("make", [Lease, lambda: Lease(7.0)])
def test_leases_follow_what_was_seen_unless_they_are_fixed(make: Callable[[], Lease]) -> None:
    lease = make()
    fixed = lease.fixed
    assert lease.of_block("up", 16) == (fixed or FIRST)
    lease.took("up", 16, 1.0)
    assert lease.of_block("up", 16) == (fixed or LEAST)
    lease.took("up", 16, 160.0)
    assert lease.of_block("up", 32) == (fixed or 20 * 320.0)
    assert lease.of_block("down", 16) == (fixed or FIRST)


class Counting(HereSource):
    """Counts how often it is asked."""

    asked = 0

    def wanted(self) -> int:
        """As many as are asked for."""
        self.asked += 1
        return self.count


def test_those_who_wait_for_a_worker_do_not_wake_each_other() -> None:
    source, held = Counting(1), threading.Event()
    pool = pool_of(source)
    with ThreadPoolExecutor(3) as threads, pool.lend() as executor:
        executor.build(merge_of())
        source.asked = 0
        waiting = [threads.submit(scored, pool, merge_of()) for _ in range(3)]
        with pool._changed:
            pool._changed.notify_all()
        held.wait(0.3)
        assert source.asked < 10
        executor.give_back()
        assert all(one.result(timeout=10) for one in waiting)


def test_a_lease_learns_from_blocks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from a worker that hung, nor from the build of the one that takes over."""
    given: list[tuple[str, float]] = []
    own = HereWorker.call

    def call(worker: HereWorker, asked: Call, seconds: float) -> Any:
        given.append((asked.name, seconds))
        return own(worker, asked, seconds)

    def fault(worker: HereWorker, asked: Call) -> None:
        if len(given) == 3:
            worker.hang(0.2)

    monkeypatch.setattr(HereWorker, "call", call)
    pool = pool_of(HereSource(1, fault=fault), lease=None)
    merge = merge_of()
    for _ in range(2):
        scored(pool, merge)
    assert given == [
        ("build", FIRST),
        ("score", FIRST),
        ("score", LEAST),
        ("score", LEAST + FIRST),
    ]
    assert pool.lease.of_block("up", 20) == LEAST


def test_a_worker_that_dies_while_it_takes_fewer_tokens_is_replaced() -> None:
    def terms(place: int, budget: int | None) -> Terms:
        return TERMS if budget in (None, 64) else Terms(f"toy {budget}", {"threads": 1}, budget)

    source = HereSource(1, terms=terms)
    pool = pool_of(source)
    first, died = source.started[0], []

    def shrink(seconds: float) -> int:
        died.append(1)
        raise WorkerLostError("was killed")

    first.servant.shrink = lambda: shrink(0.0)  # type: ignore[method-assign]
    assert pool.shrink() == 32 and died == [1] and first.dead.is_set()
