"""Finalists and references meet on `select`; `test` is opened for the winner, and counted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.errors import NonFiniteError
from search.ledger import Ledger, label
from search.objectives import Budget, ConstraintSpec, MetricRef
from search.verdict import NoWinner, decide, stored_verdict
from search.winner import WinnerRule

MAXIMIN = WinnerRule("maximin", {}, None)
SELECT, TEST = range(6, 9), range(9, 12)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def scored_on(search, indices: range) -> set[str]:
    """Recipe hashes of whoever was scored on any of these items."""
    return {recipe for recipe, _, index in search.executor.scored if index in indices}


def hashes(ledger: Ledger) -> dict[str, str]:
    everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return {label(one): one.recipe_hash for one in everyone}


def test_the_most_useful_on_select_wins_and_alone_goes_on_to_test(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)
    search.executor.scored.clear()
    verdict = decide(search, MAXIMIN)
    known = hashes(ledger)
    assert verdict.utilities[verdict.winner] == max(verdict.utilities.values())
    assert verdict.rival in ("math", "code") and verdict.trials == 6
    parents = [verdict.utilities[one] for one in ("math", "code")]
    assert verdict.utilities[verdict.rival] == max(parents)
    references = {known[name] for name in ("base", "math", "code", "uniform")}
    assert scored_on(search, TEST) == references | {known[verdict.winner]}
    assert scored_on(search, SELECT) >= references
    assert stored_verdict(ledger) == verdict


def test_select_decides_not_search(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)
    first = decide(search, MAXIMIN)
    winner = hashes(ledger)[first.winner]

    class Unlucky(type(search.executor)):  # the favourite of `search` is poor on `select`
        def score(self, task: str, indices: Sequence[int]):
            found = super().score(task, indices)
            if self.built[-1] != winner or not set(indices) & set(SELECT):
                return found
            worse = -5.0 if task == "up" else 5.0
            return {key: {"skill": (worse,)} for key in found}

    again = world.search(ledger, executor=Unlucky(settings="anew"))
    second = decide(again, MAXIMIN)
    assert second.winner != first.winner and second.utilities[first.winner] < -1


def test_what_keeps_no_constraint_cannot_win_but_a_parent_is_compared_with(
    world, ledger: Ledger
) -> None:
    bound = ConstraintSpec(MetricRef("up"), None, None, 0.05)  # base, code are below, math not
    search = world.search(ledger, constraints=(bound,))
    world.run(search)
    verdict = decide(search, WinnerRule("task", {}, "up"))
    keeps = {label(one) for one in ledger.candidates("reference") if one.violations[0] <= 0}
    assert keeps == {"base", "code"}
    assert verdict.winner == "base" and verdict.rival == "math"
    assert verdict.utilities["math"] > verdict.utilities["base"]


def test_nobody_keeps_the_constraints(world, ledger: Ledger) -> None:
    search = world.search(ledger, constraints=(ConstraintSpec(MetricRef("up"), None, 99.0, None),))
    world.run(search)
    with pytest.raises(NoWinner, match="no candidate keeps the constraints"):
        decide(search, MAXIMIN)
    assert stored_verdict(ledger) is None and ledger.meta("test_opened") is None
    assert scored_on(search, TEST) == set()


def test_a_candidate_that_gives_nan_on_select_is_out(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)
    favourite = decide(search, MAXIMIN).winner
    known = hashes(ledger)
    again = world.search(ledger)
    again.executor.settings = "anew"

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        if again.executor.built[-1] == known[favourite]:
            raise NonFiniteError("NaN")

    again.executor.spoil = spoil
    verdict = decide(again, MAXIMIN)
    assert verdict.winner != favourite and favourite not in verdict.utilities


def test_openings_of_the_test_split_are_counted(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)
    decide(search, MAXIMIN)
    again = world.search(ledger)
    decide(again, MAXIMIN)  # told again: nothing new was seen
    assert len(ledger.meta("test_opened")) == 1 and again.executor.scored == []
    extended = world.search(ledger, budget=Budget(8, None, None))
    world.run(extended)
    decide(extended, MAXIMIN)
    assert [one["trials"] for one in ledger.meta("test_opened")] == [6, 8]


def test_an_opening_counts_before_the_first_figure_is_seen(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        if set(indices) & set(TEST):
            raise KeyboardInterrupt

    search.executor.spoil = spoil
    with pytest.raises(KeyboardInterrupt):
        decide(search, MAXIMIN)
    assert len(ledger.meta("test_opened")) == 1 and stored_verdict(ledger) is None
    decide(world.search(ledger), MAXIMIN)
    assert len(ledger.meta("test_opened")) == 1 and stored_verdict(ledger) is not None


def test_no_test_split_is_not_opened(world, ledger: Ledger) -> None:
    splits = {task: {"search": range(6), "select": SELECT, "test": ()} for task in ("up", "down")}
    search = world.search(ledger, splits=splits)
    world.run(search)
    assert decide(search, MAXIMIN).winner
    assert ledger.meta("test_opened") is None


def test_a_task_that_only_test_looks_at(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    only = replace(search, objectives=search.objectives[:1])
    only.proposing = replace(only.proposing, objectives=only.objectives)
    world.run(only)
    assert only.searched == ["up"] and only.items_per_candidate == 6
    decide(only, MAXIMIN)
    seen = {(task, index in TEST) for _, task, index in only.executor.scored}
    assert seen == {("up", False), ("up", True), ("down", True)}
