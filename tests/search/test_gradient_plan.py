"""What gradients may cost: at most a quarter of the budget, on items of calibration only."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from search.gradient_plan import PASSES, SHARE, GradientPlan, gold_items, plan_gradients
from search.objectives import Budget, Objective


def plan(budget: Budget, **changes: Any) -> GradientPlan | str:
    given = {"objectives": 2, "available": {"a": 90, "b": 90}, "references": 4, "starts": 6}
    given |= {"items_per_candidate": 540, **changes}
    return plan_gradients(budget=budget, **given)


@pytest.mark.parametrize("trials", [12, 20, 40, 64, 200, 1000])
def test_the_phase_costs_at_most_a_quarter(trials: int) -> None:
    for budget in (Budget(trials, None, None), Budget(None, trials * 540, None)):
        found = plan(budget)
        assert not isinstance(found, str)
        cost = 2 * found.items * (4 + found.starts + PASSES * found.evaluations)
        assert cost <= trials * 540 // SHARE
        assert found.limit == trials * 540 // SHARE
        assert 1 <= found.points <= max(1, trials // SHARE)


def test_less_budget_looks_at_fewer_items_then_steps_then_points() -> None:
    found = [plan(Budget(n, None, None)) for n in (1000, 64, 20, 12)]
    sizes = [(one.items, one.evaluations, one.points) for one in found if not isinstance(one, str)]
    assert sizes == [(64, 16, 8), (24, 16, 8), (16, 10, 5), (16, 6, 3)]
    assert isinstance(plan(Budget(2, None, None)), str)
    timed = plan(Budget(None, None, 5.0))
    assert timed == plan(Budget(40, None, None))


def test_steps_from_the_front_have_half_of_it() -> None:
    budget = Budget(64, None, None)
    alone, shared = plan(budget), plan(budget, steps_too=True)
    assert not isinstance(alone, str) and not isinstance(shared, str)
    assert shared.limit == alone.limit
    cost = 2 * shared.items * (4 + shared.starts + PASSES * shared.evaluations)
    assert cost <= (alone.limit or 0) // 2


def test_the_smaller_of_two_budgets_counts() -> None:
    both = plan(Budget(1000, 64 * 540, None))
    assert both == plan(Budget(64, None, None))


def test_too_few_items_are_told() -> None:
    found = plan(Budget(100, None, None), available={"a": 90, "b": 7})
    assert isinstance(found, str) and "'b' has 7 items in `calibration`" in found
    assert "0 items" in str(plan(Budget(100, None, None), available={"a": 0}))


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
