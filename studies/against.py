"""What a candidate gained and lost against each parent, item by item, on search and select.

A trial that raced was scored on some items: both sides are counted on the items that both were
scored on. Metrics without numbers of single items are taken item by item by their own aggregate
(the F1 of one answer). `test` is never read here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evaluation.task import Item, ItemResult, Metric, Task, result_rows
from search.item_table import ItemTable, table_of
from search.item_values import item_values
from search.ledger import Candidate, label
from search.loop import searched_tasks

from .item_views import Shelf, answered
from .view import Against, Example, ItemView

if TYPE_CHECKING:
    from .results import Found

Numbers = NDArray[np.float64]
Read = Mapping[str, ItemResult]
"""Item key to what a candidate got on one task, search and select together."""

SPLITS = ("search", "select")
FEW, MANY = 1, 3
"""Examples of items gained, and as many of items lost, of a rival and metric."""
MOST_EXAMPLES = 24_000
"""In one report; who comes first is shown first."""
NEAR = 1e-9


class Tables(Mapping[str, ItemResult]):
    """What a candidate got on one task, split by split."""

    def __init__(self, tables: Sequence[ItemTable]) -> None:
        self.tables = tables

    def __getitem__(self, key: str) -> ItemResult:
        return next(one[key] for one in self.tables if key in one)

    def __iter__(self) -> Iterator[str]:
        return (key for one in self.tables for key in one)

    def __len__(self) -> int:
        return sum(map(len, self.tables))


@dataclass(frozen=True, slots=True)
class Column:
    """One metric over the items of search and select; `numbers` are theirs, higher is better."""

    task: Task
    metric: Metric
    items: Sequence[tuple[Item, str]]
    order: Mapping[str, int]
    """Item key to its place in `items`."""
    numbers: Callable[[ItemTable], Numbers]

    @property
    def name(self) -> str:
        """`logic acc`."""
        return f"{self.task.name} {self.metric.name}"

    def _places(self, names: Sequence[str]) -> slice | list[int]:
        """Where the items of a table stand: in a row where it has a whole split, in its order."""
        first = self.order[names[0]]
        last = first + len(names)
        if last <= len(self.items) and self.order[names[-1]] == last - 1:
            return slice(first, last)
        return [self.order[key] for key in names]

    def line(self, read: Tables) -> Numbers:
        """The numbers of every item, NaN where it was not scored."""
        found = np.full(len(self.items), np.nan)
        for table in read.tables:
            if len(table):
                found[self._places(table.names)] = self.numbers(table)
        return found


@dataclass(slots=True)
class Comparison:
    """Candidates beside the parents; whoever is asked about first chooses the examples."""

    found: "Found"
    columns: Sequence[Column] = field(init=False)
    shelf: Shelf = field(default_factory=Shelf, init=False)
    _rivals: list[tuple[str, str, Mapping[str, Read], list[Numbers]]] = field(init=False)
    _left: int = field(default=MOST_EXAMPLES, init=False)

    def __post_init__(self) -> None:
        references = [one for one in self.found.references if one.scores is not None]
        read = {label(one): self._read(one, whole=True) for one in references}
        base = next((read[label(one)] for one in references if one.role == "base"), None)
        self.columns = () if base is None else _columns(self.found, base)
        self._rivals = [
            (
                label(one),
                one.recipe_hash,
                read[label(one)],
                [column.line(read[label(one)][column.task.name]) for column in self.columns],
            )
            for one in references
            if one.role == "parent"
        ]

    @property
    def items(self) -> tuple[ItemView, ...]:
        """The questions of all examples so far."""
        return tuple(self.shelf.taken)

    def of(self, candidate: Candidate, *, whole: bool, many: bool) -> tuple[Against, ...]:
        """A candidate beside every parent but itself, metric by metric.

        Args:
            candidate: Who was scored, at least on some items.
            whole: Whether it met the others on `select` as well.
            many: Whether it is shown with several examples.
        """
        read = self._read(candidate, whole=whole)
        lines = [column.line(read[column.task.name]) for column in self.columns]
        return tuple(
            self._pair(rival, column, (mine, theirs), (read, told), MANY if many else FEW)
            for rival, rival_hash, told, numbers in self._rivals
            if rival_hash != candidate.recipe_hash
            for column, mine, theirs in zip(self.columns, lines, numbers, strict=True)
        )

    def read_ahead(self, candidates: Sequence[Candidate]) -> None:
        """Reads what some candidates got, who are asked about next."""
        self.found.scores.read_ahead(candidates, _searched(self.found))

    def _read(self, candidate: Candidate, *, whole: bool) -> dict[str, Tables]:
        scores, splits = self.found.scores, SPLITS if whole else SPLITS[:1]
        return {
            task: Tables([scores.results(candidate, task, split) for split in splits])
            for task in _searched(self.found)
        }

    def _pair(
        self,
        rival: str,
        column: Column,
        numbers: tuple[Numbers, Numbers],
        read: tuple[Mapping[str, Read], Mapping[str, Read]],
        most: int,
    ) -> Against:
        gaps = numbers[0] - numbers[1]
        both = np.isfinite(gaps)
        gained, lost = np.flatnonzero(gaps > NEAR), np.flatnonzero(gaps < -NEAR)
        examples = (
            self._examples(column, where[np.argsort(-abs(gaps[where]), kind="stable")], read, most)
            for where in (gained, lost)
        )
        right_or_wrong = bool(np.isin(numbers[1][np.isfinite(numbers[1])], (0.0, 1.0)).all())
        counts = int(both.sum()), len(gained), len(lost)
        return Against(rival, column.name, *counts, right_or_wrong, *examples)

    def _examples(
        self,
        column: Column,
        where: NDArray[np.intp],
        read: tuple[Mapping[str, Read], Mapping[str, Read]],
        most: int,
    ) -> tuple[Example, ...]:
        """The first items that have a place, the largest differences first."""
        shown: list[Example] = []
        if self.shelf.is_full:
            where = where[np.isin(where, [column.order[key] for key in self.shelf.keys(column.task)
                                          if key in column.order])]  # fmt: skip
        for at in where.tolist():
            if len(shown) >= min(most, self._left):
                break
            item, split = column.items[at]
            place = self.shelf.place(column.task, item, split, column.metric.name)
            if place is not None:
                said = (self._answered(column, item, one) for one in read)
                shown.append(Example(place, *said))
        self._left -= len(shown)
        return tuple(shown)

    def _answered(self, column: Column, item: Item, read: Mapping[str, Read]) -> str:
        result = read[column.task.name][item.key]
        value = _alone(column.metric, tuple(result[column.metric.name]))
        return answered(item, result, column.metric.name, value)


def _searched(found: "Found") -> list[str]:
    study = found.preflight
    return searched_tasks(study.tasks, study.objectives, study.study.constraints)


def _columns(found: "Found", base: Mapping[str, Read]) -> tuple[Column, ...]:
    """What the objectives measure, each metric once; `base` was scored on every item."""
    parts = dict.fromkeys(part for one in found.preflight.objectives for part in one.parts)
    columns = []
    for name, metric in parts:
        task = found.preflight.tasks[name]
        items = [(one, split) for split in SPLITS for one in found.scores.items(name, split)]
        order = {one.key: place for place, (one, _) in enumerate(items)}
        numbers = _numbers(task.metrics[metric], table_of(base[name]))
        columns.append(Column(task, task.metrics[metric], items, order, numbers))
    return tuple(columns)


def _numbers(metric: Metric, base: ItemTable) -> Callable[[ItemTable], Numbers]:
    """Items' numbers, higher is better: their part of the mean, else the metric of each alone."""
    sign = 1.0 if metric.higher_is_better else -1.0
    form = item_values(metric, base)
    if form is not None:
        scale = sign * form.scale
        return lambda table: scale * table.first(metric.name)
    alone = cache(lambda row: _alone(metric, row))
    return lambda table: np.array(
        [sign * alone(tuple(one[metric.name])) for one in table.values()]
    )


def _alone(metric: Metric, row: tuple[float | str, ...]) -> float:
    """The metric of one item alone; NaN where it has none."""
    try:
        return float(metric.aggregate(result_rows([{metric.name: row}], metric.name)))
    except Exception:  # a stranger's aggregate may need more than one item
        return float("nan")
