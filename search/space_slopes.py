"""From the numbers of every tensor to the dimensions of a space: the chain rule.

A tensor's weight is a linear function of the dimensions: of anchors their hat functions at its
depth, of blocks the one it lies in, of filter lists the entry that takes it. Nothing of that is
written down here again: the recipe is planned with one dimension moved, and what moves in the
plan is the derivative, exact because the function is linear. It is the same at every point.

Moved are weights and lambda, in ranges of numbers; choices, densities and the like stay.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merging.errors import MergeError
from merging.methods.table import METHODS
from merging.plan import TensorJob
from merging.sloped import Slope, refusal

from .space_parts import Dimension, Values
from .space_points import Space
from .space_ranges import Range, Value, grid_value

MOVED = ("weight", "lambda")
"""Parameters with a derivative."""

LAMBDA = -1
"""In the place of a source's index."""

Plan = Callable[[Mapping[str, Any]], Sequence[TensorJob]]
"""The jobs of a filled recipe; raises MergeError."""


@dataclass(frozen=True, slots=True)
class Shares:
    """By how much each tensor's numbers follow a dimension: {(tensor, source): share}."""

    of: Mapping[str, Mapping[tuple[str, int], float]]

    def chained(self, slopes: Sequence[Slope]) -> dict[str, float]:
        """The derivative of a loss by the value of each dimension."""
        known = {one.name: one for one in slopes}
        return {
            name: math.fsum(
                share * (known[tensor].scale if at == LAMBDA else known[tensor].weights[at])
                for (tensor, at), share in shares.items()
            )
            for name, shares in self.of.items()
        }


def moved_dimensions(space: Space, method: str) -> tuple[Dimension, ...]:
    """The dimensions that a gradient moves, in the order of the recipe."""
    return tuple(
        one
        for one in space.active(method)
        if one.kind == "float" and one.parameter in MOVED and one.range.high > one.range.low
    )


def can_move(space: Space, values: Values) -> bool:
    """Whether there is a gradient at a point: by its merge method, and what is searched of it."""
    method = space.method(values)
    return not refusal(METHODS[method]) and bool(moved_dimensions(space, method))


def most_moved(space: Space) -> int:
    """Dimensions that a gradient moves, of the merge method with most of them."""
    able = [one for one in space.methods if not refusal(METHODS[one])]
    return max((len(moved_dimensions(space, one)) for one in able), default=0)


def shares_at(space: Space, values: Values, plan: Plan) -> Shares:
    """How the tensors' numbers follow the dimensions of the point's merge method.

    Raises:
        MergeError: no other value of a dimension gives a recipe.
    """
    here = _numbers(plan(space.fill(values)))
    found: dict[str, dict[tuple[str, int], float]] = {}
    for one in moved_dimensions(space, space.method(values)):
        other, there = _elsewhere(space, values, one, plan)
        width = other - float(values[one.name])
        found[one.name] = {
            place: (number - here[place]) / width
            for place, number in there.items()
            if number != here[place]
        }
    return Shares(found)


def _elsewhere(
    space: Space, values: Values, moved: Dimension, plan: Plan
) -> tuple[float, dict[tuple[str, int], float]]:
    """Another value of a dimension, far away, and the tensors' numbers there."""
    own, now = moved.range, float(values[moved.name])
    ends = sorted((own.low, own.high, unscaled(own, 0.5)), key=lambda end: -abs(end - now))
    fault: MergeError | None = None
    for end in ends:
        if end == now:
            continue
        try:
            return end, _numbers(plan(space.fill({**values, moved.name: end})))
        except MergeError as error:  # weights that cancel
            fault = error
    raise fault or MergeError(f"{moved.name} has a single value")


def _numbers(jobs: Sequence[TensorJob]) -> dict[tuple[str, int], float]:
    found: dict[tuple[str, int], float] = {}
    for job in jobs:
        for index, source in enumerate(job.sources):
            if "weight" in source.parameters:
                found[job.name, index] = float(source.parameters["weight"])
        if "lambda" in job.parameters:
            found[job.name, LAMBDA] = float(job.parameters["lambda"])
    return found


def scaled(own: Range, value: Value) -> float:
    """Where a value lies in its range, in [0, 1]; of a logarithmic range by its logarithm."""
    low, high, at = own.low, own.high, float(value)
    if own.log:
        low, high, at = math.log(low), math.log(high), math.log(at)
    return (at - low) / (high - low)


def unscaled(own: Range, share: float) -> float:
    """The value at a share of its range: to six digits, on its grid, inside it."""
    share = min(max(share, 0.0), 1.0)
    if own.step is not None:
        last = round((own.high - own.low) / own.step)
        return grid_value(own.low, own.step, round(share * last))
    if own.log:
        value = math.exp(math.log(own.low) + share * (math.log(own.high) - math.log(own.low)))
    else:
        value = own.low + share * (own.high - own.low)
    return min(max(float(f"{value:.6g}"), own.low), own.high)


def stretch(own: Range, value: Value) -> float:
    """How fast the value grows with its share of the range, there."""
    if own.log:
        return float(value) * (math.log(own.high) - math.log(own.low))
    return own.high - own.low
