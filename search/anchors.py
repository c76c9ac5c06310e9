"""How values along depth nest: 1, 2, 3 and 5 anchors, each with the ones before among its own.

value(t) = sum_k c_k hat_k(t) with the anchors at t = k / (K - 1): what few anchors say, more of
them say too, with the middle of two neighbours between them. That holds in exact numbers. In
floats a gradient on a straight line, and even [0.02, 0.02, 0.02], differs from the shorter form
in last bits at some layers, so a recipe is written with the fewest anchors that say the same:
equal points of two stages are one recipe, one hash, one set of results.

Not here: other counts of anchors (4, one a layer), which do not nest in these.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .space_ranges import Value

LADDER = (1, 2, 3, 5)
"""How many anchors `anchors: auto` goes through."""


def rungs(layers: int | None) -> tuple[int, ...]:
    """The counts of the ladder that these layers can tell apart; only 1 where None is known."""
    return tuple(count for count in LADDER if count <= max(layers or 1, 1))


def refined(values: Sequence["Value"], count: int) -> list["Value"]:
    """The same line with more anchors.

    Args:
        values: As many as a count of the ladder.
        count: A count of the ladder, not fewer.
    """
    numbers = list(values)
    while len(numbers) < count:
        numbers = _once(numbers)
    return numbers


def fewest(values: Sequence["Value"]) -> list["Value"]:
    """The fewest anchors that say the same: `refined` undone, where it is to the bit."""
    numbers = list(values)
    while len(numbers) > 1 and _once(numbers[::2]) == numbers:
        numbers = numbers[::2]  # every other one is an anchor of the count before, of 2 the first
    return numbers


def _once(values: list["Value"]) -> list["Value"]:
    """The next count of the ladder: 1 becomes 2, and others get one more between each two."""
    if len(values) == 1:
        return values * 2
    result = values[:1]
    for before, after in zip(values, values[1:], strict=False):
        # halved first: the sum of two numbers of a range may be more than a float holds
        result += [before if before == after else float(before) / 2 + float(after) / 2, after]
    return result
