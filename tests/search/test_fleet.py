"""A search of several workers: everything is scored once, whoever does it and whenever it ends."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search import thrift
from search.errors import WorkerLostError
from search.ledger import Candidate, Ledger
from search.objectives import Budget
from search.verdict import decide
from search.winner import WinnerRule
from search.workers import Call
from tests.search.conftest import ToyExecutor
from tests.search.crews import HereSource, HereWorker, pool_of, until
from tests.search.test_racing import CoinExecutor, race

MAXIMIN = WinnerRule("maximin", {}, None)
UNTIMED = {"propose_seconds": 0, "build_seconds": 0, "score_seconds": 0, "wall_seconds": None}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def searched(world: Any, ledger: Ledger, source: HereSource, **changes: Any) -> Any:
    pool = pool_of(source)
    until(lambda: pool.workers == source.count)
    search = world.search(ledger, executor=pool, pool=pool, **changes)
    world.run(search)
    return search


def told(ledger: Ledger) -> list[Candidate]:
    found = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return [replace(one, **UNTIMED) for one in found]


def asked(source: HereSource) -> Counter[tuple[str, str, int]]:
    """How often each item of each merge was scored."""
    calls = (call for one in source.started for call in one.calls if call.name == "score")
    return Counter(
        (call.hash, call.arguments[0], index) for call in calls for index in call.arguments[1]
    )


def test_a_pool_of_one_gives_the_trials_of_no_pool(world: Any, tmp_path: Path) -> None:
    with (
        Ledger(f"sqlite:///{tmp_path / 'one.db'}") as one,
        Ledger(f"sqlite:///{tmp_path / 'two.db'}") as two,
    ):
        budget = Budget(12, None, None)
        world.run(world.search(one, sampler="tpe", budget=budget))
        searched(world, two, HereSource(1), sampler="tpe", budget=budget)
        assert told(one) == told(two)


@pytest.mark.parametrize("workers", [2, 5])
def test_every_item_is_scored_once_and_counted_once(
    world: Any, ledger: Ledger, workers: int
) -> None:
    def uneven(worker: HereWorker, call: Call) -> None:
        time.sleep(0.002 * (int(call.hash[:4], 16) % 5))

    source = HereSource(workers, fault=uneven)
    search = searched(world, ledger, source, budget=Budget(20, None, None))
    decide(search, MAXIMIN)
    trials = ledger.candidates("trial")
    assert [one.number for one in trials] == list(range(20))
    assert {one.state for one in trials} <= {"complete", "failed"}
    counts = asked(source)
    assert set(counts.values()) == {1}
    on_search = sum(index < 6 for _, _, index in counts)
    assert sum(one.items for one in [*ledger.candidates("reference"), *trials]) == on_search


def test_results_are_those_of_one_worker_for_the_same_recipes(world: Any, tmp_path: Path) -> None:
    with (
        Ledger(f"sqlite:///{tmp_path / 'one.db'}") as one,
        Ledger(f"sqlite:///{tmp_path / 'two.db'}") as two,
    ):
        world.run(world.search(one, budget=Budget(20, None, None)))
        searched(world, two, HereSource(4), budget=Budget(20, None, None))
        scores: Mapping[str, Any] = {c.recipe_hash: c.scores for c in one.candidates("trial")}
        same = [c for c in two.candidates("trial") if c.recipe_hash in scores]
        assert len(same) > 5
        assert all(c.scores == scores[c.recipe_hash] for c in same)


def test_a_poisonous_candidate_fails_and_the_search_goes_on(world: Any, ledger: Ledger) -> None:
    own = world.search(ledger).proposing.warm_starts[0].data

    def fault(worker: HereWorker, call: Call) -> None:
        if call.data["models"] == own["models"] and call.name == "score":
            raise WorkerLostError("died of SIGSEGV")

    source = HereSource(2, fault=fault)
    search = searched(world, ledger, source)
    first, *others = ledger.candidates("trial")
    assert first.state == "failed" and "cost 2 workers" in (first.error or "")
    assert {one.state for one in others} == {"complete"} and len(others) == 5
    assert len(source.started) == 4
    assert decide(search, MAXIMIN).winner


def test_the_same_merge_is_not_scored_twice_at_once(world: Any, ledger: Ledger) -> None:
    """`uniform` and `task arithmetic` of a grid come again and again where the space is small."""
    source = HereSource(4, fault=lambda worker, call: time.sleep(0.003))
    searched(world, ledger, source, budget=Budget(30, None, None), sampler="random")
    assert set(asked(source).values()) == {1}


def test_seconds_of_a_search_are_those_that_passed(world: Any, ledger: Ledger) -> None:
    source = HereSource(4, fault=lambda worker, call: time.sleep(0.02))
    began = time.perf_counter()
    searched(world, ledger, source, budget=Budget(20, None, None))
    passed = time.perf_counter() - began
    everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    wall = sum(one.wall_seconds or 0.0 for one in everyone)
    busy = sum(one.build_seconds + one.score_seconds for one in everyone)
    assert 0.5 * passed < wall <= passed < busy


def test_a_search_that_is_stopped_goes_on_with_other_workers(world: Any, tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path / 'study.db'}"
    sources = []
    for workers in (3, 2, 1, 4):
        calls: list[int] = []

        def fault(worker: HereWorker, call: Call, calls: list[int] = calls) -> None:
            calls.append(1)

        class Stop(BaseException):
            pass

        with Ledger(path) as ledger:
            source = HereSource(workers, fault=fault)
            sources.append(source)
            pool = pool_of(source)
            search = world.search(ledger, executor=pool, pool=pool, budget=Budget(16, None, None))

            def ended(
                candidate: Candidate, calls: list[int] = calls, last: bool = workers == 4
            ) -> None:
                if len(calls) > 25 and not last:
                    raise Stop

            search.observer.ended = ended
            try:
                world.run(search)
            except Stop:
                continue
    with Ledger(path) as ledger:
        trials = ledger.candidates("trial")
        assert len(trials) == 16 and {one.state for one in trials} == {"complete"}
        again = Counter[Any]()
        for source in sources:
            again += asked(source)
        # What was under way when all workers were stopped is done again: a block a worker at most.
        assert sum(again.values()) - len(again) <= 6 * (3 + 2 + 1)


def test_a_deadly_reference_costs_no_more_workers_than_any_merge(
    world: Any, ledger: Ledger
) -> None:
    """All workers share the blocks of references, but none before the first is through."""
    base = world.search(ledger).references[1].data

    def fault(worker: HereWorker, call: Call) -> None:
        time.sleep(0.005)
        if call.data["models"] == base["models"] and call.name == "score":
            raise WorkerLostError("died of SIGSEGV")

    source = HereSource(4, fault=fault)
    splits = {
        task: {"search": range(6), "select": range(6, 9), "test": range(9, 12)}
        for task in ("up", "down")
    }
    searched(world, ledger, source, splits=splits)
    failed = [one for one in ledger.candidates("reference") if one.state == "failed"]
    assert [one.role for one in failed] == ["parent"] and len(source.started) == 4 + 2


def test_a_search_that_waits_for_its_last_looks_does_nothing_else(
    world: Any, ledger: Ledger
) -> None:
    source = HereSource(4, fault=lambda worker, call: time.sleep(0.02))
    search = searched(world, ledger, source, budget=Budget(None, 14 * 12 + 6, None))
    asked = sum(one.stage == "scoring" for one in search.observer.steps)
    assert asked < 5 * (len(ledger.candidates("trial")) + 4)
    everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    assert sum(one.items for one in everyone) <= 14 * 12 + 6


def test_a_race_is_settled_at_the_end_whatever_estimates_take(
    world: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thrift, "GRACE", -1e9)
    pool = pool_of(HereSource(3, toy=CoinExecutor))
    search = race(world, ledger, executor=pool, pool=pool)
    search.scorer.executor = pool
    assert world.run(search) == "trials"
    trials, references = ledger.candidates("trial"), ledger.candidates("reference")
    assert search.contestants.is_settled(trials) or not search.contestants.ranked(
        trials, references
    )
    assert any(one.looks > 1 for one in trials)


def test_what_one_worker_took_before_is_not_forgotten(world: Any, ledger: Ledger) -> None:
    world.run(world.search(ledger, budget=Budget(6, None, None)))
    first = ledger.candidates("trial")[0]
    ledger.put(replace(first, state="running", looks=0, score_seconds=100.0, propose_seconds=5.0))
    searched(world, ledger, HereSource(2), budget=Budget(6, None, None))
    kept = ledger.candidates("trial")[0]
    assert 105.0 <= (kept.wall_seconds or 0.0) < 110.0
    slow = ToyExecutor(spoil=lambda *_: time.sleep(0.05))
    ledger.put(replace(kept, state="running", looks=0))
    changed = {"executor": slow, "budget": Budget(6, None, None)}
    slow.settings = "other"  # else everything is known
    world.run(world.search(ledger, **changed))
    again = ledger.candidates("trial")[0]
    assert (again.wall_seconds or 0.0) >= (kept.wall_seconds or 0.0) + 0.05


def test_an_interrupted_search_stops_its_workers_before_it_waits_for_the_database(
    world: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pool_of(HereSource(2))
    search = world.search(ledger, executor=pool, pool=pool)
    seen: list[bool] = []
    own = ledger.flush

    def flush() -> None:
        seen.append(pool.stopped)
        own()

    def interrupted(candidate: Candidate) -> None:
        if candidate.kind == "trial":
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "flush", flush)
    monkeypatch.setattr(search.observer, "ended", interrupted)
    with pytest.raises(KeyboardInterrupt):
        world.run(search)
    assert seen == [True]
