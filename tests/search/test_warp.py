"""What samplers are shown: log odds, nothing worse than chance."""

import math

import pytest

from evaluation.task import Item, Request
from search.objectives import Objective
from search.smooth import Estimate
from search.warp import Warp, warps


class Choices:
    """A task of four choices, one of two items with the same choice twice."""

    def __init__(self) -> None:
        asked = [Request("loglikelihood", "q", text) for text in ("a", "b", "c", "d")]
        self.items = [
            Item("one", 0, "g", "s", tuple(asked), "p", {}, ""),
            Item("two", 1, "h", "s", (*asked[:2], asked[0]), "p", {}, ""),
        ]


def test_accuracy_is_clipped_at_the_chance_of_its_items() -> None:
    objective = Objective("acc", (("t", "acc"),), True)
    (found,) = warps([objective], {"t": Choices()}, {"t": [0, 1]}, [(0.4,), (0.6,)])
    assert found == Warp(worst=(1 / 4 + 1 / 2) / 2, logit=True, margin=0.25)
    assert found.clipped(Estimate(0.1, 0.2), True) == Estimate(0.375, 0.2)
    assert found.show(0.1, True) == pytest.approx(math.log(0.375 / 0.625))


def test_other_metrics_are_clipped_as_far_below_as_the_best_is_above() -> None:
    bits = Objective("bits", (("t", "bits_per_byte"),), False)
    (found,) = warps([bits], {"t": Choices()}, {"t": [0, 1]}, [(1.0,), (1.5,)])
    assert (found.worst, found.logit) == (2.0, False)
    assert found.show(9.0, False) == 2.0 and found.show(1.2, False) == 1.2
    (equal,) = warps([bits], {"t": Choices()}, {"t": [0, 1]}, [(1.0,), (1.0,)])
    assert equal.worst is None
