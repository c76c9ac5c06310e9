"""Numbers of single items whose mean is the metric, for metrics that are means or ratios of sums.

A share of right items is a mean; bits per byte are a ratio of two sums, and an item's number is
then its part of the first sum over the mean of the second. Whether a metric is of such a form is
not asked of its name but tried on the base's results. Others (F1, BLEU, perplexity) have no
numbers of single items: their tasks are not raced.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.task import Metric, Rows

from .item_table import ItemTable

Numbers = NDArray[np.float64]
_TRIED = (1.0, 0.5, 0.25)
"""Shares of the items on which the form is tried."""


@dataclass(frozen=True, slots=True)
class ItemValues:
    """An item's number is `scale` times its first figure, whatever the second is.

    The second is the same for every model (bytes of a text), so its mean is part of `scale`.
    """

    metric: str
    scale: float

    def of(self, table: ItemTable) -> Numbers:
        """Shape (items,): their mean is the metric of all items of the split."""
        return self.scale * table.first(self.metric)


def item_values(metric: Metric, table: ItemTable) -> ItemValues | None:
    """The form of a metric, tried on one model's results; None where it has no item values.

    Args:
        metric: The metric.
        table: Of every item of the split, in the split's order.
    """
    if not len(table):
        return None
    numbers = table.rows(metric.name)
    if numbers.dtype == object:  # a part is a text
        return None
    if not np.isfinite(numbers).all():
        return None
    form: Callable[[Rows], float] = _mean
    factor, scale = 1.0, 1.0
    if metric.width == 2 and numbers[:, 1].sum() > 0 and numbers[:, 0].sum() != 0:
        form = _ratio
        factor = float(metric.aggregate(numbers)) / form(numbers)
        scale = factor / float(numbers[:, 1].mean())
    elif metric.width != 1:
        return None
    parts = [numbers[: max(2, int(share * len(numbers)))] for share in _TRIED]
    parts.append(numbers[::2] if len(numbers) > 3 else numbers)
    for part in parts:
        found, expected = float(metric.aggregate(part)), factor * form(part)
        if not math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12):
            return None
    return ItemValues(metric.name, scale)


def _mean(rows: Rows) -> float:
    return float(rows[:, 0].mean())


def _ratio(rows: Rows) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())
