"""Random search beside a search: as many items, its own candidates, `test` untouched."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from search.beside import search_beside, seed_of_beside, stored_beside
from search.ledger import Candidate, Ledger, label
from search.objectives import Budget, ConstraintSpec, MetricRef
from search.verdict import decide
from search.winner import WinnerRule
from tests.search.conftest import killed_often

MAXIMIN = WinnerRule("maximin", {}, None)
TEST = range(9, 12)
EACH = 12


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def plain(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [one.ended(build_seconds=0, score_seconds=0) for one in candidates]


def test_as_many_items_of_its_own_and_the_trials_stay_as_they_were(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)
    decide(search, MAXIMIN)
    trials, verdict = ledger.candidates("trial"), ledger.meta("verdict")
    opened = ledger.meta("test_opened")
    search.executor.scored.clear()
    found = search_beside(search, MAXIMIN)
    drawn = ledger.candidates("beside")
    assert found.items == sum(one.items for one in trials) > 0 and found.each == EACH
    assert len(drawn) == -(-found.items // EACH)
    assert [label(one) for one in drawn[:2]] == ["random 0", "random 1"]
    assert ledger.candidates("trial") == trials and ledger.meta("verdict") == verdict
    assert not {index for _, _, index in search.executor.scored} & set(TEST)
    assert ledger.meta("test_opened") == opened
    assert stored_beside(ledger) == found and found.trials == len(trials)


def test_uniform_draws_without_warm_starts_of_a_stream_of_their_own(world, ledger) -> None:
    search = world.search(ledger, sampler="random", budget=Budget(30, None, None))
    world.run(search)
    search_beside(search, MAXIMIN)
    values = [one.values for one in ledger.candidates("beside")]
    theirs = [one.values for one in ledger.candidates("trial")]
    assert len(values) > 20 and not [one for one in values if one in theirs]
    for name in ("math.weight", "code.weight"):
        numbers = sorted(one[name] for one in values)
        assert numbers[0] < 0.2 and numbers[-1] > 0.8 and 0.3 < sum(numbers) / len(numbers) < 0.7
    assert seed_of_beside(0) != seed_of_beside(1)


def test_both_sides_are_chosen_on_select_by_the_same_rule(world, ledger: Ledger) -> None:
    search = world.search(ledger, budget=Budget(12, None, None))
    world.run(search)
    verdict = decide(search, MAXIMIN)
    found = search_beside(search, MAXIMIN)
    assert found.search is not None and found.random is not None
    finalists = {one for one in verdict.utilities if one.startswith("trial")}
    best = max(finalists, key=lambda one: verdict.utilities[one])
    assert f"trial {found.search.number}" == best
    assert found.search.utility == pytest.approx(verdict.utilities[best])
    drawn = ledger.candidates("beside")[found.random.number]
    assert found.random.draws[0].recipe_hash == drawn.recipe_hash


def test_killed_anywhere_it_goes_on_as_if_undisturbed(world, ledger, tmp_path: Path) -> None:
    whole = world.search(ledger)
    world.run(whole)
    undisturbed = search_beside(whole, MAXIMIN)
    with Ledger(f"sqlite:///{tmp_path / 'killed.db'}") as other:
        first = world.search(other)
        world.run(first)
        found, stops, scored = killed_often(
            lambda: world.search(other), lambda one: search_beside(one, MAXIMIN), 3
        )
        scored = [*first.executor.scored, *scored]
        assert found == undisturbed and stops > 3
        assert len(scored) == len(set(scored))
        theirs = plain(other.candidates("beside"))
        assert theirs == plain(ledger.candidates("beside"))
        again = world.search(other)
        assert search_beside(again, MAXIMIN) == found and again.executor.scored == []


def test_an_extended_search_extends_it(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    world.run(search)
    search_beside(search, MAXIMIN)
    before = ledger.candidates("beside")
    longer = world.search(ledger, budget=Budget(12, None, None))
    world.run(longer)
    search_beside(longer, MAXIMIN)
    after = ledger.candidates("beside")
    assert after[: len(before)] == before and len(after) > len(before)


def test_what_another_run_lent_counts_as_items(world, ledger: Ledger, tmp_path: Path) -> None:
    search = world.search(ledger)
    world.run(search)
    found = search_beside(search, MAXIMIN)
    with Ledger(f"sqlite:///{tmp_path / 'other.db'}") as other:
        other.copy_results(ledger)
        again = world.search(other)
        world.run(again)
        assert sum(one.items for one in other.candidates("trial")) == 0
        assert search_beside(again, MAXIMIN) == found and again.executor.scored == []


def test_constraints_hold_for_both_and_nobody_may_be_left(world, ledger: Ledger) -> None:
    search = world.search(ledger, constraints=(ConstraintSpec(MetricRef("up"), None, 99.0, None),))
    world.run(search)
    found = search_beside(search, MAXIMIN)
    assert found.search is None and found.random is None
    assert all(one.violations[0] > 0 for one in ledger.candidates("beside") if one.scores)
    assert stored_beside(ledger) == found
