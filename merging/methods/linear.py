"""Linear: the weighted mean of the models.

Wortsman et al., Model soups, https://arxiv.org/abs/2203.05482. The base model is one of the models
if the recipe lists it, and nothing otherwise.
"""

from ..errors import MergeError
from .formula import Numbers, WeightedMean

SMALLEST_SUM = 1e-8


def linear(numbers: Numbers) -> WeightedMean:
    """sum(w x) / sum(w), or sum(w x) with `normalize: false`.

    Raises:
        MergeError: the weights cancel and `normalize` would divide by zero.
    """
    weights = tuple(numbers.of(index, "weight") for index in range(len(numbers.experts)))
    if not numbers.output["normalize"]:
        return WeightedMean(weights, None)
    divisor = sum(weights)
    if abs(divisor) < SMALLEST_SUM:
        raise MergeError(
            f"linear: the weights {', '.join(f'{w:g}' for w in weights)} add up to zero, and "
            "normalize divides by their sum; change a weight or set normalize: false"
        )
    return WeightedMean(weights, divisor)
