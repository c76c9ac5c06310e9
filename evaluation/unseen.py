"""What so few groups need not have shown: errors that a system makes, and that none of them has.

If all items were right, every resample is right as well, and a bootstrap is sure of what it cannot
know; the same with two systems where only one was ever right alone. Then a share of the groups of
up to 1 - tail^(1/n) may still be otherwise, the exact bound for none of n (the "rule of three",
Hanley and Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031). It joins the interval's end as
errors of independent estimates do, by squares (Zou and Donner 2008, doi:10.1002/sim.3095).

For means of right and wrong items only: of another number nobody knows how far it could have gone.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from .resampling import Aggregate, Numbers, SumAggregate

Room = tuple[float, float]
"""How far below and above its value an aggregate may truly be for what was not seen."""


def room_of(values: Numbers, aggregate: Aggregate, groups: int, level: float) -> Room:
    """Of one system: below where no item was wrong, above where none was right."""
    return _room(2 * values - 1, aggregate, groups, level) if _binary(values) else (0.0, 0.0)


def paired_room(a: Numbers, b: Numbers, aggregate: Aggregate, groups: int, level: float) -> Room:
    """Of A minus B: below where B was never right alone, above where A was not."""
    both = _binary(a) and _binary(b)
    return _room(a - b, aggregate, groups, level) if both else (0.0, 0.0)


def utility_room(
    values: Sequence[float], rooms: Sequence[Room], utility: Callable[[Sequence[float]], float]
) -> Room:
    """Of a function of several aggregates: what each one's room moves alone, by squares."""
    below, above = [0.0], [0.0]
    for place, (down, up) in enumerate(rooms):
        for step in (-down, up):
            moved = [*values[:place], values[place] + step, *values[place + 1 :]]
            change = utility(moved) - utility(values)
            (below if change < 0 else above).append(change)
    return math.hypot(*below), math.hypot(*above)


def with_room(value: float, ends: tuple[float, float], room: Room) -> tuple[float, float]:
    """The interval, with each end as far off as it and its room are together."""
    (low, high), (below, above) = ends, room
    return (
        value - math.hypot(value - low, below) if below else low,
        value + math.hypot(high - value, above) if above else high,
    )


def _room(steps: Numbers, aggregate: Aggregate, groups: int, level: float) -> Room:
    if not _is_mean(aggregate):
        return 0.0, 0.0
    share = 1 - ((1 - level) / 2) ** (1 / groups)
    return 0.0 if (steps < 0).any() else share, 0.0 if (steps > 0).any() else share


def _binary(values: Numbers) -> bool:
    return values.shape[1] == 1 and bool(np.isin(values, (0.0, 1.0)).all())


def _is_mean(aggregate: Aggregate) -> bool:
    if not isinstance(aggregate, SumAggregate):
        return False
    found = aggregate.from_sums(np.array([[0.0], [1.0], [2.0]]), np.full(3, 2.0))
    return bool(np.array_equal(found, [0.0, 0.5, 1.0]))
