"""A race on hundreds of items: who is scored on more, who is dropped; a kill changes nothing.

Items are right or wrong by chance, the chance by the recipe: the best weight of `math` is 0.6, a
weight of `code` above 0.5 spoils everything.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from evaluation.resampling import RatioOfSums
from evaluation.task import Item, ItemResult, Metric
from search.ledger import SCORED, Candidate, Ledger, label
from search.loop import Search
from search.objectives import Budget, Objective
from search.winner import WinnerRule, finalists, front, frozen_scales
from tests.search.conftest import ToyExecutor

ITEMS = 200
OBJECTIVES = (Objective("up", (("up", "acc"),), True), Objective("down", (("down", "acc"),), True))


@dataclass(frozen=True, slots=True)
class Coins:
    """A task of ITEMS items that are right or wrong."""

    name: str
    items: tuple[Item, ...]
    """Every item a group of its own."""

    @property
    def metrics(self) -> dict[str, Metric]:
        """The share of right items."""
        return {"acc": Metric("acc", True, 1, RatioOfSums())}


def coins(name: str) -> Coins:
    """A task of that name."""
    drawn = (Item(f"{name}{n}", n, f"g{n}", "all", (), "p", {}, f"{n}?") for n in range(ITEMS))
    return Coins(name, tuple(drawn))


@dataclass(slots=True)
class CoinExecutor(ToyExecutor):
    """Tosses one coin an item and candidate, always the same; `spoil` as of the toy."""

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Hard items are hard for all."""
        weights: Mapping[str, float] = cast(Any, self._now.recipe)
        self.spoil(weights, task, indices)
        self.scored += [(self._now.hash, task, index) for index in indices]
        math, code = weights.get("math", 0.0), weights.get("code", 0.0)
        skill = 0.85 - (math - 0.6) ** 2 if task == "up" else 0.5 + 0.3 * code
        chance = skill if code <= 0.5 else 0.15
        found = {}
        for index in indices:
            hard = _drawn(f"{task}{index}") - 0.5
            right = _drawn(f"{self._now.hash}{task}{index}") < chance - 0.6 * hard
            found[f"{task}{index}"] = {"acc": (float(right),)}
        return found


def _drawn(text: str) -> float:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def race(world: Any, ledger: Ledger, trials: int = 24, **changes: Any) -> Search:
    """A search over two tasks of coins."""
    own = world.search(ledger, executor=CoinExecutor(), sampler="tpe")
    tasks = {"up": coins("up"), "down": coins("down")}
    splits = {task: {"search": range(150), "select": range(150, 175), "test": range(175, 200)}
              for task in tasks}  # fmt: skip
    return replace(
        own,
        tasks=cast(Any, tasks),
        scorer=replace(own.scorer, tasks=cast(Any, tasks), splits=splits),
        objectives=OBJECTIVES,
        proposing=replace(own.proposing, objectives=OBJECTIVES),
        **{"budget": Budget(trials, None, None), **changes},
    )


def told(ledger: Ledger) -> list[Candidate]:
    """All candidates, but for the seconds they took."""
    found = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return [replace(one, propose_seconds=0, build_seconds=0, score_seconds=0) for one in found]


def test_a_race_scores_most_on_little_and_the_best_on_much(world, ledger: Ledger) -> None:
    search = race(world, ledger)
    assert world.run(search) == "trials"
    trials = ledger.candidates("trial")
    states = {one.state for one in trials}
    assert states <= {"complete", "paused", "dropped"} and "dropped" in states
    full = 24 * 300
    assert sum(one.items for one in trials) < 0.75 * full
    spoiled = [one for one in trials if one.values["code.weight"] > 0.5]
    assert spoiled and all(one.state != "complete" or one.number < 6 for one in spoiled)
    assert all(one.estimates is not None and one.errors is not None for one in trials)
    assert all(one.scores is None for one in trials if one.state != "complete")
    whole = {label(one) for one in [*ledger.candidates("reference"), *trials] if one.scores}
    assert all((one.dropped_for in whole) == (one.state == "dropped") for one in trials)
    costs = [search.contestants.cost(look) for look in search.contestants.looks(trials[0])]
    assert costs[:3] == [32, 32, 64] and sum(costs) == 300
    best = max(front(trials, OBJECTIVES), key=lambda one: sum(one.standing or ()))
    assert best.looks > 1 and best.state in ("complete", "paused")


def test_who_was_dropped_is_no_finalist(world, ledger: Ledger) -> None:
    world.run(race(world, ledger))
    trials = ledger.candidates("trial")
    scales = frozen_scales(ledger.candidates("reference"), OBJECTIVES)
    chosen = finalists(trials, OBJECTIVES, WinnerRule("maximin", {}, None), scales)
    assert chosen and all(one.state in ("complete", "paused") for one in chosen)


def test_without_racing_everything_is_scored(world, ledger: Ledger) -> None:
    world.run(race(world, ledger, trials=8, racing=False))
    trials = ledger.candidates("trial")
    assert {(one.state, one.looks, one.estimates) for one in trials} == {("complete", 1, None)}


class Stopped(KeyboardInterrupt):
    """Ctrl-C in a test."""


@pytest.mark.parametrize("share", [0.02, 0.35, 0.62, 0.9, 0.99])
def test_killed_anywhere_it_goes_on_as_if_it_had_not_been(world, tmp_path: Path, share) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'whole.db'}") as whole:
        search = race(world, whole)
        world.run(search)
        expected, scored = told(whole), search.executor.scored
    left = [int(share * len(scored))]

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        left[0] -= len(indices)
        if left[0] < 0:
            raise Stopped

    url = f"sqlite:///{tmp_path / 'parts.db'}"
    with Ledger(url) as ledger:
        search = race(world, ledger)
        search.executor.spoil = spoil
        with pytest.raises(Stopped):
            world.run(search)
        first = search.executor.scored
    with Ledger(url) as ledger:
        search = race(world, ledger)
        world.run(search)
        assert told(ledger) == expected
        assert sorted([*first, *search.executor.scored]) == sorted(scored)


def test_a_budget_of_items_is_kept_and_extended(world, ledger: Ledger) -> None:
    search = race(world, ledger, budget=Budget(None, 14 * 300, None))
    assert world.run(search) == "items"
    spent = sum(one.items for one in told(ledger))
    assert 13 * 300 < spent <= 14 * 300
    more = race(world, ledger, budget=Budget(None, 20 * 300, None))
    assert world.run(more) == "items"
    assert 19 * 300 < sum(one.items for one in told(ledger)) <= 20 * 300


def test_memory_that_ran_out_scores_waiting_trials_again_on_what_they_were(
    world, ledger: Ledger
) -> None:
    world.run(race(world, ledger))
    before = {one.number: one for one in ledger.candidates("trial")}
    again = race(world, ledger)
    again.executor.settings = "smaller"
    world.run(again)
    after = {one.number: one for one in ledger.candidates("trial")}
    for number, one in before.items():
        assert after[number].settings == "smaller"
        assert after[number].looks >= one.looks
        if one.state == "dropped":
            assert after[number].state == "dropped" and after[number].looks == one.looks


def test_estimates_are_near_the_truth_and_say_how_near(world, ledger: Ledger) -> None:
    search = race(world, ledger, trials=40)
    world.run(search)
    waiting = [one for one in ledger.candidates("trial") if one.state == "paused"]
    assert len(waiting) > 5
    inside = []
    for one in waiting:
        search.executor.build(search.executor.prepare(one.data))
        for place, task in enumerate(("up", "down")):
            found = search.executor.score(task, range(150))
            truth = sum(result["acc"][0] for result in found.values()) / 150
            inside.append(abs(truth - one.estimates[place]) < 2.5 * one.errors[place] + 0.02)
    assert sum(inside) / len(inside) > 0.8


def test_the_board_forgets_who_stands_beside(world, ledger: Ledger) -> None:
    search = race(world, ledger, trials=8)
    world.run(search)
    before = search.board.metric("trial 7", ("up", "acc"))
    data = world.space.fill({"math.weight": 0.1, "code.weight": 0.9})
    merge = search.executor.prepare(data)
    one = Candidate("beside", 0, "random 0", data, merge.hash)
    found = search.assessor.in_full(one, ledger.candidates("reference"))
    assert found.scores is not None and found.state in SCORED
    assert search.board.metric("trial 7", ("up", "acc")) == before
    with pytest.raises(KeyError):
        search.board.metric(label(one), ("up", "acc"))
