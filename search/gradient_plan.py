"""Whether the gradient phase takes part in a search, how much it may cost, what it does with that.

A backward pass counts as three item evaluations an item (design, section 1) and gives the
derivative by every weight at once. So it is worth the more, the more weights are searched. What
guesses (`guesses`) make of the answers scored is worth more: beside them, with few weights, or
with too small a budget `auto` leaves gradients out (measured: docs/search.md).

With a small budget the phase looks at fewer items, then makes fewer steps and gives fewer points.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evaluation.task import Task

from .executors import GoldItems
from .objectives import Budget, Objective

Mode = Literal["auto", "on", "refine"]
"""Where gradients were measured to pay; everywhere; with steps from the front too."""

LEAST_WEIGHTS = 12
"""With fewer weights and lambdas `auto` leaves gradients out: measured, docs/search.md."""
SHARE = 4
"""One in so many item evaluations may go into gradients."""
WISHED = 0.1
"""The share of the budget that decides on how many items losses are taken."""
PASSES = 3
"""Item evaluations that a backward pass costs an item."""
POINTS = {1: 4, 2: 8, 3: 12}
MOST_POINTS = 16
STEPS, MOST_STEPS = 8, 24
"""Evaluations of slopes: one for each point and each weight between these, given the budget."""
SIZES = (64, 48, 32, 24, 16, 8)
"""Items a task: the most for which the phase costs what is wished, else the last."""
FEWEST_STEPS = 4
FEW_TRIALS = 40
"""A budget of minutes is taken for so many trials, where gradients are asked for."""


@dataclass(frozen=True, slots=True)
class GradientTerms:
    """What a study says of its gradients."""

    mode: Mode
    weights: int
    """Weights and lambdas that are searched: where the search begins, of the method with most."""
    objectives: int
    available: Mapping[str, int]
    """Task to the items of its calibration split, for every task of an objective."""
    budget: Budget
    items_per_trial: int
    """Item evaluations of one trial: in full, or what a race spends on one."""
    references: int
    """Base and parents, whose loss gives the scale."""
    starts: int
    """Warm starts that a step can begin at."""
    guessed: bool = False
    """Whether guesses take turns with the sampler."""

    @property
    def items(self) -> int | None:
        """What the budget comes to in item evaluations; None where minutes alone bound it."""
        trials = self.budget.trials
        amounts = [self.budget.items, None if trials is None else trials * self.items_per_trial]
        return min((one for one in amounts if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class GradientPlan:
    """`items` a task of the calibration split, `evaluations` of slopes, starting `points`.

    So many of the warm `starts` are asked for their loss, to begin at the best. `limit` is what
    gradients may cost over the whole search.
    """

    items: int
    evaluations: int
    points: int
    limit: int
    starts: int


def plan_gradients(terms: GradientTerms) -> GradientPlan | str:
    """The plan that the budget allows, or why there is none."""
    if why := _left_out(terms):
        return why
    budget = terms.items or FEW_TRIALS * terms.items_per_trial
    limit = budget // SHARE
    room = limit // 2 if terms.mode == "refine" else limit  # the other half is for steps
    points = POINTS.get(terms.objectives, MOST_POINTS)
    points = min(points, limit // max(1, terms.items_per_trial))
    enough = max(STEPS, points)
    wanted = max(enough, min(terms.weights, MOST_STEPS))
    for items in SIZES:
        plan = GradientPlan(items, wanted, points, limit, terms.starts)
        if points and cost_of(plan, terms) <= min(room, WISHED * budget):
            return plan
    each = _each(SIZES[-1], terms)
    for asked in (terms.starts, 1):
        steps = min((room // each - terms.references - asked) // PASSES, wanted)
        least = enough if terms.mode == "auto" else FEWEST_STEPS  # or nothing
        if points and steps >= least:
            return GradientPlan(SIZES[-1], steps, min(points, steps), limit, asked)
    return f"what the budget leaves ({room:,} items) is too little for gradients"


def cost_of(plan: GradientPlan, terms: GradientTerms) -> int:
    """Item evaluations of the phase, at most."""
    passes = terms.references + plan.starts + PASSES * plan.evaluations
    return _each(plan.items, terms) * passes


def _each(items: int, terms: GradientTerms) -> int:
    """Item evaluations of the loss on so many items a task, where there are as many."""
    return sum(min(items, count) for count in terms.available.values())


def _left_out(terms: GradientTerms) -> str:
    """Why gradients take no part; empty: they do, if the budget allows.

    First what `gradients: on` would not mend either.
    """
    for task, count in terms.available.items():
        if count < SIZES[-1]:
            return (
                f"task {task!r} has {count} items in `calibration`, at least {SIZES[-1]} are "
                "needed"
            )
    if terms.mode == "auto" and terms.weights < LEAST_WEIGHTS:
        few = "1 weight is" if terms.weights == 1 else f"{terms.weights} weights are"
        return (
            f"{few} searched, and by itself a search takes them from "
            f"{LEAST_WEIGHTS} on (`gradients: on` takes them anyway)"
        )
    if terms.mode == "auto" and terms.guessed:
        return "best guesses find as much without them (`gradients: on` takes them anyway)"
    if terms.mode == "auto" and terms.items is None:
        return (
            "how much of a budget of minutes they would take is not known (`gradients: on` "
            f"takes it for one of {FEW_TRIALS} trials)"
        )
    return ""


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
