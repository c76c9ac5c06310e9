"""Methods whose result lies in the span of their inputs, with coefficients from angles.

Every one of them is a sum of inputs times coefficients that depend on the inputs only through
their inner products. So engines compute one small matrix of inner products in float64 (the Gram
matrix), the coefficients follow on the host, and the sum is taken in one more reading.

The papers are named beside the coefficients, in `angles`, which is imported where a formula is
made: it costs numpy.
"""

from functools import partial

from ..errors import MergeError
from .formula import Groups, Numbers, Scaled, Span

SMALLEST_SUM = 1e-6


def slerp(numbers: Numbers) -> Span:
    """From the base (t = 0) to the expert (t = 1) along the arc between them."""
    from . import angles

    return Span(partial(angles.slerp, float(numbers.output["t"])), "with_base", "tensor")


def nuslerp(numbers: Numbers) -> Span:
    """SLERP between two experts, or between their deltas where there is a base."""
    from . import angles

    first, second = numbers.of(0, "weight"), numbers.of(1, "weight")
    total = first + second
    t = 0.5 if abs(total) < SMALLEST_SUM else second / total
    groups: Groups = "first" if numbers.output["nuslerp_row_wise"] else "last"
    if numbers.output["nuslerp_flatten"]:
        groups = "tensor"
    return Span(partial(angles.nuslerp, t), "from_base", groups)


def multislerp(numbers: Numbers) -> Span | Scaled:
    """The weighted mean of directions on the sphere, of the weighted mean length.

    Raises:
        MergeError: the weights cancel and `normalize_weights` would divide by zero.
    """
    from . import angles

    weights = [numbers.of(index, "weight") for index in range(len(numbers.experts))]
    if len(weights) == 1:
        return Scaled(1.0)
    total = sum(weights)
    if numbers.output["normalize_weights"]:
        if abs(total) < 1e-8:
            raise MergeError(
                "multislerp: the weights add up to zero, and normalize_weights divides by their "
                "sum; change a weight or set normalize_weights: false"
            )
        weights = [weight / total for weight in weights]
    solve = partial(angles.multislerp, tuple(weights), float(numbers.output["eps"]))
    return Span(solve, "from_base", "tensor")


def karcher(numbers: Numbers) -> Span | Scaled:
    """The Karcher mean of the directions, of the mean length."""
    from . import angles

    if len(numbers.experts) == 1:
        return Scaled(1.0)
    output = numbers.output
    solve = partial(angles.karcher, int(output["max_iter"]), float(output["tol"]))
    return Span(solve, "plain", "tensor")


def model_stock(numbers: Numbers) -> Span:
    """From the base towards the mean of the experts, the farther the more they agree."""
    from . import angles

    groups: Groups = "last" if numbers.output["filter_wise"] else "tensor"
    return Span(angles.model_stock, "from_base", groups)
