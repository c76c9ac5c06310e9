"""One range of a recipe, read and checked.

`{range: [0, 1], step: 0.1, start: 0.5, anchors: 5}`, `{choice: [a, b], start: a}`.

Bounds belong to the range. A grid (`step`) is exact in decimals: 0.1 three times is 0.3. Not
here: which parameters may carry a range, and what they may be (`space_walk`, the table of merge
methods).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, NoReturn, TypeGuard

from merging.document import Document, Path, did_you_mean
from merging.recipe import Scalar
from merging.recipe_keys import Keys

from .anchors import rungs
from .range_keys import CHOICE_KEYS, RANGE_KEYS

Value = Scalar | str
"""What a dimension can be: a number, a switch, the name of a merge method."""

MAX_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Range:
    """One range as written. `choices` empty: numbers from `low` to `high`, both included.

    `count` values along depth: interpolated (`linear`), or one a run of layers (`blocks`);
    `start` has as many. `auto`: `count` is that of a stage of the search (`stages`), and grows.
    """

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Value, ...] = ()
    start: tuple[Value, ...] | None = None
    form: Literal["constant", "linear", "blocks"] = "constant"
    count: int = 1
    integer: bool = False
    """Whole numbers only, in steps of `step`: layers."""
    auto: bool = False

    def fault(self, value: object) -> str | None:
        """Says why a value is not in the range (`expected ..., got ...`), None where it is."""
        if self.choices:
            known = any(value == one and type(value) is type(one) for one in self.choices)
            return None if known else f"expected one of {list(self.choices)}, got {value!r}"
        kind = "whole number" if self.integer else "number"
        expected = f"expected a {kind} from {self.low:g} to {self.high:g}"
        if self.integer and not isinstance(value, int):
            return f"{expected}, got {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{expected}, got {value!r}"
        if not self.low <= value <= self.high:
            return f"{expected}, got {value!r}"
        if self.step is not None and grid_index(self.low, self.step, value) is None:
            return f"{expected} in steps of {self.step:g}, got {value!r}"
        return None


def is_range(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether plain data stands for a range: a mapping with `range` or `choice`."""
    return isinstance(value, Mapping) and ("range" in value or "choice" in value)


def grid_value(low: float, step: float, index: int) -> float:
    """The grid's value low + index x step, rounded once."""
    return float(Decimal(repr(low)) + index * Decimal(repr(step)))


def _exact_step(low: float, high: float, step: float) -> float | None:
    """The step without the noise of binary arithmetic; None where no decimal divides the range."""
    width = Decimal(repr(high)) - Decimal(repr(low))
    count = round((high - low) / step)
    exact = float(width / count)
    return exact if Decimal(repr(exact)) * count == width else None


def grid_index(low: float, step: float, value: float) -> int | None:
    """Which value of the grid that is, None between two."""
    index = round((value - low) / step)
    return (
        index if math.isclose(grid_value(low, step, index), value, abs_tol=1e-9 * step) else None
    )


def grid_inside(one: Range, low: float, high: float) -> tuple[int, int] | None:
    """First and last index of the grid in [low, high] ((0, 0) without one); None: nothing is."""
    if low > high:
        return None
    if one.step is None:
        return 0, 0
    first = round((low - one.low) / one.step)
    first += grid_value(one.low, one.step, first) < low
    last = round((high - one.low) / one.step)
    last -= grid_value(one.low, one.step, last) > high
    return (first, last) if first <= last else None


def middle(one: Range, low: float, high: float) -> float:
    """The middle of [low, high] on the range's grid or scale; something must lie there."""
    inside = grid_inside(one, low, high)
    if one.step is not None and inside is not None:
        return grid_value(one.low, one.step, sum(inside) // 2)
    return math.sqrt(low * high) if one.log else (low + high) / 2


def read_range(
    document: Document, path: Path, data: object, layers: int | None, stage: int = 0
) -> Range:
    """Reads the range at `path` of a recipe.

    Args:
        document: The recipe, for the places of faults.
        path: Where the range stands.
        data: What stands there.
        layers: Layers of the slice it spans; None where it spans slices of different lengths.
        stage: Which count of anchors `auto` stands for; the last that the layers can tell apart
            where it is more.

    Raises:
        RecipeError: any fault, with its place.
    """
    return _Reader(document, path, layers, stage).read(data)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one range; every method raises RecipeError at the key it reads."""

    document: Document
    path: Path
    layers: int | None
    stage: int

    def read(self, data: object) -> Range:
        if not isinstance(data, Mapping):
            self.fail(f"expected a range, got {data!r}")
        keys = CHOICE_KEYS if "choice" in data and "range" not in data else RANGE_KEYS
        for key in data:
            if key not in keys:
                self.unknown(key, keys)
        if "choice" in data:
            return self.choice(data)
        if "range" not in data:
            self.fail("expected a number, or {range: [low, high]}, or {choice: [...]}")
        low, high = self.bounds(data["range"])
        form, count = self.form(data)
        log = data.get("log", False)
        if not isinstance(log, bool):
            self.fail(f"expected true or false, got {log!r}", "log")
        if log and low <= 0:
            self.fail(f"a logarithmic range needs a low above 0, got {low:g}", "log")
        step = self.step(data["step"], low, high) if "step" in data else None
        if log and step is not None:
            self.fail("a range has log or step, not both; drop one", "step")
        auto = data.get("anchors") == "auto"
        plain = Range(low, high, log, step, form=form, count=count, auto=auto)
        start = self.start(data["start"], plain) if "start" in data else None
        return replace(plain, start=start)

    def choice(self, data: Mapping[str, object]) -> Range:
        choices = data["choice"]
        if not isinstance(choices, list) or not choices:
            self.fail(f"expected a list of at least one value, got {choices!r}", "choice")
        for index, one in enumerate(choices):
            if not isinstance(one, bool | int | float | str) or one != one:
                self.fail(
                    f"expected a number, true, false or a name, got {one!r}", "choice", index
                )
            if one in choices[:index]:
                self.fail(f"{one!r} stands twice in the choice; drop one", "choice", index)
        plain = Range(choices=tuple(choices))
        start = self.start(data["start"], plain) if "start" in data else None
        return Range(choices=tuple(choices), start=start)

    def bounds(self, data: object) -> tuple[float, float]:
        if not isinstance(data, list) or len(data) != 2:
            self.fail(f"expected [low, high], got {data!r}", "range")
        low, high = (self.number(one, "range", index) for index, one in enumerate(data))
        if low >= high:
            self.fail(
                f"expected low below high, got [{low:g}, {high:g}]; one value is a number",
                "range",
            )
        if not math.isfinite(high - low):
            self.fail(f"expected a range that floats can span, got [{low:g}, {high:g}]", "range")
        return low, high

    def form(
        self, data: Mapping[str, object]
    ) -> tuple[Literal["constant", "linear", "blocks"], int]:
        if "anchors" in data and "blocks" in data:
            self.fail("a range has anchors or blocks, not both; drop one", "blocks")
        if "anchors" in data:
            if data["anchors"] == "auto":
                counts = rungs(self.layers)
                count = counts[min(self.stage, len(counts) - 1)]
            else:
                count = self.count(data["anchors"], "anchors")
            return ("linear", count) if count > 1 else ("constant", 1)
        if "blocks" in data:
            count = self.count(data["blocks"], "blocks")
            return ("blocks", count) if count > 1 else ("constant", 1)
        return "constant", 1

    def count(self, data: object, key: str) -> int:
        words = "a number, auto or layers" if key == "anchors" else "a number"
        if data == "layers" and key == "anchors":
            if self.layers is None:
                self.fail("the slices differ in length; put this range into each slice", key)
            return max(self.layers, 1)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail(f"expected {words}, got {data!r}", key)
        if data > 1 and self.layers is None:
            self.fail("the slices differ in length; put this range into each slice", key)
        if data > 1 and self.layers == 0:
            self.fail("the slice has no layers to vary over; drop this", key)
        if not 1 <= data <= max(self.layers or 1, 1):
            self.fail(f"expected {words} from 1 to {self.layers} (the layers), got {data}", key)
        return data

    def step(self, data: object, low: float, high: float) -> float:
        step = self.number(data, "step")
        if not 0 < step <= high - low:
            self.fail(f"expected a step above 0, at most {high - low:g}, got {step:g}", "step")
        if (high - low) / step > MAX_STEPS:
            self.fail(
                f"expected at most {MAX_STEPS} steps; make the step larger or drop it", "step"
            )
        if grid_index(low, step, high) is None:
            last = grid_value(low, step, int((high - low) / step))
            self.fail(
                f"steps of {step:g} from {low:g} do not end at {high:g}; the last one is {last:g}",
                "step",
            )
        exact = _exact_step(low, high, step)
        if exact is None:
            self.fail(f"a step of {step!r} does not divide the range exactly; round it", "step")
        return exact

    def start(self, data: object, plain: Range) -> tuple[Value, ...]:
        if plain.auto and isinstance(data, list) and len(data) != 1:
            self.fail(
                f"expected one value, got {len(data)}: a search with anchors: auto begins with "
                f"one anchor; give one, or anchors: {len(data)}",
                "start",
            )
        values = data if isinstance(data, list) else [data]
        if plain.auto or not isinstance(data, list):
            values = values * plain.count
        if len(values) != plain.count:
            self.fail(f"expected one value or {plain.count}, got {len(values)}", "start")
        for index, value in enumerate(values):
            if fault := plain.fault(value):
                self.fail(fault, "start", *([index] if isinstance(data, list) else []))
        return tuple(values)

    def number(self, data: object, *path: str | int) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float) or not math.isfinite(data):
            self.fail(f"expected a finite number, got {data!r}", *path)
        return float(data)

    def unknown(self, key: object, keys: Keys) -> NoReturn:
        if key in RANGE_KEYS:
            self.fail(f"{key!r} does not go with a choice; a choice takes: {', '.join(keys)}")
        hint = did_you_mean(str(key), keys) or f"; a range takes: {', '.join(keys)}"
        message = f"unknown key {key!r} in a range{hint}"
        raise self.document.error((*self.path, str(key)), message, key=True)

    def fail(self, message: str, *path: str | int) -> NoReturn:
        raise self.document.error((*self.path, *path), message)
