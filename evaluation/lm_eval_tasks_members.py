"""Several tasks of lm-eval's as one: the items of a group's subtasks, and the group's figures.

An item's numbers begin with the number of its subtask, so that any subset can be aggregated anew:
each subtask by itself, then the mean over those that have an item in it, weighted by their items
or not, as the group's `aggregate_metric_list` says. That is lm-eval's figure, which averages over
the subtasks however deep the groups are nested. A mere list of tasks (a tag, a group without
`aggregate_metric_list`) has no figure in lm-eval; here it has the metrics that all its subtasks
share, weighted by items, which is what lm-eval takes where a group does not say.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .errors import NoGoldError
from .gold import Gold
from .lm_eval_tasks_groups import Plan, fault
from .lm_eval_tasks_requests import rehash
from .lm_eval_tasks_single import LmEvalTask
from .resampling import Numbers, SumAggregate, laid_out
from .spec import LmEvalSpec
from .task import Item, ItemResult, Metric, Response


@dataclass(frozen=True, slots=True)
class GroupAggregate:
    """The mean over subtasks of rows that begin with the subtask's number, shape (n, 1 + width).

    NaN where no subtask that has the metric has a row.
    """

    parts: Mapping[int, Metric]
    """The subtasks' own, by their number; those that lack the metric are left out."""
    by_size: bool

    def __call__(self, values: Numbers) -> float:
        """lm-eval's figure for these items."""
        found = [
            (len(rows) if self.by_size else 1, metric.aggregate(rows[:, 1 : 1 + metric.width]))
            for number, metric in self.parts.items()
            if len(rows := values[values[:, 0] == number])
        ]
        if not found:
            return math.nan
        return sum(size * figure for size, figure in found) / sum(size for size, _ in found)


@dataclass(frozen=True, slots=True)
class GroupSumAggregate(GroupAggregate):
    """One whose subtasks' figures depend on sums alone: a bootstrap does all resamples at once."""

    def columns(self, values: Numbers) -> Numbers:
        """Rows whose sums say all: a 1 and the numbers, in their subtask's place."""
        blocks = []
        for number, metric in self.parts.items():
            own = (values[:, 0] == number)[:, None]
            numbers = np.where(own, values[:, 1 : 1 + metric.width], 0.0)
            blocks += [own.astype(np.float64), own * laid_out(numbers, _by_sums(metric))]
        return np.hstack(blocks)

    def from_sums(self, sums: Numbers, counts: Numbers) -> Numbers:
        """The figure from sums of `columns`, shape (..., columns); `counts` are among them."""
        total, weight, start = np.zeros(sums.shape[:-1]), np.zeros(sums.shape[:-1]), 0
        with np.errstate(divide="ignore", invalid="ignore"):
            for metric in self.parts.values():
                aggregate, rows = _by_sums(metric), sums[..., start]
                width = laid_out(np.zeros((1, metric.width)), aggregate).shape[1]
                figures = aggregate.from_sums(sums[..., start + 1 : start + 1 + width], rows)
                share = rows if self.by_size else (rows > 0).astype(np.float64)
                total += np.where(rows > 0, share * figures, 0.0)
                weight += share
                start += 1 + width
            return total / weight


def _by_sums(metric: Metric) -> SumAggregate:
    assert isinstance(metric.aggregate, SumAggregate)  # `_aggregate` saw to it
    return metric.aggregate


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of a group: the name that each subtask gives it, by the subtask's number."""

    metric: Metric
    sources: Mapping[int, str]

    def row(self, number: int, result: ItemResult) -> tuple[float | str, ...]:
        """The subtask's number and its item's numbers, filled up with zeros."""
        own = result[self.sources[number]] if number in self.sources else ()
        return (float(number), *own, *(0.0 for _ in range(self.metric.width - 1 - len(own))))


@dataclass(frozen=True, slots=True)
class LmEvalGroup:
    """The subtasks of a group or tag as one task; an item's stratum is its subtask."""

    name: str
    items: Sequence[Item]
    metrics: Mapping[str, Metric]
    """Those of its `aggregate_metric_list`; of a mere list those that all subtasks share."""
    dropped: Mapping[str, str]
    """Metrics that have no figure, with the reason."""
    official_test: bool
    """Whether the items of a subtask are a benchmark's own test split: reports are marked."""
    members: tuple[LmEvalTask, ...]
    owners: Mapping[str, int]
    """Item key to the number of its subtask."""
    figures: Mapping[str, Figure]

    @property
    def shots_from_items(self) -> bool:
        """Whether a subtask draws its worked examples from all of its documents."""
        return any(member.shots_from_items for member in self.members)

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets of the hub that its subtasks read."""
        return tuple(dict.fromkeys(one for member in self.members for one in member.datasets))

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """Every metric's numbers from the responses to the item's requests.

        Raises:
            TaskError: the subtask's own code fails on these answers.
        """
        number = self.owners[item.key]
        result = self.members[number].score(item, responses)
        return {name: figure.row(number, result) for name, figure in self.figures.items()}

    def gold(self, item: Item, metric: str) -> Gold:
        """The loss of the item's gold answer, by its subtask's own metric.

        Raises:
            NoGoldError: the subtask has none, or lacks the metric.
        """
        number = self.owners[item.key]
        own = self.figures[metric].sources.get(number)
        if own is None:
            raise NoGoldError(f"{self.members[number].name} has no metric {metric}")
        return self.members[number].gold(item, own)


def joined(spec: LmEvalSpec, plan: Plan, members: Sequence[LmEvalTask]) -> LmEvalGroup:
    """The subtasks as one task, their items one after the other.

    Raises:
        TaskError: no metric has a figure.
    """
    figures, dropped = _figures(plan, members)
    if not figures:
        why = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
        own = ", ".join(dict.fromkeys(name for member in members for name in member.metrics))
        raise fault(
            spec,
            f"{spec.task!r} has no figure ({why or 'its subtasks share no metric'}); its subtasks "
            f"have {own}: name one of them, or give the group an aggregate_metric_list",
        )
    pairs = [(number, item) for number, one in enumerate(members) for item in one.items]
    signature = {name: [one.metric.width, dict(one.sources)] for name, one in figures.items()}
    items = tuple(
        replace(item, index=index, prompt_hash=rehash(item, [number, signature]))
        for index, (number, item) in enumerate(pairs)
    )
    return LmEvalGroup(
        spec.name,
        items,
        {name: figure.metric for name, figure in figures.items()},
        dropped,
        any(member.official_test for member in members),
        tuple(members),
        {item.key: number for number, item in pairs},
        figures,
    )


def _figures(
    plan: Plan, members: Sequence[LmEvalTask]
) -> tuple[dict[str, Figure], dict[str, str]]:
    figures: dict[str, Figure] = {}
    dropped: dict[str, str] = {}
    for name, sources, by_size in _wanted(plan, members):
        parts = {number: members[number].metrics[own] for number, own in sources.items()}
        directions = {metric.higher_is_better for metric in parts.values()}
        if not parts:
            dropped[name] = "no subtask has it"
        elif len(directions) > 1:
            dropped[name] = "higher is better in some subtasks, lower in others"
        else:
            width = 1 + max(metric.width for metric in parts.values())
            kind = _aggregate(parts)
            metric = Metric(name, directions.pop(), width, kind(parts, by_size))
            figures[name] = Figure(metric, sources)
    return figures, dropped


def _aggregate(parts: Mapping[int, Metric]) -> Callable[..., GroupAggregate]:
    sums = all(isinstance(metric.aggregate, SumAggregate) for metric in parts.values())
    return GroupSumAggregate if sums else GroupAggregate


def _wanted(
    plan: Plan, members: Sequence[LmEvalTask]
) -> Iterator[tuple[str, dict[int, str], bool]]:
    """Each figure's name, what the subtasks call its metric, and whether size is the weight."""
    if not plan.figures:
        for name in members[0].metrics:
            if all(name in member.metrics for member in members):
                yield name, dict.fromkeys(range(len(members)), name), True
        return
    own = [{member.full_name(name): name for name in member.metrics} for member in members]
    pairs = []
    for figure in plan.figures:
        known = {
            full.removeprefix(f"{figure.metric},")
            for names in own
            for full in names
            if full.startswith(f"{figure.metric},")
        }
        listed = sorted(known) if figure.filter_list is None else figure.filter_list
        pairs += [(figure, str(one)) for one in listed]
        if not listed:
            yield figure.metric, {}, True
    several = len({one for _, one in pairs}) > 1
    for figure, one in pairs:
        full = f"{figure.metric},{one}"
        sources = {number: names[full] for number, names in enumerate(own) if full in names}
        yield (full if several else figure.metric), sources, bool(figure.weight_by_size)
