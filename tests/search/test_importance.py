"""Importance finds what mattered, and says nothing where nothing can be said."""

import random

from search.importance import MIN_TRIALS, importances
from search.ledger import Candidate
from search.objectives import Objective
from search.study_log import recipe_distributions

OBJECTIVES = (Objective("up", (("t", "acc"),), True), Objective("down", (("t", "b"),), False))
TEXT = """\
  merge_method: ties
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1]}, density: {range: [0.1, 1]}}}
    - {model: code, parameters: {weight: {range: [0, 1]}}}
"""


def trials(count: int, scores) -> list[Candidate]:
    draw = random.Random(0)
    found = []
    for number in range(count):
        values = {
            "math.weight": draw.random(),
            "math.density": draw.uniform(0.1, 1),
            "code.weight": draw.random(),
        }
        one = Candidate("trial", number, "tpe", {}, "h", values=values, state="complete")
        found.append(one.ended(scores=scores(values)))
    return found


def test_the_parameter_that_an_objective_follows_matters_most(make_space) -> None:
    ranges = recipe_distributions(make_space(TEXT).dimensions)
    done = trials(60, lambda values: (values["math.weight"], values["code.weight"]))
    found = importances(done, OBJECTIVES, ranges)
    assert list(found) == ["up", "down"]
    assert max(found["up"], key=found["up"].get) == "math.weight"
    assert max(found["down"], key=found["down"].get) == "code.weight"
    for shares in found.values():
        assert set(shares) == set(ranges) and abs(sum(shares.values()) - 1) < 1e-9


def test_too_few_trials_and_equal_scores_say_nothing(make_space) -> None:
    ranges = recipe_distributions(make_space(TEXT).dimensions)
    few = trials(MIN_TRIALS - 1, lambda values: (values["math.weight"], 0.0))
    assert importances(few, OBJECTIVES, ranges) == {}
    failed = [one.ended(state="failed", scores=None) for one in few]
    assert importances([*few, *failed], OBJECTIVES, ranges) == {}
    same = trials(40, lambda values: (0.5, values["code.weight"]))
    equal = importances(same, OBJECTIVES, ranges)
    assert equal["up"] == {} and equal["down"]


def test_parameters_that_some_trials_do_not_have_are_left_out(make_space) -> None:
    ranges = recipe_distributions(make_space(TEXT).dimensions)
    done = trials(40, lambda values: (values["math.weight"], 0.1))
    less = {name: value for name, value in done[0].values.items() if name != "math.density"}
    found = importances([done[0].ended(values=less), *done[1:]], OBJECTIVES, ranges)
    assert set(found["up"]) == {"math.weight", "code.weight"}
