"""How much the gradient phase may cost, and what it does with that.

A backward pass costs three item evaluations an item (design, section 1). The phase takes at most
a quarter of the budget of items (of what the trials come to, where trials are the budget): with
less it looks at fewer items, then makes fewer steps, then gives fewer points, then none.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.task import Task

from .executors import GoldItems
from .objectives import Budget, Objective

SHARE = 4
"""One in so many item evaluations may go into gradients."""
PASSES = 3
"""Item evaluations that a backward pass costs an item."""
POINTS = {1: 4, 2: 8, 3: 12}
MOST_POINTS = 16
STEPS = 2
"""Evaluations of slopes for each point, where the budget has them."""
SIZES = (64, 48, 32, 24, 16)
"""Items a task, the most that cost no more than `WISHED` of what gradients may; else the last.

Tried on the demo family (one seed, 12 points; hypervolume, and the sampler's alone at as many item
evaluations): 16 items and 12 passes 0.39 (0.34), 24 and 12 0.35 (0.36), 32 and 12 0.44 (0.36), 16
and 24 0.41 (0.36), 48 and 24 0.43 (0.42): few items pay, and which they are matters as much.
"""
WISHED = 1 / 3
FEWEST_ITEMS = 8
FEWEST_STEPS = 4


@dataclass(frozen=True, slots=True)
class GradientPlan:
    """`items` a task of the calibration split, `evaluations` of slopes, starting `points`.

    So many of the warm `starts` are asked for their loss, to begin at the best. `limit` is what
    gradients may cost over the whole search, None where nothing bounds it.
    """

    items: int
    evaluations: int
    points: int
    limit: int | None
    starts: int


FEW_TRIALS = 40
"""A budget of minutes is taken for so many trials."""


def plan_gradients(
    objectives: int,
    available: Mapping[str, int],
    budget: Budget,
    items_per_candidate: int,
    references: int,
    starts: int,
    steps_too: bool = False,
) -> GradientPlan | str:
    """The plan that the budget allows, or why there is none.

    Args:
        objectives: How many.
        available: Task to the items of its calibration split, for every task of an objective.
        budget: Of the search.
        items_per_candidate: Item evaluations of one candidate.
        references: Base and parents, whose loss gives the scale.
        starts: Warm starts.
        steps_too: Leave half of what gradients may cost to steps from the front.
    """
    for task, count in available.items():
        if count < FEWEST_ITEMS:
            return (
                f"task {task!r} has {count} items in `calibration`, at least {FEWEST_ITEMS} are "
                "needed"
            )
    amounts = [
        budget.items,
        None if budget.trials is None else budget.trials * items_per_candidate,
    ]
    if budget.items is None and budget.trials is None:  # minutes steer nothing
        amounts = [FEW_TRIALS * items_per_candidate]
    limits = [amount // SHARE for amount in amounts if amount is not None]
    limit = min(limits, default=None)
    whole = limit
    limit = None if limit is None else limit // (1 + steps_too)
    points = POINTS.get(objectives, MOST_POINTS)
    if whole is not None:
        points = min(points, whole // max(1, items_per_candidate))
    if points < 1:
        return "the budget has no room for a starting point"
    for items in SIZES:
        each = sum(min(items, count) for count in available.values())
        cost = each * (references + starts + PASSES * STEPS * points)
        if limit is None or cost <= limit * (1 if items == SIZES[-1] else WISHED):
            return GradientPlan(items, STEPS * points, points, whole, starts)
    assert limit is not None  # without one the largest plan fits
    for items, asked in ((SIZES[-1], starts), (FEWEST_ITEMS, starts), (FEWEST_ITEMS, 1)):
        each = sum(min(items, count) for count in available.values())
        steps = min((limit // each - references - asked) // PASSES, STEPS * points)
        if steps >= FEWEST_STEPS:
            return GradientPlan(items, steps, min(points, steps), whole, asked)
    return f"what the budget leaves ({limit:,} items) is too little for gradients"


def gold_items(
    objectives: Sequence[Objective],
    tasks: Mapping[str, Task],
    splits: Mapping[str, Mapping[str, Sequence[int]]],
    count: int,
    seed: int,
) -> tuple[GoldItems, ...]:
    """So many items of the calibration split for each (task, metric) of the objectives.

    Which ones follows from the seed and the items themselves; items that cannot be answered by a
    gold answer are told where the loss is taken.
    """
    found: dict[tuple[str, str], GoldItems] = {}
    for objective in objectives:
        for task, metric in objective.parts:
            indices = splits[task]["calibration"]
            drawn = sorted(indices, key=lambda index: _rank(seed, tasks[task].items[index].key))
            chosen = tuple(sorted(drawn[:count]))
            found.setdefault((task, metric), GoldItems(task, metric, chosen))
    return tuple(found.values())


def _rank(seed: int, key: str) -> bytes:
    return hashlib.blake2b(f"{seed}\0gradient\0{key}".encode(), digest_size=8).digest()
