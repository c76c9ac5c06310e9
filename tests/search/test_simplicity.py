"""What counts as simple, from the recipe alone."""

from typing import Any

import pytest

from search.ledger import Candidate
from search.simplicity import complexity


def trial(data: dict[str, Any], kind: Any = "trial") -> Candidate:
    return Candidate(kind, 0, "x", data, "h")


def models(*weights: Any, **shared: Any) -> dict[str, Any]:
    listed = [{"model": f"m{n}", "parameters": {"weight": one}} for n, one in enumerate(weights)]
    return {"merge_method": "ties", "base_model": "b", "models": listed, "parameters": shared}


def test_references_come_before_what_the_search_proposed() -> None:
    many = trial(models(0.1, 0.2, 0.3), "reference")
    assert complexity(many) < complexity(trial(models(1.0)))
    assert complexity(trial(models(1.0), "beside"))[0] == 1


def test_fewer_models_with_a_weight_then_fewer_numbers() -> None:
    two, equal, one = models(0.5, 0.4), models(0.5, 0.5), models(0.5, 0.0)
    assert complexity(trial(one))[1] == 1 and complexity(trial(two))[1] == 2
    assert complexity(trial(one)) < complexity(trial(equal)) < complexity(trial(two))


@pytest.mark.parametrize(
    ("weight", "numbers"),
    [
        (0.5, 1),
        ([0.5, 0.5, 0.5], 1),
        ([0.1, 0.2, 0.3], 3),
        ([{"filter": "mlp", "value": 0.4}, {"value": [0.1, 0.2]}], 3),
    ],
)
def test_anchors_and_filters_are_numbers_of_their_own(weight: Any, numbers: int) -> None:
    assert complexity(trial(models(weight))) == (1, 1, numbers)


def test_numbers_are_told_apart_by_parameter_and_switches_are_none() -> None:
    data = models(0.5, 0.5, normalize=True, density=0.5)
    data["parameters"]["lambda"] = 1.0
    assert complexity(trial(data)) == (1, 2, 3)


def test_models_in_slices_and_models_without_a_weight_count() -> None:
    sources = [{"model": "a", "layer_range": [0, 4]}, {"model": "b", "layer_range": [0, 4],
               "parameters": {"weight": [0.0, 0.0]}}]  # fmt: skip
    data = {"merge_method": "linear", "slices": [{"sources": sources}, {"sources": sources}]}
    assert complexity(trial(data)) == (1, 1, 1)
