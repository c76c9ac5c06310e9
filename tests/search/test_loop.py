"""The loop: references first, then trials until a limit; stopped anywhere it goes on unchanged."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.errors import NonFiniteError
from search.errors import SearchError
from search.ledger import Candidate, Ledger
from search.limits import refuse_small_budget
from search.loop import constraint_name, source_faults
from search.objectives import Budget, ConstraintSpec, MetricRef
from search.shadow import stored_shadow
from search.warm_start import references


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def told(ledger: Ledger) -> list[Candidate]:
    """All candidates, but for the seconds they took."""
    found = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return [replace(one, propose_seconds=0, build_seconds=0, score_seconds=0) for one in found]


def test_references_then_warm_starts_then_proposals(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    assert world.run(search) == "trials"
    references, trials = ledger.candidates("reference"), ledger.candidates("trial")
    assert [(one.name, one.role) for one in references] == [
        ("base", "base"), ("math", "parent"), ("code", "parent"), ("uniform", "uniform"),
    ]  # fmt: skip
    assert [one.number for one in trials] == list(range(6))
    started = len(search.proposing.warm_starts)
    assert 0 < started < 6
    assert [one.name for one in trials[:started]] == [
        f"warm start: {one.name}" for one in search.proposing.warm_starts
    ]
    assert {one.name for one in trials[started:]} == {"random"}
    assert [one.watermark for one in trials[started:]] == list(range(started - 2, 4))
    assert all(one.state == "complete" for one in [*references, *trials])
    assert [one.name for one in search.observer.ends[:4]] == ["base", "math", "code", "uniform"]
    assert search.observer.phases == [("references", 4), ("search", 0)]
    assert [one.stage for one in search.observer.steps] == ["proposing"] * 6


def test_scores_in_closed_form(world, ledger: Ledger) -> None:
    world.run(world.search(ledger))
    mean = sum(range(6)) / 600
    by_name = {one.name: one for one in ledger.candidates("reference")}
    assert by_name["math"].scores == pytest.approx((1 + mean, 0.3 + mean))
    assert by_name["code"].scores == pytest.approx((-0.2 + mean, -1 + mean))
    own = ledger.candidates("trial")[0]
    assert own.values == {"math.weight": 0.5, "code.weight": 0.25}
    assert own.scores == pytest.approx((0.45 + mean, -0.1 + mean))
    assert {one.items for one in ledger.candidates("reference")} == {12}


class Stopped(KeyboardInterrupt):
    """Ctrl-C in a test."""


def stop_at(search, block: int) -> None:
    """Makes the executor stop before the block of this number is scored."""
    left = [block]

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped

    search.executor.spoil = spoil


def test_stopped_before_any_block_it_goes_on_as_if_it_had_not_been(world, tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'whole.db'}") as whole:
        search = world.search(whole)
        world.run(search)
        expected, blocks = told(whole), len(search.executor.scored) // 6
    assert blocks == 2 * 10
    for block in range(blocks):
        url = f"sqlite:///{tmp_path / f'{block}.db'}"
        scored = []
        with Ledger(url) as ledger:
            search = world.search(ledger)
            stop_at(search, block)
            with pytest.raises(Stopped):
                world.run(search)
            scored += search.executor.scored
        with Ledger(url) as ledger:
            search = world.search(ledger)
            assert world.run(search) == "trials"
            assert told(ledger) == expected
            scored += search.executor.scored
        assert len(scored) == len(set(scored)) == 6 * blocks


def test_killed_between_a_proposal_and_its_first_block(world, ledger: Ledger, tmp_path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'whole.db'}") as whole:
        world.run(world.search(whole))
        expected = told(whole)
    search = world.search(ledger, budget=Budget(5, None, None))
    world.run(search)
    shadow = stored_shadow(ledger, 5)
    last = search.proposing.next(ledger.candidates("trial"), None, shadow, world.proposer())
    assert last.state == "running" and last.recipe_hash == ""
    ledger.put(last.ended(recipe_hash=search.executor.prepare(last.data).hash))
    world.run(world.search(ledger))
    assert told(ledger) == expected


def test_the_same_recipe_costs_nothing_again(world, ledger: Ledger) -> None:
    world.run(world.search(ledger))
    values = {one.name: one.items for one in ledger.candidates("trial")}
    again = ledger.candidates("trial")[-1]
    ledger.put(replace(again, number=6, state="running", scores=None, items=0, looks=0))
    search = world.search(ledger, budget=Budget(7, None, None))
    world.run(search)
    last = ledger.candidates("trial")[-1]
    assert values and last.items == 0 and last.scores == again.scores
    assert search.executor.scored == []


def test_a_smaller_budget_scores_nothing_and_a_larger_one_goes_on(world, ledger: Ledger) -> None:
    world.run(world.search(ledger))
    before = told(ledger)
    search = world.search(ledger, budget=Budget(2, None, None))
    assert world.run(search) == "trials" and search.executor.scored == []
    assert len(search.observer.before) == 6
    world.run(world.search(ledger, budget=Budget(8, None, None)))
    assert told(ledger)[: len(before)] == before and len(told(ledger)) == len(before) + 2


def test_budgets_of_items_and_minutes(world, ledger: Ledger) -> None:
    search = world.search(ledger, budget=Budget(None, 14 * 12 + 11, None))
    assert search.items_per_candidate == 12
    assert world.run(search) == "items"
    assert len(ledger.candidates("trial")) == 10  # four references and ten candidates
    late = world.search(ledger, budget=Budget(None, None, 1e-9))
    assert world.run(late) == "minutes" and late.executor.scored == []


def test_a_budget_that_is_too_small(world, ledger: Ledger) -> None:
    search = world.search(ledger, budget=Budget(None, 14 * 12 - 1, None))
    with pytest.raises(SearchError, match=r"167 items is too small: 4 references .* take 168"):
        world.run(search)
    assert told(ledger) == []
    refuse_small_budget(Budget(None, None, None), 4, 12)
    refuse_small_budget(Budget(None, 168, None), 4, 12)


def test_a_candidate_that_gives_nan_is_a_failed_trial_with_its_cost(world, ledger: Ledger) -> None:
    search = world.search(ledger)

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        if weights == {"math": 0.5, "code": 0.25} and task == "down":
            raise NonFiniteError("logits are NaN")

    search.executor.spoil = spoil
    assert world.run(search) == "trials"
    first, *others = ledger.candidates("trial")
    assert (first.state, first.error, first.scores, first.items) == (
        "failed", "logits are NaN", None, 6,
    )  # fmt: skip
    assert all(one.state == "complete" for one in others)


def test_a_metric_that_is_no_number_is_a_failed_trial(
    world, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = world.search(ledger)
    score = search.executor.score
    own = search.executor.prepare(search.proposing.warm_starts[0].data).hash

    def strange(task: str, indices: Sequence[int]) -> Mapping[str, Mapping[str, tuple[float]]]:
        found = score(task, indices)
        nan = {key: {"skill": (math.nan,)} for key in found}
        return nan if search.executor.built[-1] == own else found

    monkeypatch.setattr(type(search.executor), "score", lambda _, *block: strange(*block))
    world.run(search)
    first, *others = ledger.candidates("trial")
    assert (first.state, first.error) == ("failed", "objective up is nan")
    assert {one.state for one in others} == {"complete"}


def test_a_recipe_that_cannot_be_merged_is_a_failed_trial(world, ledger: Ledger) -> None:
    search = world.search(ledger)
    values = {"math.weight": 1.0, "code.weight": 1.0}
    start = replace(search.proposing.warm_starts[0], values=values, data=world.space.fill(values))
    proposing = replace(search.proposing, warm_starts=(start,))
    assert world.run(world.search(ledger, proposing=proposing)) == "trials"
    first, *others = ledger.candidates("trial")
    assert (first.state, first.error) == ("failed", "too much of everything")
    assert first.recipe_hash == "" and len(others) == 5


def test_a_base_that_cannot_be_scored_ends_it(world, ledger: Ledger) -> None:
    search = world.search(ledger)

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        if weights == {"base": 1.0}:
            raise NonFiniteError("NaN")

    search.executor.spoil = spoil
    with pytest.raises(SearchError, match="the base model cannot be scored: NaN"):
        world.run(search)
    assert told(ledger) == []


DROP = ConstraintSpec(MetricRef("up"), 0.1, None, None, "base")
CONSTRAINTS = [
    (DROP, lambda up, down: 0.0 - up - 0.1),  # base scores 0 (+ the same mean as everybody)
    (replace(DROP, source="best_parent"), lambda up, down: 1.0 - up - 0.1),
    (replace(DROP, source="code"), lambda up, down: -0.2 - up - 0.1),
    (replace(DROP, metric=MetricRef("down"), source="best_parent"),
     lambda up, down: down - -1.0 - 0.1),
    (ConstraintSpec(MetricRef("up"), None, 0.3, None), lambda up, down: 0.3 - (up + 0.025)),
    (ConstraintSpec(MetricRef("down", "skill"), None, -0.5, 0.2),
     lambda up, down: max(-0.5 - (down + 0.025), down + 0.025 - 0.2)),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "violated"), CONSTRAINTS)
def test_how_far_a_constraint_is_violated(world, ledger: Ledger, spec, violated) -> None:
    world.run(world.search(ledger, constraints=(spec,)))
    for one in told(ledger):
        up, down = (score - 0.025 for score in one.scores)
        assert one.violations == pytest.approx((violated(up, down),))


def test_a_constraint_on_what_cannot_be_scored_ends_it(world, ledger: Ledger) -> None:
    search = world.search(ledger, constraints=(replace(DROP, source="code"),))

    def spoil(weights: Mapping[str, float], task: str, indices: Sequence[int]) -> None:
        if weights == {"code": 1.0}:
            raise NonFiniteError("NaN")

    search.executor.spoil = spoil
    with pytest.raises(SearchError, match="a constraint compares with code"):
        world.run(search)


def test_names_of_constraints(world) -> None:
    specs = [spec for spec, _ in CONSTRAINTS]
    names = [constraint_name(spec) for spec in specs]
    assert len(set(names)) == len(names) and names[0] == "up drop 0.1 from base"
    known = references(world.space)
    assert source_faults(specs, known) == []
    faults = source_faults([replace(DROP, source="nobody")], known)
    assert len(faults) == 1 and "base, best_parent, base, math, code, uniform" in faults[0]
