"""Parallel coordinates as plain data: a row for each parameter or objective, a line a trial.

Rows lie one below the other, so that a phone shows ten of them as well as a desk. Positions are
in [0, 1] from the lowest to the highest value tried; for an objective the better end is always
1. Nothing is drawn here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .plots_data import MOST_PARAMETERS, ranked_parameters
from .points import complete, trial_points
from .view import RunView
from .wording import number, setting

Value = float | int | str | bool

LOGARITHMIC = 100.0
"""Positive values that span this factor are placed by their logarithm."""


@dataclass(frozen=True, slots=True)
class Row:
    """One axis: its name, what stands at its ends, and whether it is an objective."""

    name: str
    left: str
    right: str
    is_objective: bool
    note: str


@dataclass(frozen=True, slots=True)
class Line:
    """One trial: for each row a position in [0, 1] (None: not active in this trial) and a text."""

    trial: int
    key: str
    kind: str
    positions: tuple[float | None, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParallelData:
    """Rows from top to bottom and the lines that run through them."""

    rows: tuple[Row, ...]
    lines: tuple[Line, ...]


def parallel_data(view: RunView) -> ParallelData:
    """The ten most important parameters that varied, then the objectives."""
    trials = complete(view)
    rows: list[Row] = []
    positions: list[list[float | None]] = []
    texts: list[list[str]] = []
    for name in ranked_parameters(view):
        values = [t.parameters.get(name) for t in trials]
        if len(rows) < MOST_PARAMETERS and len({v for v in values if v is not None}) > 1:
            row, placed = _parameter(name, values)
            rows.append(row)
            positions.append(placed)
            texts.append([setting(v) for v in values])
    for o in view.objectives if trials else ():
        scores = [t.objectives[o.name].value for t in trials]
        low, high = min(scores), max(scores)
        ends = (low, high) if o.higher_is_better else (high, low)
        rows.append(Row(o.name, number(ends[0]), number(ends[1]), True, o.metric))
        positions.append([_between(v, *ends) for v in scores])
        texts.append([number(v) for v in scores])
    points = {p.trial: p for p in trial_points(view)}
    lines = tuple(
        Line(
            trial.number,
            points[trial.number].key,
            points[trial.number].kind,
            tuple(row[i] for row in positions),
            tuple(row[i] for row in texts),
        )
        for i, trial in enumerate(trials)
    )
    return ParallelData(tuple(rows), lines)


def _parameter(name: str, values: Sequence[Value | None]) -> tuple[Row, list[float | None]]:
    given = [v for v in values if v is not None]
    if any(isinstance(v, (str, bool)) for v in given):
        return _categories(name, values)
    numbers = [float(v) for v in given if math.isfinite(float(v))] or [0.0]
    low, high = min(numbers), max(numbers)
    logarithmic = low > 0 and high / low >= LOGARITHMIC
    scale = math.log if logarithmic else float
    placed = [
        None
        if v is None or not math.isfinite(float(v))
        else _between(scale(float(v)), scale(low), scale(high))
        for v in values
    ]
    return Row(
        name, setting(low), setting(high), False, "log scale" if logarithmic else ""
    ), placed


def _categories(name: str, values: Sequence[Value | None]) -> tuple[Row, list[float | None]]:
    """Evenly spaced, in alphabetical order; the note lists them from left to right."""
    order = sorted({setting(v) for v in values if v is not None})
    last = max(1, len(order) - 1)
    placed = [None if v is None else order.index(setting(v)) / last for v in values]
    return Row(name, order[0], order[-1], False, ", ".join(order)), placed


def _between(value: float, low: float, high: float) -> float:
    return 0.5 if low == high else (value - low) / (high - low)
