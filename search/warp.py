"""How objectives are shown to a sampler that models their values.

Shares as log odds, so that a point near 1 counts for more than one in the middle; and nothing
worse than chance, so that a collapsed candidate does not flatten the differences between good
ones. The order of values stays, but for those that are worse than chance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evaluation.task import Task

from .objectives import Objective
from .smooth import Estimate

SHARES = frozenset({"acc", "acc_norm", "exact_match"})
"""Metrics that are a share of items, in [0, 1]."""
CHOSEN = frozenset({"acc", "acc_norm"})
"""Metrics of choosing among an item's requests: chance is one over their number."""


@dataclass(frozen=True, slots=True)
class Warp:
    """How one objective is shown to a sampler that models it; others see raw values.

    `worst`: values worse than this (chance level) are shown as this. `logit`: the objective is a
    share in [0, 1], shown as its log odds, kept `margin` away from 0 and 1 (half an item is a
    good one).
    """

    worst: float | None = None
    logit: bool = False
    margin: float = 0.005

    def show(self, value: float, higher_is_better: bool) -> float:
        """The value as the sampler sees it; the order of values stays."""
        value = self._clip(value, higher_is_better)
        if not self.logit:
            return value
        share = min(max(value, self.margin), 1.0 - self.margin)
        return math.log(share / (1.0 - share))

    def clipped(self, one: Estimate, higher_is_better: bool) -> Estimate:
        """An estimate that is no worse than chance."""
        return replace(one, value=self._clip(one.value, higher_is_better))

    def _clip(self, value: float, higher_is_better: bool) -> float:
        if self.worst is None:
            return value
        return (max if higher_is_better else min)(value, self.worst)


def warps(
    objectives: Sequence[Objective],
    tasks: Mapping[str, Task],
    splits: Mapping[str, Sequence[int]],
    references: Sequence[Sequence[float]],
) -> tuple[Warp, ...]:
    """One an objective.

    Args:
        objectives: The study's.
        tasks: By name.
        splits: Task to the items of its search split.
        references: Objective values of the references, which say what is far off where chance
            is not known: as far below their worst as their best is above it.
    """
    found = []
    for place, objective in enumerate(objectives):
        values = [one[place] for one in references]
        best, worst = max(values), min(values)
        if not objective.higher_is_better:
            best, worst = worst, best
        far = None if best == worst else 2 * worst - best
        items = sum(len(splits[task]) for task, _ in objective.parts)
        found.append(
            Warp(
                worst=_chance(objective, tasks, splits, far),
                logit=objective.metric in SHARES,
                margin=0.5 / max(1, items),
            )
        )
    return tuple(found)


def _chance(
    objective: Objective,
    tasks: Mapping[str, Task],
    splits: Mapping[str, Sequence[int]],
    otherwise: float | None,
) -> float | None:
    """Accuracy of guessing; `otherwise` for metrics that are no shares."""
    if objective.metric not in CHOSEN:
        return None if objective.metric in SHARES else otherwise
    shares = [
        sum(_guess(tasks[task], index) for index in splits[task]) / max(1, len(splits[task]))
        for task, _ in objective.parts
    ]
    return sum(shares) / len(shares)


def _guess(task: Task, index: int) -> float:
    """Chance of guessing an item: one over the choices it asks about."""
    asked = {one.continuation for one in task.items[index].requests if one.continuation}
    return 1.0 / max(1, len(asked)) if len(asked) > 1 else 0.0
