"""Two candidates on the same items, as the statistics want them: paired, several draws at a time.

A random merge is several candidates, one a mask seed; its utility is the mean of theirs. Paired
with a candidate that is one, that one stands against each of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.pairing import PairedMetric, PairedTask, Utility
from evaluation.task import Task

from .item_table import rows_of
from .objectives import Objective, Results, Scale
from .winner import WinnerRule


@dataclass(frozen=True, slots=True)
class Pair:
    """Tasks with both sides' results, and the utility of the aggregates on them."""

    tasks: list[PairedTask]
    utility: Utility


def pair(
    tasks: Mapping[str, Task],
    splits: Mapping[str, Mapping[str, Sequence[int]]],
    split: str,
    objectives: Sequence[Objective],
    rule: WinnerRule,
    scales: Mapping[str, Scale],
    ones: Sequence[Results],
    others: Sequence[Results],
) -> Pair:
    """Pairs the draws of one candidate with those of another.

    Args:
        tasks: Those of the study.
        splits: Task to split to item indices, in order.
        split: Whose items.
        objectives: What a utility is made of.
        rule: How it is.
        scales: And on which scale.
        ones: Of each draw of A the results of all items of the split, in order.
        others: The same of B; a side with a single draw stands for as many as the other has.
    """
    draws = max(len(ones), len(others))
    ones, others = (
        side * draws if len(side) == 1 else side for side in (list(ones), list(others))
    )
    parts = dict.fromkeys(part for one in objectives for part in one.parts)
    named = {task: [metric for name, metric in parts if name == task] for task, _ in parts}
    flat = [
        (draw, (task, metric))
        for task, metrics in named.items()
        for draw in range(draws)
        for metric in metrics
    ]
    places = {at: index for index, at in enumerate(flat)}

    def utility(values: Sequence[float]) -> float:
        found = 0.0
        for draw in range(draws):
            means = {
                one.name: sum(values[places[draw, part]] for part in one.parts) / len(one.parts)
                for one in objectives
            }
            found += rule.utility(scales, means)
        return found / draws

    paired = []
    for name, metrics in named.items():
        items = [tasks[name].items[index] for index in splits[name][split]]
        sides = [
            PairedMetric(
                rows_of(one[name], metric),
                rows_of(other[name], metric),
                tasks[name].metrics[metric].aggregate,
            )
            for one, other in zip(ones, others, strict=True)
            for metric in metrics
        ]
        groups, strata = [item.group for item in items], [item.stratum for item in items]
        paired.append(PairedTask(groups, strata, tuple(sides)))
    return Pair(paired, utility)
