"""The metrics of native tasks: what an item's numbers are and how those of many become one value.

acc            higher is better: 1 where the gold choice has the largest log-likelihood
acc_norm       higher: the same with log-likelihoods divided by the choices' lengths in characters
bits_per_byte  lower: summed negative log-likelihood (nats) over summed UTF-8 bytes, over ln 2
exact_match    higher: 1 where the extracted text equals the target, outer whitespace aside
score          higher: what the user's own function says

The first two follow lm-eval's `multiple_choice`, bits_per_byte its `loglikelihood_rolling`.
Metrics of lm-eval's own tasks are not listed here.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from .resampling import RatioOfSums
from .task import Metric

METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "acc": Metric("acc", True, 1, RatioOfSums()),
        "acc_norm": Metric("acc_norm", True, 1, RatioOfSums()),
        "bits_per_byte": Metric("bits_per_byte", False, 2, RatioOfSums(1 / math.log(2))),
        "exact_match": Metric("exact_match", True, 1, RatioOfSums()),
        "score": Metric("score", True, 1, RatioOfSums()),
    }
)


def choice_accuracy(
    loglikelihoods: Sequence[float], lengths: Sequence[int], gold: int
) -> dict[str, tuple[float, ...]]:
    """`acc` and `acc_norm` of one item; of equal choices the first counts, as in lm-eval.

    Args:
        loglikelihoods: Of each choice, in nats.
        lengths: Characters of each choice, all positive.
        gold: Index of the right one.
    """
    plain = np.asarray(loglikelihoods, dtype=np.float64)
    normed = plain / np.asarray(lengths, dtype=np.float64)
    return {
        "acc": (float(int(np.argmax(plain)) == gold),),
        "acc_norm": (float(int(np.argmax(normed)) == gold),),
    }


def text_bits(loglikelihood: float, text: str) -> dict[str, tuple[float, ...]]:
    """`bits_per_byte` of one item: negative log-likelihood in nats, UTF-8 bytes of the text."""
    return {"bits_per_byte": (-loglikelihood, float(len(text.encode())))}
