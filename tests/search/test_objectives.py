"""Scales, winner rules and constraints in closed form."""

import numpy as np
import pytest

from evaluation.task import Metric
from search.errors import SearchError
from search.objectives import (
    ConstraintSpec,
    MetricRef,
    ObjectiveSpec,
    combine,
    make_scale,
    objective_value,
    resolve_objective,
    violation,
)


class Questions:
    """A task with two metrics, enough for aggregation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.items = ()
        self.metrics = {
            "acc": Metric("acc", True, 1, lambda rows: float(np.mean(rows))),
            "bits": Metric(
                "bits", False, 2, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum())
            ),
        }


TASKS = {"a": Questions("a"), "b": Questions("b")}


@pytest.mark.parametrize("higher", [True, False])
def test_the_base_is_zero_and_the_best_parent_one(higher: bool) -> None:
    sign = 1 if higher else -1
    scale = make_scale(2.0, [2.0 + sign * 0.5, 2.0 + sign * 0.2], higher)
    assert scale.utility(2.0) == 0
    assert scale.utility(2.0 + sign * 0.5) == pytest.approx(1)
    assert scale.utility(2.0 - sign * 0.5) == pytest.approx(-1)


@pytest.mark.parametrize("sign", [1, -1])
def test_where_no_parent_gains_the_worst_is_zero_and_the_base_one(sign: int) -> None:
    scale = make_scale(0.8 * sign, [0.7 * sign, 0.6 * sign], sign > 0)
    assert scale.utility(0.6 * sign) == pytest.approx(0)
    assert scale.utility(0.8 * sign) == pytest.approx(1)


def test_nearly_everything_beats_having_only_what_the_base_has() -> None:
    won, kept = make_scale(0.2, [0.6, 0.2], True), make_scale(0.8, [0.5, 0.7], True)
    candidate = {"won": won.utility(0.58), "kept": kept.utility(0.79)}
    base = {"won": won.utility(0.2), "kept": kept.utility(0.8)}
    assert combine("maximin", candidate, {}, None) > combine("maximin", base, {}, None) + 0.9


def test_parents_equal_to_the_base_leave_the_unit_alone() -> None:
    assert make_scale(0.5, [0.5], True).utility(0.75) == pytest.approx(0.25)


def test_rules() -> None:
    utilities = {"a": 0.5, "b": 1.0}
    assert combine("maximin", utilities, {}, None) == 0.5
    assert combine("weighted", utilities, {"a": 1, "b": 3}, None) == pytest.approx(0.875)
    assert combine("task", utilities, {}, "b") == 1.0


def test_a_mean_over_tasks_is_the_mean_of_their_metrics() -> None:
    objective = resolve_objective(ObjectiveSpec("both", (MetricRef("a"), MetricRef("b"))), TASKS)
    results = {"a": {"1": {"acc": (1.0,)}}, "b": {"1": {"acc": (0.0,)}, "2": {"acc": (1.0,)}}}
    assert objective_value(objective, TASKS, results) == pytest.approx(0.75)


def test_a_mean_over_different_metrics_is_refused() -> None:
    spec = ObjectiveSpec("both", (MetricRef("a", "acc"), MetricRef("b", "bits")))
    with pytest.raises(SearchError, match="acc, bits"):
        resolve_objective(spec, TASKS)


def test_an_unknown_metric_names_those_there_are() -> None:
    with pytest.raises(SearchError, match="acc, bits"):
        resolve_objective(ObjectiveSpec("one", (MetricRef("a", "f1"),)), TASKS)


@pytest.mark.parametrize(
    ("value", "higher", "expected"),
    [(0.70, True, 0.03), (0.74, True, -0.01), (0.70, False, -0.07), (0.78, False, 0.01)],
)
def test_a_drop_is_measured_in_the_metrics_direction(
    value: float, higher: bool, expected: float
) -> None:
    spec = ConstraintSpec(MetricRef("a"), 0.02, None, None)
    assert violation(value, spec, 0.75, higher) == pytest.approx(expected)


def test_absolute_bounds() -> None:
    spec = ConstraintSpec(MetricRef("a"), None, 0.5, 0.9)
    assert violation(0.4, spec, 0, True) == pytest.approx(0.1)
    assert violation(0.95, spec, 0, True) == pytest.approx(0.05)
    assert violation(0.6, spec, 0, True) < 0
