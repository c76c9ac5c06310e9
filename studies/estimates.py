"""Values with their 95% intervals, from the item results in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evaluation.statistics import (
    Interval,
    bootstrap_interval,
    paired_interval,
    utility_difference_interval,
)
from evaluation.task import Item, Rows, Task
from search.item_table import ItemTable, Reader
from search.ledger import Candidate, Ledger
from search.objectives import Objective
from search.pairs import pair
from search.verdict import Verdict

from .view import Estimate

KEPT = 64
"""Tables of item results that are held, the latest: most are asked for a few times in a row."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The item results of a run, read from the ledger; `seed` is that of all bootstraps."""

    ledger: Ledger
    settings: Sequence[str]
    """Evaluation settings of the run, the present ones first: memory may have run out on the way,
    and not everything may be scored again yet."""
    tasks: Mapping[str, Task]
    splits: Mapping[str, Mapping[str, Sequence[int]]]
    seed: int
    reader: Reader = field(init=False)
    _read: dict[tuple[str, str, str], ItemTable] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", Reader(self.ledger, self.tasks, self.splits))

    def items(self, task: str, split: str) -> list[Item]:
        """The items of a split, in order."""
        return [self.tasks[task].items[index] for index in self.splits[task][split]]

    def results(self, candidate: Candidate, task: str, split: str) -> ItemTable:
        """Item key to result, in order; may lack items."""
        at = candidate.recipe_hash, task, split
        if at not in self._read:
            self._keep(at, self._results(candidate, task, split))
        return self._read[at]

    def _keep(self, at: tuple[str, str, str], table: ItemTable) -> None:
        self._read[at] = table
        if len(self._read) > KEPT:
            del self._read[next(iter(self._read))]

    def read_ahead(self, candidates: Sequence[Candidate], tasks: Sequence[str]) -> None:
        """Reads the search split of a few candidates who are asked about next by one query."""
        shelves = {task: self.reader.shelf(task, "search") for task in tasks}
        hashes = [one.recipe_hash for one in candidates]
        for merge_hash, bodies in zip(
            hashes, self.reader.bodies(hashes, self.settings[0], tasks), strict=True
        ):
            for task, shelf in shelves.items():
                table = shelf.table(bodies[task])
                if len(table) == len(shelf.items) or len(self.settings) == 1:
                    self._keep((merge_hash, task, "search"), table)

    def _results(self, candidate: Candidate, task: str, split: str) -> ItemTable:
        best = ItemTable([], {})
        for settings in self.settings:
            found = self.reader.table(candidate.recipe_hash, settings, task, split)
            best = found if len(found) > len(best) else best
            if len(best) == len(self.splits[task][split]):
                break
        return best

    def complete(self, candidate: Candidate, task: str, split: str) -> bool:
        """Whether a candidate was scored on every item of a split that has any."""
        wanted = len(self.splits[task][split])
        return wanted > 0 and len(self.results(candidate, task, split)) == wanted

    def rows(self, candidate: Candidate, task: str, metric: str, split: str) -> Rows:
        """Item results of one metric, shape (n, width)."""
        return self.results(candidate, task, split).rows(metric)


def metric_estimate(
    scores: Scores, candidate: Candidate, task: str, metric: str, split: str
) -> Estimate:
    """One metric of a candidate on a split: of the items of it that it was scored on."""
    results = scores.results(candidate, task, split)
    items = scores.items(task, split)
    if len(results) < len(items):
        items = [item for item in items if item.key in results]
    return estimate(
        bootstrap_interval(
            results.rows(metric),
            [item.group for item in items],
            [item.stratum for item in items],
            scores.tasks[task].metrics[metric].aggregate,
            seed=scores.seed,
        )
    )


def metric_difference(
    scores: Scores, one: Candidate, other: Candidate, task: str, metric: str, split: str
) -> Estimate:
    """One candidate minus another, paired item by item."""
    items = scores.items(task, split)
    return estimate(
        paired_interval(
            scores.rows(one, task, metric, split),
            scores.rows(other, task, metric, split),
            [item.group for item in items],
            [item.stratum for item in items],
            scores.tasks[task].metrics[metric].aggregate,
            seed=scores.seed,
        )
    )


def objective_estimate(
    scores: Scores, candidate: Candidate, objective: Objective, split: str
) -> Estimate:
    """An objective of a candidate; one that averages several tasks has a value and no interval."""
    parts = [
        metric_estimate(scores, candidate, task, metric, split) for task, metric in objective.parts
    ]
    if len(parts) == 1:
        return parts[0]
    value = sum(part.value for part in parts) / len(parts)
    return Estimate(value, items=sum(part.items for part in parts))


def utility_difference(
    scores: Scores,
    ones: Sequence[Candidate],
    others: Sequence[Candidate],
    objectives: Sequence[Objective],
    verdict: Verdict,
    split: str,
) -> Estimate:
    """The mean utility of one candidate's draws minus that of another's, paired on a split.

    Both must be scored there. A candidate without mask seeds is its one draw.
    """
    sides = (
        [
            {
                part: scores.results(one, part, split)
                for goal in objectives
                for part, _ in goal.parts
            }
            for one in side
        ]
        for side in (ones, others)
    )
    both = pair(
        scores.tasks, scores.splits, split, objectives, verdict.rule, verdict.scales, *sides
    )
    return estimate(utility_difference_interval(both.tasks, both.utility, seed=scores.seed))


def estimate(interval: Interval) -> Estimate:
    """The view's form of an interval."""
    return Estimate(interval.value, interval.low, interval.high, interval.items)
