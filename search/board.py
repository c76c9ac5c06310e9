"""What is known of every candidate on the search split, item by item, and what follows from it.

A candidate that was scored on some items only is estimated with a control variate: how hard each
item is (the mean over the candidates that were scored on all) corrects for the luck of having
drawn easy ones. Where items were drawn at random that has no bias and less variance; a race
chooses who goes on, so its survivors look a little better than they are: `posterior` takes that
back, see `smooth`.

Where answers have margins, `posterior` knows more: candidates are estimated on every item that
they were not scored on, see `accuracy`.

Values are in the metric's own direction and unit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation.margins import margin_name
from evaluation.task import Task

from .accuracy import Accuracy, accuracy
from .factors import Memory
from .item_table import ItemTable, table_of
from .item_values import ItemValues, item_values
from .objectives import Objective, Results, metric_value
from .one_thread import one_thread
from .smooth import LEAST, Estimate, Process, around, smoothed
from .smooth import Memory as Lengths
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
    _lacking: dict[str, Numbers] = field(default_factory=dict, init=False)
    _orders: dict[str, dict[str, int]] = field(default_factory=dict, init=False)
    _rows: dict[Part, dict[str, Numbers]] = field(default_factory=dict, init=False)
    _margins: dict[Part, dict[str, Numbers]] = field(default_factory=dict, init=False)
    _values: dict[Part, dict[str, float]] = field(default_factory=dict, init=False)
    _known: dict[Part, tuple[Numbers, float]] = field(default_factory=dict, init=False)
    _places: dict[str, Numbers] = field(default_factory=dict, init=False)
    _items: dict[str, int] = field(default_factory=dict, init=False)
    _estimates: dict[Part, dict[str, Estimate]] = field(default_factory=dict, init=False)
    """Of metrics, as long as neither the candidate nor the difficulty of items changes."""
    _lengths: Lengths = field(default_factory=dict, init=False)
    _memories: dict[Part, Memory] = field(default_factory=dict, init=False)
    _fits: dict[tuple[Part, tuple[str, ...]], Accuracy | None] = field(
        default_factory=dict, init=False
    )

    _posteriors: dict[tuple[tuple[str, ...], Objective, Warp | None], list[Estimate]] = field(
        default_factory=dict, init=False
    )

    def add(self, label: str, results: Results) -> None:
        """Takes all that is known of a candidate; what was known of it before is replaced."""
        self._changed(label)
        tables = {task: table_of(results[task]) for task in self.splits}
        self._items[label] = sum(map(len, tables.values()))
        for part in self.parts:
            self._add(label, part, tables[part[0]])
        self._changed(label)

    def _add(self, label: str, part: Part, table: ItemTable) -> None:
        task, metric = part
        order = self._order(task)
        complete = len(table) == len(order)
        if part not in self.forms:
            if not complete:
                raise ValueError(f"the first candidate on the board lacks items of {task}")
            self.forms[part] = item_values(self.tasks[task].metrics[metric], table)
        form = self.forms[part]
        line, margins = np.full(len(order), np.nan), self._no_margins(task)
        name = margin_name(metric)
        if form is not None and len(table):
            whole = complete and list(order) == table.names
            seen = slice(None) if whole else [order[key] for key in table.names]
            line[seen] = form.of(table)
            if name in table.columns:
                margins = np.full(len(order), np.nan)
                margins[seen] = table.first(name)
        self._rows.setdefault(part, {})[label] = line
        self._margins.setdefault(part, {})[label] = margins
        if complete:
            value = metric_value(self.tasks[task], metric, table)
            self._values.setdefault(part, {})[label] = value

    def _no_margins(self, task: str) -> Numbers:
        """NaN for every item: one array for all candidates whose answers have no margins."""
        if task not in self._lacking:
            self._lacking[task] = np.full(len(self._order(task)), np.nan)
        return self._lacking[task]

    def _order(self, task: str) -> dict[str, int]:
        """Item key to its place in the split."""
        if task not in self._orders:
            items = self.tasks[task].items
            keys = (items[index].key for index in self.splits[task])
            self._orders[task] = {key: place for place, key in enumerate(keys)}
        return self._orders[task]

    def forget(self, label: str) -> None:
        """Leaves a candidate out of everything from now on."""
        self._changed(label)
        for part in self.parts:
            self._rows.get(part, {}).pop(label, None)
            self._margins.get(part, {}).pop(label, None)
            self._values.get(part, {}).pop(label, None)

    def place(self, label: str, coordinates: Numbers | None) -> None:
        """Where a candidate lies in the unit cube of the search space; None: nowhere."""
        if coordinates is not None:
            self._moved()
            self._places[label] = coordinates

    def _changed(self, label: str | None = None) -> None:
        """Forgets what followed from a candidate's results; None: from anything."""
        for part in self.parts:
            if label is None or label in self._values.get(part, {}):
                self._known.pop(part, None)  # whoever is complete says how hard items are
                self._estimates.pop(part, None)
            else:
                self._estimates.get(part, {}).pop(label, None)
        self._moved()

    def _moved(self) -> None:
        """Forgets what followed from where candidates lie."""
        self._fits.clear()
        self._posteriors.clear()

    def posterior(
        self, labels: Sequence[str], objective: Objective, warp: Warp | None = None
    ) -> list[Estimate]:
        """Estimates of candidates with what their neighbours say, no worse than `warp` allows."""
        key = tuple(labels), objective, warp
        if key not in self._posteriors:
            with one_thread():
                self._posteriors[key] = self._posterior(labels, objective, warp)
        return self._posteriors[key]

    def _posterior(
        self, labels: Sequence[str], objective: Objective, warp: Warp | None
    ) -> list[Estimate]:
        if (found := self._accuracies(labels, objective)) is not None:
            parts = [self._by_margins(labels, part, one) for part, one in found.items()]
            own = [_mean(one) for one in zip(*parts, strict=True)]
        else:
            own = [self.objective(one, objective) for one in labels]
        # Who was scored on everything was lucky with these items, or not: its neighbours know.
        shown = _clipped(own, objective, warp)
        places = [self._places.get(one) for one in labels]
        return smoothed(shown, places, self._lengths, [self._items[one] for one in labels])

    def elsewhere(
        self, labels: Sequence[str], objective: Objective, places: Numbers
    ) -> tuple[Numbers, Numbers] | None:
        """Values and variances at points of the unit cube, by what is known of candidates.

        None where that is too little. `places` has shape (points, axes).
        """
        with one_thread():
            return self._elsewhere(labels, objective, places)

    def _elsewhere(
        self, labels: Sequence[str], objective: Objective, places: Numbers
    ) -> tuple[Numbers, Numbers] | None:
        if (found := self._accuracies(labels, objective)) is not None:
            parts = [one.at(places) for one in found.values()]
            count = len(parts)
            values = np.array([values for values, _ in parts]).mean(axis=0)
            return values, np.array([errors for _, errors in parts]).sum(axis=0) / count**2
        placed = [one for one in labels if one in self._places]
        if len(placed) < LEAST:
            return None
        raw = [self.objective(one, objective) for one in placed]
        known = [self._places[one] for one in placed]
        items = [self._items[one] for one in placed]
        process: Process | None = around(raw, known, self._lengths, items)
        if process is None:  # all are equal so far
            return np.full(len(places), raw[0].value), np.zeros(len(places))
        return process.at(places)

    def _accuracies(
        self, labels: Sequence[str], objective: Objective
    ) -> dict[Part, Accuracy] | None:
        """By margins, of every part; None where a part has none or too few have a place."""
        found = {}
        for part in objective.parts:
            key = part, tuple(labels)
            if key not in self._fits:
                self._fits[key] = self._fitted(labels, part)
            if (one := self._fits[key]) is None:
                return None
            found[part] = one
        return found

    def _fitted(self, labels: Sequence[str], part: Part) -> Accuracy | None:
        """Of candidates and of all that were scored on everything."""
        others = sorted(set(self._values.get(part, {})) - set(labels))
        everyone = [*labels, *others]
        placed = [one for one in everyone if one in self._places]
        if len(placed) < LEAST or self.forms.get(part) is None:
            return None
        numbers = np.array([self._rows[part][one] for one in everyone])
        margins = np.array([self._margins[part][one] for one in everyone])
        seen = np.isfinite(numbers)
        bits = bool(np.isin(numbers[seen], (0.0, 1.0)).all())
        if not bits or not np.array_equal(seen, np.isfinite(margins)):
            return None
        nowhere = np.full(len(self._places[placed[0]]), np.nan)
        places = np.array([self._places.get(one, nowhere) for one in everyone])
        memory = self._memories.setdefault(part, Memory())
        return accuracy(numbers, margins, places, memory)

    def _by_margins(self, labels: Sequence[str], part: Part, found: Accuracy) -> list[Estimate]:
        """With the noise of having drawn these items."""
        values, variances = found.of_candidates()
        drawn = self._difficulty(part)[1] / found.numbers.shape[1]
        return [
            Estimate(value, variance + drawn)
            for value, variance in zip(values.tolist(), variances.tolist(), strict=True)
        ][: len(labels)]

    def raced(self, task: str) -> bool:
        """Whether single items of a task say something: else it is scored as a whole."""
        forms = [form for part, form in self.forms.items() if part[0] == task]
        return bool(forms) and all(form is not None for form in forms)

    def line(self, label: str, part: Part) -> Numbers:
        """Item numbers of a candidate, shape (items,), NaN where it was not scored."""
        return self._rows[part][label]

    def metric(self, label: str, part: Part) -> Estimate:
        """A metric of a candidate over all items of the split."""
        known = self._estimates.setdefault(part, {})
        if label not in known:
            known[label] = self._metric(label, part)
        return known[label]

    def _metric(self, label: str, part: Part) -> Estimate:
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
        return _mean([self.metric(label, part) for part in objective.parts])

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


def _mean(found: Sequence[Estimate]) -> Estimate:
    count = len(found)
    return Estimate(
        sum(one.value for one in found) / count,
        sum(one.variance for one in found) / count**2,
    )


def _clipped(found: Sequence[Estimate], objective: Objective, warp: Warp | None) -> list[Estimate]:
    if warp is None:
        return list(found)
    return [warp.clipped(one, objective.higher_is_better) for one in found]


def _slope(numbers: Numbers, hard: Numbers, variance: float) -> float:
    """Of numbers on difficulty: least squares, drawn towards 1, in [0, 2]."""
    if variance <= 0.0 or not len(numbers):
        return 0.0
    centred = hard - hard.mean()
    both = float((centred * (numbers - numbers.mean())).sum()) + _PRIOR_ITEMS * variance
    return min(max(both / (float((centred**2).sum()) + _PRIOR_ITEMS * variance), 0.0), 2.0)
