"""Rows padded to one width: how inputs run where trees of them cannot.

Rows are sorted by length and padded on the right, which a causal model never sees from the left of
it. Where rows are cut into batches is decided exactly, by what passes and padding cost.
"""

import sys
from collections.abc import Sequence

PASSES = 16
"""A pass costs as much as this fraction of the budget in tokens, on top of its tokens."""


def best_cuts(
    lengths: Sequence[int], asked: Sequence[int], token_budget: int, position_budget: int
) -> list[int]:
    """Where to cut rows of falling length so that passes and padding cost least.

    A pass costs its rows x width and a fixed part of the budget (weights are read, kernels are
    started), so a short row leaves a wide batch where that pays. Exact, by dynamic programming.
    """
    start = token_budget // PASSES
    cost = [0, *([sys.maxsize] * len(lengths))]
    before = [0] * len(cost)
    for low, width in enumerate(lengths):
        positions = 0
        for high in range(low + 1, len(cost)):
            positions += asked[high - 1]
            padded = (high - low) * width
            if high > low + 1 and (padded > token_budget or positions > position_budget):
                break
            if cost[low] + start + padded < cost[high]:
                cost[high], before[high] = cost[low] + start + padded, low
    cuts = [len(lengths)]
    while cuts[-1] > 0:
        cuts.append(before[cuts[-1]])
    return cuts[::-1]
