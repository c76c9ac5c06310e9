"""What a race knows does not depend on when it was asked: resumed, repeated, out of memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.errors import ExhaustedError
from search.ledger import SCORED, Candidate, Ledger, label
from search.loop import Search
from search.objectives import Budget, ConstraintSpec, MetricRef
from search.verdict import decide
from search.winner import WinnerRule
from tests.search.test_racing import OBJECTIVES, race


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def known(search: Search, trials: Sequence[Candidate]) -> list[list[tuple[float, float]]]:
    """Estimates of all trials of which anything is known, to the bit."""
    labels = [label(one) for one in trials if one.state in SCORED]
    return [
        [(one.value, one.variance) for one in search.board.posterior(labels, objective)]
        for objective in OBJECTIVES
    ]


def test_a_resumed_board_is_equal_to_the_last_bit(world, ledger: Ledger) -> None:
    first = race(world, ledger)
    world.run(first)
    trials = ledger.candidates("trial")
    again = race(world, ledger)
    world.run(again)
    assert again.executor.scored == []
    assert known(again, trials) == known(first, trials)


def test_a_repeated_recipe_is_known_on_what_it_was_looked_at_itself(world, ledger: Ledger) -> None:
    search = race(world, ledger)
    world.run(search)
    trials = ledger.candidates("trial")
    whole = next(one for one in trials if one.state == "complete" and one.looks > 1)
    twin = replace(whole, number=len(trials), state="running", looks=0, scores=None, items=0,
                   estimates=None, errors=None)  # fmt: skip
    ledger.put(twin)
    more = race(world, ledger, trials=len(trials) + 1)
    world.run(more)
    found = ledger.candidates("trial")[-1]
    assert found.items == 0
    seen = sum(
        more.contestants.cost(look) for look in more.contestants.looks(found)[: found.looks]
    )
    lines = [more.board.line(label(found), ("up", "acc")),
             more.board.line(label(found), ("down", "acc"))]  # fmt: skip
    assert sum(int((line == line).sum()) for line in lines) == seen


def test_memory_that_runs_out_in_a_later_look_leaves_nothing_half_scored(
    world, ledger: Ledger
) -> None:
    search = race(world, ledger)

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        running = [one for one in ledger.candidates("trial") if one.state == "running"]
        if running and running[0].looks == 2:
            raise ExhaustedError("no memory")

    search.executor.spoil = spoil
    with pytest.raises(ExhaustedError):
        world.run(search)
    smaller = race(world, ledger)
    smaller.executor.settings = "smaller"
    world.run(smaller)
    for one in ledger.candidates("trial"):
        if one.state == "complete":
            results = smaller.scorer.known(one.recipe_hash, "search", ["up", "down"])
            assert [len(found) for found in results.values()] == [150, 150]


def test_a_reference_that_breaks_a_constraint_bars_nobody(world, ledger: Ledger) -> None:
    """`math` alone is the best at `up` and breaks the bound; what is below it is still raced."""
    bound = ConstraintSpec(MetricRef("down"), None, 0.615, None)
    search = race(world, ledger, constraints=(bound,))
    world.run(search)
    references = {one.name: one for one in ledger.candidates("reference")}
    assert references["math"].violations[0] > 0
    trials = ledger.candidates("trial")
    feasible = [one for one in trials if one.state in SCORED and one.violations[0] <= 0]
    assert any(one.looks > 1 for one in feasible)


def test_a_trial_that_fails_leaves_nothing_on_the_board(world, ledger: Ledger) -> None:
    search = race(world, ledger, budget=Budget(8, None, None))
    score = type(search.executor).score
    own = search.executor.prepare(search.proposing.warm_starts[0].data).hash

    class Broken(type(search.executor)):  # type: ignore[misc]
        def score(self, task: str, indices: Sequence[int]) -> object:
            found = dict(score(self, task, indices))
            broken = self._now.hash == own and task == "down"
            return {key: {"acc": (float("nan"),)} for key in found} if broken else found

    executor = Broken()
    broken = race(world, ledger, budget=Budget(8, None, None), executor=executor)
    broken = replace(broken, scorer=replace(broken.scorer, executor=executor))
    world.run(broken)
    first = ledger.candidates("trial")[0]
    assert first.state == "failed" and first.error == "objective down is nan"
    with pytest.raises(KeyError):
        broken.board.line("trial 0", ("up", "acc"))


def test_with_constraints_finalists_are_scored_on_everything_first(world, ledger: Ledger) -> None:
    bound = ConstraintSpec(MetricRef("down"), None, 0.45, None)
    budget = Budget(None, 14 * 300, None)
    search = race(world, ledger, constraints=(bound,), budget=budget)
    world.run(search)
    before = {one.number: one for one in ledger.candidates("trial")}
    decide(search, WinnerRule("maximin", {}, None))
    after = ledger.candidates("trial")
    changed = [one for one in after if one.state != before[one.number].state]
    assert changed and {(one.state, before[one.number].state) for one in changed} == {
        ("complete", "paused")
    }
    for one in changed:
        assert one.scores is not None and one.estimates == before[one.number].estimates
        results = search.scorer.known(one.recipe_hash, "search", ["up", "down"])
        assert [len(found) for found in results.values()] == [150, 150]
    assert world.run(race(world, ledger, constraints=(bound,), budget=budget)) == "items"
    assert {one.number: one.state for one in ledger.candidates("trial")} == {
        one.number: one.state for one in after
    }
