"""What is known of every candidate on the search split, item by item, and what follows from it.

A candidate that was scored on some items only is estimated with a control variate: how hard each
item is (the mean over the candidates that were scored on all) corrects for the luck of having
drawn easy ones. Where items were drawn at random that has no bias and less variance; a race
chooses who goes on, so its survivors look a little better than they are: `posterior` takes that
back, see `smooth`.

Values are in the metric's own direction and unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.task import Task

from .item_values import ItemValues, item_values
from .objectives import Objective, Results, metric_value
from .smooth import Estimate, smoothed
from .warp import Warp

Numbers = NDArray[np.float64]
Part = tuple[str, str]
"""Task and metric."""

_PRIOR_ITEMS = 16
"""A slope on item difficulty counts as seen on so many items before any was."""


@dataclass(slots=True)
class Board:
    """Item numbers of candidates by label; the base is told first, on all items."""

    tasks: Mapping[str, Task]
    splits: Mapping[str, Sequence[int]]
    """Task to the items of its search split, in the order of the race."""
    parts: Sequence[Part]
    forms: dict[Part, ItemValues | None] = field(default_factory=dict, init=False)
    _rows: dict[Part, dict[str, Numbers]] = field(default_factory=dict, init=False)
    _values: dict[Part, dict[str, float]] = field(default_factory=dict, init=False)
    _known: dict[Part, tuple[Numbers, float]] = field(default_factory=dict, init=False)
    _places: dict[str, Numbers] = field(default_factory=dict, init=False)

    def add(self, label: str, results: Results) -> None:
        """Takes all that is known of a candidate; what was known of it before is replaced."""
        self._known.clear()
        for part in self.parts:
            task, metric = part
            found = results[task]
            keys = [self.tasks[task].items[index].key for index in self.splits[task]]
            there = [key for key in keys if key in found]
            complete = len(there) == len(keys)
            rows = [found[key] for key in there]
            if part not in self.forms:
                if not complete:
                    raise ValueError(f"the first candidate on the board lacks items of {task}")
                self.forms[part] = item_values(self.tasks[task].metrics[metric], rows)
            form = self.forms[part]
            line = np.full(len(keys), np.nan)
            if form is not None and rows:
                line[[key in found for key in keys]] = form.of(rows)
            self._rows.setdefault(part, {})[label] = line
            if complete:
                value = metric_value(self.tasks[task], metric, found)
                self._values.setdefault(part, {})[label] = value

    def forget(self, label: str) -> None:
        """Leaves a candidate out of everything from now on."""
        self._known.clear()
        for part in self.parts:
            self._rows.get(part, {}).pop(label, None)
            self._values.get(part, {}).pop(label, None)

    def place(self, label: str, coordinates: Numbers | None) -> None:
        """Where a candidate lies in the unit cube of the search space; None: nowhere."""
        if coordinates is not None:
            self._places[label] = coordinates

    def posterior(
        self, labels: Sequence[str], objective: Objective, warp: Warp | None = None
    ) -> list[Estimate]:
        """Estimates of candidates with what their neighbours say; `warp` clips what is raw."""
        raw = [self.objective(one, objective) for one in labels]
        if warp is not None:
            raw = [warp.clipped(one, objective.higher_is_better) for one in raw]
        return smoothed(raw, [self._places.get(one) for one in labels])

    def raced(self, task: str) -> bool:
        """Whether single items of a task say something: else it is scored as a whole."""
        forms = [form for part, form in self.forms.items() if part[0] == task]
        return bool(forms) and all(form is not None for form in forms)

    def line(self, label: str, part: Part) -> Numbers:
        """Item numbers of a candidate, shape (items,), NaN where it was not scored."""
        return self._rows[part][label]

    def metric(self, label: str, part: Part) -> Estimate:
        """A metric of a candidate over all items of the split."""
        complete = self._values.get(part, {})
        if self.forms.get(part) is None:
            return Estimate(complete[label], 0.0)
        line = self._rows[part][label]
        hard, spread = self._difficulty(part)
        if label in complete:
            return Estimate(complete[label], spread / len(line))
        seen = np.isfinite(line)
        slope = _slope(line[seen], hard[seen], float(hard.var()))
        value = line[seen].mean() + slope * (hard.mean() - hard[seen].mean())
        rest = line[seen] - line[seen].mean() - slope * (hard[seen] - hard[seen].mean())
        count = int(seen.sum())
        noise = (float((rest**2).sum()) + _PRIOR_ITEMS * spread) / (count + _PRIOR_ITEMS - 1)
        return Estimate(float(value), noise / count)

    def objective(self, label: str, objective: Objective) -> Estimate:
        """The mean of an objective's metrics; the errors of its parts are taken as independent."""
        found = [self.metric(label, part) for part in objective.parts]
        count = len(found)
        return Estimate(
            sum(one.value for one in found) / count,
            sum(one.variance for one in found) / count**2,
        )

    def _difficulty(self, part: Part) -> tuple[Numbers, float]:
        """Mean number of each item over complete candidates, and the variance around it."""
        if part not in self._known:
            # In one order, whoever was complete first: sums depend on it in the last bit.
            lines = np.array([self._rows[part][one] for one in sorted(self._values[part])])
            hard = lines.mean(axis=0)
            rest = lines - lines.mean(axis=1, keepdims=True) - (hard - hard.mean())
            free = (len(lines) - 1) * (lines.shape[1] - 1)
            noise = float((rest**2).sum() / free) if free else float(lines.var())
            self._known[part] = hard, noise
        return self._known[part]


def _slope(numbers: Numbers, hard: Numbers, variance: float) -> float:
    """Of numbers on difficulty: least squares, drawn towards 1, in [0, 2]."""
    if variance <= 0.0 or not len(numbers):
        return 0.0
    centred = hard - hard.mean()
    both = float((centred * (numbers - numbers.mean())).sum()) + _PRIOR_ITEMS * variance
    return min(max(both / (float((centred**2).sum()) + _PRIOR_ITEMS * variance), 0.0), 2.0)
