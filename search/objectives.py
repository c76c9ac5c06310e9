"""What the search optimises: objectives, constraints, and the scale on which a winner is chosen.

An objective is a metric of one task, or the mean of the same metric over several. Values keep the
metric's own direction; utilities put the base at 0 and the best parent at 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.task import ItemResult, Task

from .errors import SearchError
from .item_table import rows_of


@dataclass(frozen=True, slots=True)
class MetricRef:
    """A metric of a task; None is the task's first metric."""

    task: str
    metric: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectiveSpec:
    """One objective as the study names it: the mean of `parts`."""

    name: str
    parts: tuple[MetricRef, ...]


@dataclass(frozen=True, slots=True)
class ConstraintSpec:
    """A bound on one metric: absolute (`low`, `high`), or at most `max_drop` worse than `source`.

    `max_drop` is in the metric's own unit; `source` is `base`, `best_parent`, or a model of the
    recipe.
    """

    metric: MetricRef
    max_drop: float | None
    low: float | None
    high: float | None
    source: str = "base"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits in total across resumes; None is no limit. The first one reached ends the search."""

    trials: int | None
    items: int | None
    minutes: float | None


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective whose metrics are known: every part names its metric."""

    name: str
    parts: tuple[tuple[str, str], ...]
    """(task, metric) pairs."""
    higher_is_better: bool

    @property
    def metric(self) -> str:
        """The one metric that every part measures."""
        return self.parts[0][1]


Results = Mapping[str, Mapping[str, ItemResult]]
"""Task to item key to that item's numbers."""
Rule = Literal["maximin", "weighted", "task"]


def resolve_metric(reference: MetricRef, tasks: Mapping[str, Task]) -> tuple[str, str]:
    """(task, metric) with the task's first metric filled in.

    Raises SearchError for an unknown one.
    """
    metrics = tasks[reference.task].metrics
    name = reference.metric or next(iter(metrics))
    if name not in metrics:
        raise SearchError(
            f"task {reference.task!r} has no metric {name!r}; it has: {', '.join(metrics)}"
        )
    return reference.task, name


def resolve_objective(spec: ObjectiveSpec, tasks: Mapping[str, Task]) -> Objective:
    """The objective with its direction; refuses a mean over different metrics or directions."""
    parts = tuple(resolve_metric(part, tasks) for part in spec.parts)
    kinds = {(metric, tasks[task].metrics[metric].higher_is_better) for task, metric in parts}
    if len(kinds) > 1:
        raise SearchError(
            f"objective {spec.name!r} averages different metrics "
            f"({', '.join(sorted(metric for metric, _ in kinds))}); use one metric throughout"
        )
    return Objective(spec.name, parts, next(iter(kinds))[1])


def metric_value(task: Task, metric: str, results: Mapping[str, ItemResult]) -> float:
    """The metric over all given items."""
    return float(task.metrics[metric].aggregate(rows_of(results, metric)))


def objective_value(objective: Objective, tasks: Mapping[str, Task], results: Results) -> float:
    """The mean of the objective's metrics."""
    values = [metric_value(tasks[task], metric, results[task]) for task, metric in objective.parts]
    return float(sum(values) / len(values))


@dataclass(frozen=True, slots=True)
class Scale:
    """`utility = (value - zero) / unit`; higher is better.

    The base at 0 and the best parent at 1; where no parent beats the base, the worst parent at 0
    and the base at 1, so that keeping what the base can do is worth as much as winning it.
    """

    zero: float
    unit: float

    def utility(self, value: float) -> float:
        """The value on the common scale."""
        return (value - self.zero) / self.unit


def make_scale(base: float, parents: Sequence[float], higher_is_better: bool) -> Scale:
    """The scale of one objective from the values of base and parents on the search split.

    Where all of them are equal, the base is at 0 and a unit is one of the metric.
    """
    sign = 1.0 if higher_is_better else -1.0
    gains = [sign * (parent - base) for parent in parents]
    best, worst = max(gains, default=0.0), min(gains, default=0.0)
    if best > 0:
        return Scale(base, sign * best)
    return Scale(base + sign * worst, sign * -worst) if worst < 0 else Scale(base, sign)


def combine(
    rule: Rule, utilities: Mapping[str, float], weights: Mapping[str, float], task: str | None
) -> float:
    """One utility from those of the objectives, by the study's winner rule; higher is better."""
    if rule == "maximin":
        return min(utilities.values())
    if rule == "task":
        return utilities[task or ""]
    total = sum(weights.values())
    return sum(weight * utilities[name] for name, weight in weights.items()) / total


def violation(value: float, spec: ConstraintSpec, source: float, higher_is_better: bool) -> float:
    """How far a constraint is violated, in the metric's unit; 0 or less is feasible."""
    if spec.max_drop is not None:
        drop = source - value if higher_is_better else value - source
        return drop - spec.max_drop
    below = -np.inf if spec.low is None else spec.low - value
    above = -np.inf if spec.high is None else value - spec.high
    return float(max(below, above))
