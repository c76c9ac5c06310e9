"""How far an item's gold choice is ahead of the best other: what a right or wrong answer hides.

An accuracy is made of bits, and sixteen bits say little. The same answers as margins, log p(gold)
minus the largest log p of another choice (both divided by their lengths where the metric does
so), vary smoothly with the weights of a merge: two models that are wrong alike may be far from
being right, or near. A margin is kept beside an item's results, under a name that no metric has;
it is above 0 where the item is right. Not every item has one: generated texts have none, nor does
what a task's own code scores by other rules than the largest log-likelihood.
"""

import math
from collections.abc import Mapping, Sequence

from .errors import NoGoldError
from .gold import LENGTHS, Gold
from .task import Item, ItemResult, Response, Task

CHOSEN = ("acc", *LENGTHS)
"""Metrics that are 1 where the gold choice has the largest log-likelihood, by lm-eval's names."""
_DIGITS = 6


def margin_name(metric: str) -> str:
    """Under what an item's result keeps the margin of a metric."""
    return f"{metric} (margin)"


def choice_golds(task: Task, item: Item) -> dict[str, Gold]:
    """The gold choice of an item, by metric that asks for it; empty where nothing does."""
    found = {}
    if len(item.requests) > 1 and all(one.kind == "loglikelihood" for one in item.requests):
        for name, metric in task.metrics.items():
            if name.partition(",")[0] in CHOSEN and metric.width == 1:
                try:
                    gold = task.gold(item, name)
                except NoGoldError:
                    continue
                if gold.right is not None:
                    found[name] = gold
    return found


def with_margins(
    result: ItemResult, golds: Mapping[str, Gold], responses: Sequence[Response]
) -> ItemResult:
    """An item's result with its margins, to six digits.

    Left out is a margin that is no number, or says right where the metric says wrong (several
    answers may be right, a filter may have changed them).
    """
    found = dict(result)
    for metric, gold in golds.items():
        margin = _margin(gold, responses)
        right = result[metric] == (1.0,)
        if math.isfinite(margin) and (right if margin > 0 else not right or margin == 0):
            found.setdefault(margin_name(metric), (margin,))
    return found


def _margin(gold: Gold, responses: Sequence[Response]) -> float:
    assert gold.right is not None
    sides = [
        response.loglikelihood / size
        for response, size in zip(responses, gold.sizes, strict=False)
    ]
    mine = sides.pop(gold.right)
    return float(f"{mine - max(sides):.{_DIGITS}g}") if sides else math.nan
