"""Parameters that are one to a person: the anchors, blocks or layers of one range.

`math.weight@0` and `math.weight@1` are both `math.weight`; so says the search's naming of them.
"""

import re
from collections.abc import Mapping, Sequence

from .wording import setting

Value = float | int | str | bool

PLACE = re.compile(r"(?:@\d+%?|#\d+)$")
"""What is behind a name where a range has several values: an anchor's place, a block's number."""
MOST_LINES = 6
MOST_VALUES = 5
ARROW = " \N{RIGHTWARDS ARROW} "


def group_of(name: str) -> str:
    """The range that a parameter belongs to."""
    return PLACE.sub("", name)


def grouped(parameters: Mapping[str, Value]) -> dict[str, list[Value]]:
    """Group to its values along depth, in the order of the parameters."""
    found: dict[str, list[Value]] = {}
    for name, value in parameters.items():
        found.setdefault(group_of(name), []).append(value)
    return found


def grouped_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Group to the sum of its parameters' shares."""
    found: dict[str, float] = {}
    for name, share in shares.items():
        found[group_of(name)] = found.get(group_of(name), 0.0) + share
    return found


def in_short(parameters: Mapping[str, Value], most: int = MOST_LINES) -> tuple[str, ...]:
    """A recipe's numbers in a few lines: `math.weight 0.52 → 0.81`, from first to last layer."""
    lines = [f"{name} {_along(values)}" for name, values in grouped(parameters).items()]
    if len(lines) <= most:
        return tuple(lines)
    return (*lines[: most - 1], f"and {len(lines) - most + 1} more")


def _along(values: Sequence[Value]) -> str:
    if len(set(values)) == 1:
        return short(values[0])
    if len(values) <= MOST_VALUES:
        return ARROW.join(map(short, values))
    ends = f"{short(values[0])}{ARROW}{short(values[-1])}"
    numbers = [one for one in values if not isinstance(one, str)]
    return f"{ends} ({short(min(numbers))} to {short(max(numbers))})" if numbers else ends


def short(value: Value) -> str:
    """Three significant digits for numbers."""
    return setting(float(f"{value:.3g}") if isinstance(value, float) else value)
