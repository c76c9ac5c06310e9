"""What a parameter of a merge method may be, and what it is when nobody says.

Every reader of recipes, ranges and tables asks here: a name, a scope, a range, a default and a
meaning, said once.
"""

import math
from dataclasses import dataclass
from typing import Literal

from ..recipe import Scalar

Scope = Literal["model", "global"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a method: where it stands, what it may be, what it is when nobody says.

    `scope` "model": a number for each expert (the top-level value is inherited); "global": one for
    the output. `default` None: required. Bounds of a bool are 0 and 1 and mean nothing.
    """

    name: str
    scope: Scope
    kind: Literal["float", "int", "bool"]
    low: float
    high: float
    low_open: bool
    high_open: bool
    default: Scalar | None
    meaning: str

    def fault(self, value: object, *, loose: bool = False) -> str | None:
        """Says what is wrong (`expected a number in (0, 1], got 1.4`), None where nothing is.

        loose: the range is not asked for, as mergekit asks for none.
        """
        if self.kind == "bool":
            return None if isinstance(value, bool) else f"expected true or false, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"expected {self.expected()}, got {value!r}"
        above = loose or (value > self.low if self.low_open else value >= self.low)
        below = loose or (value < self.high if self.high_open else value <= self.high)
        if above and below and (self.kind == "float" or value == int(value)):
            return None
        return f"expected {self.expected()}, got {value:g}"

    def expected(self) -> str:
        """The range in words: `a number in (0, 1]`, `a finite number`, `true or false`."""
        if self.kind == "bool":
            return "true or false"
        what = "a whole number" if self.kind == "int" else "a number"
        if math.isinf(self.low) and math.isinf(self.high):
            return "a finite number"
        if math.isinf(self.high):
            return f"{what} {'above' if self.low_open else 'from'} {self.low:g}"
        opening, closing = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{what} in {opening}{self.low:g}, {self.high:g}{closing}"


def number(
    name: str,
    meaning: str,
    *,
    default: float | None,
    scope: Scope = "model",
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> Parameter:
    """A real number; an infinite bound is never reached."""
    low_open, high_open = low_open or math.isinf(low), high_open or math.isinf(high)
    return Parameter(name, scope, "float", low, high, low_open, high_open, default, meaning)


def count(name: str, meaning: str, *, default: int, high: int) -> Parameter:
    """A whole number from 0, of the output."""
    return Parameter(name, "global", "int", 0, high, False, False, default, meaning)


def switch(name: str, meaning: str, *, default: bool) -> Parameter:
    """True or false, of the output."""
    return Parameter(name, "global", "bool", 0.0, 1.0, False, False, default, meaning)
