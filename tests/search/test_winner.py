"""Who may win, who meets on `select`, and who comes first; in closed form."""

import pytest

from search.ledger import Candidate
from search.objectives import Objective
from search.winner import (
    MAX_FINALISTS,
    WinnerRule,
    best,
    feasible,
    finalists,
    front,
    frozen_scales,
)

UP = Objective("up", (("t", "acc"),), True)
DOWN = Objective("down", (("t", "bits"),), False)
MAXIMIN = WinnerRule("maximin", {}, None)


def trial(number: int, *scores: float, **changes: object) -> Candidate:
    fields = {"state": "complete", "scores": scores or None} | changes
    return Candidate("trial", number, "tpe", {}, f"hash{number}").ended(**fields)


def reference(name: str, role: str, *scores: float) -> Candidate:
    return Candidate("reference", 0, name, {}, name, role=role, state="complete").ended(
        scores=scores or None
    )


REFERENCES = [
    reference("base", "base", 0.4, 2.0),
    reference("a", "parent", 0.8, 2.5),
    reference("b", "parent", 0.3, 1.0),
    reference("broken", "parent"),
    reference("uniform", "uniform", 0.9, 0.5),
]


def test_the_base_is_0_and_the_best_parent_1() -> None:
    scales = frozen_scales(REFERENCES, [UP, DOWN])
    assert [scales["up"].utility(value) for value in (0.4, 0.8, 0.6)] == pytest.approx([0, 1, 0.5])
    assert [scales["down"].utility(value) for value in (2.0, 1.0, 3.0)] == [0, 1, -1]


def test_rules() -> None:
    scales = frozen_scales(REFERENCES, [UP, DOWN])
    values = {"up": 0.6, "down": 1.0}
    assert MAXIMIN.utility(scales, values) == pytest.approx(0.5)
    assert WinnerRule("task", {}, "down").utility(scales, values) == 1.0
    weighted = WinnerRule("weighted", {"up": 3.0, "down": 1.0}, None)
    assert weighted.utility(scales, values) == pytest.approx((3 * 0.5 + 1) / 4)


def test_feasible_is_scored_and_within_every_bound() -> None:
    assert feasible(trial(0, 0.5, 1.0)) and feasible(trial(0, 0.5, violations=(0.0, -1.0)))
    assert not feasible(trial(0, 0.5, violations=(0.0, 1e-9)))
    assert not feasible(trial(0, state="failed"))


def test_the_front_is_of_feasible_complete_trials() -> None:
    trials = [
        trial(0, 0.5, 1.0),
        trial(1, 0.4, 1.1),  # dominated
        trial(2, 0.9, 9.0),
        trial(3, 0.99, 0.1, violations=(0.2,)),
        trial(4, state="failed"),
        trial(5, 0.5, 1.0),  # as good as trial 0
        trial(6, 0.7, 0.7, state="running"),
    ]
    assert [one.number for one in front(trials, [UP, DOWN])] == [0, 2, 5]
    assert front([], [UP]) == front([trials[3], trials[4]], [UP, DOWN]) == []


def test_finalists_are_distinct_at_most_16_and_the_most_useful() -> None:
    scales = frozen_scales(REFERENCES, [UP, DOWN])
    trials = [trial(number, 0.01 * number, 0.1 * number) for number in range(40)]
    twin = trial(40, 0.2, 2.0).ended(recipe_hash="hash20")
    chosen = finalists([*trials, twin], [UP, DOWN], MAXIMIN, scales)
    assert len(chosen) == MAX_FINALISTS == 16
    numbers = [one.number for one in chosen]
    assert numbers == sorted(numbers) and len({one.recipe_hash for one in chosen}) == 16
    utilities = {
        one.number: min(scales["up"].utility(0.01 * one.number),
                        scales["down"].utility(0.1 * one.number))
        for one in trials
    }  # fmt: skip
    worst = min(utilities[number] for number in numbers)
    assert all(value <= worst for number, value in utilities.items() if number not in numbers)


def test_the_earlier_of_equals_is_best() -> None:
    assert best({"base": 0.0, "a": 1.0, "trial 3": 1.0}) == "a"
    assert best({"x": -2.0}) == "x"
