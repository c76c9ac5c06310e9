"""Where gradients take part, and what they may cost: at most a quarter of the budget."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from search.gradient_plan import (
    LEAST_WEIGHTS,
    SHARE,
    WISHED,
    GradientPlan,
    GradientTerms,
    cost_of,
    gold_items,
    plan_gradients,
)
from search.objectives import Budget, Objective

ON = GradientTerms("on", 8, 2, {"a": 90, "b": 90}, Budget(64, None, None), 540, 4, 6)


def terms(trials: int | None = 64, **changes: Any) -> GradientTerms:
    return replace(ON, **{"budget": Budget(trials, None, None), **changes})


def plan(trials: int | None = 64, **changes: Any) -> GradientPlan:
    found = plan_gradients(terms(trials, **changes))
    assert not isinstance(found, str), found
    return found


def why(trials: int | None = 64, **changes: Any) -> str:
    found = plan_gradients(terms(trials, **changes))
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("trials", [12, 20, 40, 64, 200, 1000])
def test_the_phase_costs_at_most_a_quarter_and_mostly_a_tenth(trials: int) -> None:
    for budget in (Budget(trials, None, None), Budget(None, trials * 540, None)):
        found = plan(budget=budget)
        cost = cost_of(found, ON)
        assert cost == 2 * found.items * (4 + found.starts + 3 * found.evaluations)
        assert cost <= found.limit == trials * 540 // SHARE
        assert found.items == 8 or cost <= WISHED * trials * 540
        assert 1 <= found.points <= max(1, trials // SHARE)


def test_less_budget_looks_at_fewer_items_then_makes_fewer_steps() -> None:
    found = [plan(1000), plan(200), plan(64), plan(10), plan(5, starts=20)]
    assert [one.items for one in found] == [64, 64, 48, 8, 8]
    assert [one.evaluations for one in found] == [8, 8, 8, 8, 6]
    # With more of what comes before the first step, one warm start is looked at and no other.
    assert plan(5, starts=40).starts == 1
    assert "too little" in why(1)


def test_with_few_weights_auto_leaves_them_out_and_on_does_not() -> None:
    few, enough = LEAST_WEIGHTS - 1, LEAST_WEIGHTS
    assert f"{few} weights are searched" in why(mode="auto", weights=few)
    assert plan(mode="auto", weights=enough) == plan(mode="on", weights=enough)
    assert plan(mode="on", weights=few).evaluations == few


def test_where_trials_are_guesses_auto_leaves_them_out_and_on_does_not() -> None:
    many = {"weights": 2 * LEAST_WEIGHTS, "guessed": True}
    assert "best guesses" in why(mode="auto", **many)
    assert plan(mode="on", **many) == plan(mode="on", weights=2 * LEAST_WEIGHTS)


def test_more_weights_take_more_steps_where_the_budget_has_them() -> None:
    found = [plan(200, weights=weights).evaluations for weights in (1, 8, 12, 24, 300)]
    assert found == [8, 8, 12, 24, 24]
    assert plan(5, weights=24).evaluations == 10
    assert plan(5, weights=24, mode="auto").evaluations == 10


def test_auto_takes_the_whole_phase_or_none() -> None:
    auto = {"mode": "auto", "weights": LEAST_WEIGHTS}
    assert plan(5, **auto).starts == ON.starts
    assert plan(5, starts=20).evaluations == 6
    assert plan(5, starts=20, **auto).starts == 1  # where there are too many, the first of them
    assert plan(4, references=20).evaluations == 4
    assert "too little" in why(4, references=20, **auto)


def test_minutes_are_no_budget_for_auto_and_forty_trials_where_they_are_asked_for() -> None:
    minutes = Budget(None, None, 5.0)
    assert "minutes" in why(mode="auto", weights=12, budget=minutes)
    assert plan(budget=minutes) == plan(40)
    assert plan(mode="auto", weights=12, budget=Budget(64, None, 5.0)) == plan(64, weights=12)


def test_steps_from_the_front_have_half_of_it() -> None:
    alone, shared = plan(12), plan(12, mode="refine")
    assert shared.limit == alone.limit
    assert cost_of(shared, ON) <= alone.limit // 2


def test_the_smaller_of_two_budgets_counts() -> None:
    assert plan(budget=Budget(1000, 64 * 540, None)) == plan(64)


def test_too_few_items_are_told() -> None:
    assert "'b' has 7 items in `calibration`" in why(100, available={"a": 90, "b": 7})
    assert "0 items" in why(100, available={"a": 0})
    told = why(100, mode="auto", weights=1, available={"a": 0})
    assert "0 items" in told and "gradients: on" not in told  # which would not help


def test_items_are_of_calibration_only_and_follow_the_seed() -> None:
    items = [SimpleNamespace(key=f"k{n}") for n in range(60)]
    tasks = cast(Any, {"a": SimpleNamespace(items=items), "b": SimpleNamespace(items=items)})
    split = {"calibration": range(0, 60, 2), "search": range(1, 60, 2)}
    splits = {"a": split, "b": split}
    objectives = [
        Objective("one", (("a", "acc"), ("b", "acc")), True),
        Objective("two", (("a", "acc"),), True),
    ]
    found = gold_items(objectives, tasks, splits, 16, 0)
    assert [(one.task, one.metric, len(one.indices)) for one in found] == [
        ("a", "acc", 16), ("b", "acc", 16),
    ]  # fmt: skip
    assert all(set(one.indices) <= set(split["calibration"]) for one in found)
    assert found == gold_items(objectives, tasks, splits, 16, 0)
    assert found != gold_items(objectives, tasks, splits, 16, 1)
    (few, _) = gold_items(objectives, tasks, splits, 8, 0)
    assert set(few.indices) < set(found[0].indices)
