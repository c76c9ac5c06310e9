"""Metrics in closed form."""

import math

import numpy as np
import pytest

from evaluation.metrics import METRICS, choice_accuracy, text_bits


def test_accuracy_takes_the_largest_and_acc_norm_the_largest_a_character() -> None:
    found = choice_accuracy([-4.0, -6.0], [2, 6], gold=1)
    assert found == {"acc": (0.0,), "acc_norm": (1.0,)}
    assert choice_accuracy([-4.0, -6.0], [2, 6], gold=0) == {"acc": (1.0,), "acc_norm": (0.0,)}


def test_of_equal_choices_the_first_counts() -> None:
    assert choice_accuracy([-1.0, -1.0], [3, 3], gold=0)["acc"] == (1.0,)
    assert choice_accuracy([-1.0, -1.0], [3, 3], gold=1)["acc"] == (0.0,)


def test_bits_per_byte_is_a_ratio_of_sums_over_utf8_bytes() -> None:
    # 8 bits over 2 bytes, 2 bits over 2 bytes ("ü" is two): 10 / 4, not the mean of 4 and 1.
    rows = [text_bits(-8 * math.log(2), "ab"), text_bits(-2 * math.log(2), "ü")]
    values = np.array([row["bits_per_byte"] for row in rows])
    assert METRICS["bits_per_byte"].aggregate(values) == pytest.approx(2.5)
    assert not METRICS["bits_per_byte"].higher_is_better


def test_means_of_the_others() -> None:
    values = np.array([[1.0], [0.0], [0.5], [0.5]])
    for name in ("acc", "acc_norm", "exact_match", "score"):
        metric = METRICS[name]
        assert metric.name == name
        assert metric.higher_is_better
        assert metric.aggregate(values) == 0.5


def test_each_width_is_what_the_aggregate_takes() -> None:
    for metric in METRICS.values():
        assert np.isfinite(metric.aggregate(np.ones((3, metric.width))))
