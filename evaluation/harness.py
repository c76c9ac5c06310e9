"""Tasks and a runner: items of a task to their results, for whatever weights are live.

What no weight can change (tokens, batches) is kept for each set of items that was asked for, so a
candidate pays for forward passes only. Each set is its own plan: the same set gives the same bits,
another set that shares items may differ in the last ones.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

from .answers import answer
from .errors import EvaluationError
from .gold import Gold
from .gold_pass import GoldLoss, gold_gradient, gold_loss
from .guards import named
from .margins import choice_golds, with_margins
from .runner import Prepared, Runner
from .task import Item, ItemResult, Task

KEPT_PLANS = 1024
"""Sets of items whose batches are kept; the longest unused goes first."""


class Harness:
    """Scores items of the tasks with the runner's model.

    Attributes:
        tasks: By name.
        runner: Holds the live model; `runner.seconds` is the time its arithmetic took so far.
    """

    def __init__(self, tasks: Sequence[Task], runner: Runner) -> None:
        """Takes tasks of distinct names.

        Raises:
            EvaluationError: two tasks share a name.
        """
        names = [task.name for task in tasks]
        for name in names:
            if names.count(name) > 1:
                raise EvaluationError(f"two tasks have the name {name!r}; names must differ")
        self.tasks: Mapping[str, Task] = MappingProxyType({task.name: task for task in tasks})
        self.runner = runner
        self._plans: OrderedDict[tuple[str, tuple[int, ...]], Prepared] = OrderedDict()
        self._choices: dict[tuple[str, int], Mapping[str, Gold]] = {}

    @property
    def seconds(self) -> float:
        """Time the runner's arithmetic took so far."""
        return self.runner.seconds

    def settle(self) -> None:
        """Refuses what cannot be answered; decides on the live weights how inputs are laid out.

        The weights should be the base's: they are probed.

        Raises:
            EvaluationError: a request that this model and tokenizer cannot answer.
        """
        asked = [
            (request, label(task, item))
            for task in self.tasks.values()
            for item in task.items
            for request in item.requests
        ]
        self.runner.settle([request for request, _ in asked], [name for _, name in asked])

    def halve_budget(self) -> int:
        """Half as many tokens at once from now on, after ExhaustedError; every plan is made anew.

        Raises:
            ExhaustedError: they are too few to be halved.
        """
        budget = self.runner.halve_budget()
        self._plans.clear()
        return budget

    def prepare(self, task: str, indices: Sequence[int]) -> Prepared:
        """The plan of these items: `tokens` is what one candidate's forward passes read.

        Raises:
            EvaluationError: an item that this model and tokenizer cannot answer.
        """
        key = (task, tuple(indices))
        plan = self._plans.pop(key, None)
        if plan is None:
            plan = self._prepare(self.tasks[task], key[1])
        self._plans[key] = plan
        if len(self._plans) > KEPT_PLANS:
            self._plans.popitem(last=False)
        return plan

    def score(self, task: str, indices: Sequence[int]) -> dict[str, ItemResult]:
        """Item key to the item's numbers, in the order of `indices` (positions in `task.items`).

        With the margins of what chooses among answers, see `margins`; what the model answered
        stands beside them, see `answers`.

        Raises:
            NonFiniteError: the live model's logits are NaN or Inf; names task and item.
            TaskError: the user's own scorer fails.
        """
        plan = self.prepare(task, indices)
        responses = iter(self.runner.run(plan))
        chosen = self.tasks[task]
        results: dict[str, ItemResult] = {}
        for index in indices:
            item = chosen.items[index]
            answers = [next(responses) for _ in item.requests]
            result = with_margins(
                chosen.score(item, answers), self._golds_of(task, index), answers
            )
            results[item.key] = {**result, **answer(item, answers)}
        return results

    def gold_loss(self, task: str, metric: str, indices: Sequence[int]) -> GoldLoss:
        """The loss of the gold answers of some items, on the live weights.

        Raises:
            NoGoldError: an item has none.
            NonFiniteError: the loss is NaN or Inf.
        """
        return gold_loss(self.runner, *self._golds(task, metric, indices))

    @contextmanager
    def gold_gradient(self, task: str, metric: str, indices: Sequence[int]) -> Iterator[GoldLoss]:
        """The same with the gradient by every parameter, there while the context is open.

        Raises:
            NoGoldError: an item has none.
            NonFiniteError: the loss is NaN or Inf.
        """
        with gold_gradient(self.runner, *self._golds(task, metric, indices)) as found:
            yield found

    def _golds_of(self, task: str, index: int) -> Mapping[str, Gold]:
        key = (task, index)
        if key not in self._choices:
            chosen = self.tasks[task]
            self._choices[key] = choice_golds(chosen, chosen.items[index])
        return self._choices[key]

    def _golds(
        self, task: str, metric: str, indices: Sequence[int]
    ) -> tuple[list[Gold], list[str]]:
        chosen = self.tasks[task]
        items = [chosen.items[index] for index in indices]
        golds = []
        for item in items:
            with named(label(chosen, item)):
                golds.append(chosen.gold(item, metric))
        return golds, [label(chosen, item) for item in items]

    def _prepare(self, task: Task, indices: tuple[int, ...]) -> Prepared:
        items = [task.items[index] for index in indices]
        requests = [request for item in items for request in item.requests]
        labels = [label(task, item) for item in items for _ in item.requests]
        return self.runner.prepare(requests, labels)


def label(task: Task, item: Item) -> str:
    """How messages name an item."""
    return f"task {task.name!r}, item {item.key} (row {item.index + 1} of those used)"
