"""Where trials come from: warm starts in order, then proposals that know what they may know."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from search.errors import SearchError
from search.ledger import Candidate, Ledger
from search.shadow import Guess, Shadow
from search.trials import GUESS, Proposing, with_mask_seed
from search.warp import Warp


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def ended(trial: Candidate, score: float) -> Candidate:
    return trial.ended(state="complete", scores=(score, -score), recipe_hash=f"h{trial.number}")


def told(trials: list[Candidate]) -> Shadow:
    """What the trials scored, as it is."""
    known = {one.number: one for one in trials}
    return Shadow(
        {number: one.scores for number, one in known.items()},
        {number: one.violations for number, one in known.items()},
        (Warp(), Warp()),
    )


def drawn(proposing: Proposing, proposer, count: int, ahead: bool = False) -> list[Candidate]:
    """Trials, each scored by its number; `ahead`: proposed while the last was under way."""
    trials: list[Candidate] = []
    prepared = None
    for number in range(count):
        trials.append(proposing.next(trials, prepared, told(trials[:-1]), proposer))
        if ahead:
            prepared = proposing.ahead(trials, told(trials[:-1]), proposer)
        trials[-1] = ended(trials[-1], number / 10)
    return trials


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsgaii"])
def test_ahead_or_not_the_trials_are_the_same(world, ledger: Ledger, sampler: str) -> None:
    proposing = world.search(ledger, sampler=sampler).proposing
    one = drawn(proposing, world.proposer(), 16)
    assert one == drawn(proposing, world.proposer(), 16, ahead=True)
    started = len(proposing.warm_starts)
    assert [trial.values for trial in one[:started]] == [
        start.values for start in proposing.warm_starts
    ]
    assert {trial.sampler for trial in one} == {sampler}
    other = replace(proposing, seed=1)
    assert drawn(other, world.proposer(), 16)[started:] != one[started:]


def test_a_proposal_does_not_know_the_trial_before_it(world, ledger: Ledger) -> None:
    proposing = world.search(ledger, sampler="tpe").proposing
    trials = drawn(proposing, world.proposer(), 14)
    next_one = proposing.next(trials, None, told(trials[:-1]), world.proposer())
    assert next_one.watermark == 12
    changed = [*trials[:-1], ended(trials[-1], 99.0)]
    assert proposing.next(changed, None, told(changed[:-1]), world.proposer()) == next_one
    earlier = [*(ended(one, -float(one.number)) for one in trials[:-1]), trials[-1]]
    other = proposing.next(earlier, None, told(earlier[:-1]), world.proposer())
    assert other.watermark == 12 and other.values != next_one.values


def test_a_proposal_needs_to_be_told(world, ledger: Ledger) -> None:
    proposing = replace(world.search(ledger).proposing, warm_starts=())
    with pytest.raises(SearchError, match="what proposal 0 is told"):
        proposing.next([], None, None, world.proposer())


def test_trials_are_inside_the_space_and_their_recipes_say_so(world, ledger: Ledger) -> None:
    proposing = world.search(ledger).proposing
    for trial in drawn(proposing, world.proposer(), 10):
        assert world.space.contains(trial.values)
        data = dict(trial.data)
        assert data.pop("eutectic") == {"mask_seed": 0}
        assert data == world.space.fill(trial.values)
        assert trial.state == "complete" and trial.items == 0


def test_failed_trials_are_told_without_scores(world, ledger: Ledger) -> None:
    proposing = world.search(ledger, sampler="tpe").proposing
    trials = drawn(proposing, world.proposer(), 13)
    trials[2] = replace(trials[2], state="failed", scores=None, violations=())
    assert proposing.next(trials, None, told(trials[:-1]), world.proposer()).number == 13


def test_a_guess_that_is_stored_is_for_a_search_with_guesses(world, ledger: Ledger) -> None:
    proposing = world.search(ledger).proposing
    trials = drawn(proposing, world.proposer(), 12)
    values = {"math.weight": 0.125, "code.weight": 0.5}
    shadow = replace(told(trials[:-1]), guess=Guess(values))
    found = replace(proposing, guesses=True).next(trials, None, shadow, world.proposer())
    assert (found.name, found.values) == (GUESS, values)
    named = proposing.next(trials, None, shadow, world.proposer())  # --sampler on the way
    assert named == proposing.next(trials, None, told(trials[:-1]), world.proposer())
    ahead = proposing.ahead(trials, shadow, world.proposer())
    assert ahead is not None and ahead.result().values == named.values


def test_a_recipe_keeps_its_own_mask_seed() -> None:
    assert with_mask_seed({"a": 1}, 7) == {"a": 1, "eutectic": {"mask_seed": 7}}
    own = {"eutectic": {"mask_seed": 3}}
    assert with_mask_seed(own, 7) == own
