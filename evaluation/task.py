"""A task as the harness sees it: items that ask requests, and responses that become numbers.

Requests never depend on the weights: they are made once per study. An item's result is, per
metric, a short tuple of numbers (for accuracy one; for bits per byte the summed negative
log-likelihood in nats and the bytes), so that any subset of items can be aggregated anew. Where
numbers do not say enough (a metric of lm-eval's over texts), a part is a text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .gold import Gold

Rows = NDArray[Any]
"""Item results of one metric, shape (n, width): float64, or objects where a part is a text."""


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a model.

    loglikelihood: log p(continuation | context). rolling: log p(context), unconditioned. generate:
    greedy text after context until one of `until` or `max_new_tokens`.
    """

    kind: Literal["loglikelihood", "rolling", "generate"]
    context: str
    continuation: str = ""
    until: tuple[str, ...] = ()
    max_new_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Response:
    """A model's answer: `loglikelihood` in nats, `greedy`: no token was likelier; or the text."""

    loglikelihood: float = 0.0
    greedy: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a task.

    `key` is a hash of the row's content (the same row has the same key in any file order; a
    repeated row gets a suffix), `prompt_hash` covers the requests and the scoring rule; `group` is
    never split; `stratum` is balanced across splits; `index` is the position in `task.items`.
    `row` is the raw row, for reports; `text` is what is asked about it and nothing else, without
    shots: items of the same text state the same question.
    """

    key: str
    index: int
    group: str
    stratum: str
    requests: tuple[Request, ...]
    prompt_hash: str
    row: Mapping[str, object]
    text: str
    split: Literal["", "test"] = ""
    """The split that the item is bound to: a benchmark's own test; else any may be drawn."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: `aggregate` maps item results, shape (n, width), n >= 1, to its value."""

    name: str
    higher_is_better: bool
    width: int
    aggregate: Callable[[Rows], float]


ItemResult = Mapping[str, tuple[float | str, ...]]
"""Metric name to the item's numbers, `width` of them."""


def result_rows(results: Iterable[ItemResult], metric: str) -> Rows:
    """What a metric aggregates: its numbers of each item, in order, shape (n, width)."""
    rows = [result[metric] for result in results]
    texts = any(isinstance(part, str) for row in rows for part in row)
    return np.array(rows, dtype=object if texts else np.float64)


class Task(Protocol):
    """What the harness needs of a task, native or lm-eval's."""

    @property
    def name(self) -> str:
        """The task's name in the study."""
        ...

    @property
    def items(self) -> Sequence[Item]:
        """Every item; `items[k].index` is k."""
        ...

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The default metric first."""
        ...

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """Every metric's numbers of one item, from the responses to its requests in order."""
        ...

    def gold(self, item: Item, metric: str) -> "Gold":
        """A smooth loss of one item that ranks like the metric; raises NoGoldError without one."""
        ...
