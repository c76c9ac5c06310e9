"""What a search space is made of: dimensions, the slots of the recipe they fill, and points."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from merging.document import Path

from .anchors import fewest
from .space_blocks import Blocked
from .space_ranges import Range, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Values = Mapping[str, Value]
"""Dimension name to recipe value: exactly the dimensions that the merge method reads."""
METHOD = "merge_method"
"""The name of the dimension that is the merge method, where that is searched."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number (or choice) that is searched.

    `range` bounds it and `path` is where that stands in the recipe; `methods` read it. `index`
    counts the values along depth of one range; `model` is the expert's short name (None: all of
    them, or the output).
    """

    name: str
    path: Path
    parameter: str
    model: str | None
    range: Range
    methods: tuple[str, ...]
    index: int = 0
    start: Value | None = None
    """Its value in the recipe that the user came with, where one was given."""

    @property
    def kind(self) -> Literal["float", "int", "choice"]:
        """Whether it is a number in a range, a whole one, or one of `range.choices`."""
        if self.range.choices:
            return "choice"
        return "int" if self.range.integer else "float"

    def distribution(self) -> "BaseDistribution":
        """The range as Optuna knows it."""
        from optuna.distributions import (
            CategoricalDistribution,
            FloatDistribution,
            IntDistribution,
        )

        own = self.range
        if own.choices:
            return CategoricalDistribution(own.choices)
        if own.integer:
            return IntDistribution(int(own.low), int(own.high), step=int(own.step or 1))
        return FloatDistribution(own.low, own.high, log=own.log, step=own.step)


@dataclass(frozen=True, slots=True)
class Knot:
    """One value of a slot: a dimension's, or a number that stands in the recipe."""

    name: str | None
    value: Value = 0.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the recipe that is filled: a number, a gradient, or values of blocks.

    `nested`: a gradient that is written with the fewest anchors that say the same (`anchors`).
    """

    path: Path
    form: Literal["constant", "linear", "blocks"]
    knots: tuple[Knot, ...]
    methods: tuple[str, ...]
    nested: bool = False

    def names(self) -> list[str]:
        """The dimensions among the knots."""
        return [knot.name for knot in self.knots if knot.name is not None]

    def data(self, values: Values) -> object:
        """What stands there with these values: a number, a list along depth, or `Blocked`."""
        numbers = [knot.value if knot.name is None else values[knot.name] for knot in self.knots]
        if self.nested:
            numbers = fewest(numbers)
        if self.form == "constant" or (self.nested and len(numbers) == 1):
            return numbers[0]
        return numbers if self.form == "linear" else Blocked(tuple(numbers))
