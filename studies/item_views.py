"""Questions as a report shows them: cut short, few, of search and select, never of test."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluation.answers import ANSWER
from evaluation.duplicates import statement
from evaluation.errors import NoGoldError
from evaluation.task import Item, ItemResult, Task

from .view import ItemView
from .wording import number, upright

MOST_ITEMS = 240
"""Questions in one report: their texts are most of what examples weigh."""
QUESTION, CHOICE, ANSWERED = 360, 90, 90
"""Characters that are shown of each."""
MOST_CHOICES = 8
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def cut(text: str, length: int) -> str:
    """At most `length` characters, the middle left out: a question often ends with what it asks.

    Lone surrogates, which no file can hold, become question marks.
    """
    text = upright(text).strip().encode("utf-8", "replace").decode()
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head].rstrip()} {ELLIPSIS} {text[len(text) - (length - head - 3) :].lstrip()}"


@dataclass(slots=True)
class Shelf:
    """The questions that were taken so far, at most `most`: who comes first chooses."""

    most: int = MOST_ITEMS
    taken: list[ItemView] = field(default_factory=list, init=False)
    _places: dict[tuple[str, str], int] = field(default_factory=dict, init=False)

    @property
    def is_full(self) -> bool:
        """Whether only questions that are here have a place."""
        return len(self.taken) >= self.most

    def keys(self, task: Task) -> list[str]:
        """The items of a task that are here."""
        return [key for name, key in self._places if name == task.name]

    def place(self, task: Task, item: Item, split: str, metric: str) -> int | None:
        """The number of a question, taken now if there is room; None where there is none."""
        key = task.name, item.key
        if key not in self._places:
            if self.is_full:
                return None
            self._places[key] = len(self.taken)
            self.taken.append(item_view(task, item, split, metric))
        return self._places[key]


def item_view(task: Task, item: Item, split: str, metric: str) -> ItemView:
    """One question with its choices and the right answer."""
    choices = choices_of(item)
    question = item.text
    offered = statement("", choices)
    if choices and question.endswith(offered):
        question = question.removesuffix(offered)
    return ItemView(
        cut(task.name, CHOICE),
        split,
        cut(question or item.requests[0].context, QUESTION),
        tuple(cut(one, CHOICE) for one in choices[:MOST_CHOICES]),
        cut(_gold(task, item, metric, choices), ANSWERED),
    )


def choices_of(item: Item) -> tuple[str, ...]:
    """What an item may be answered with; nothing where it is one request."""
    if len(item.requests) < 2:
        return ()
    said = [one.continuation.strip() for one in item.requests]
    if len(set(said)) > 1:
        return tuple(said)
    return tuple(one.context.strip() for one in item.requests)  # the question is what differs


def _gold(task: Task, item: Item, metric: str, choices: Sequence[str]) -> str:
    """The right answer's text; a plain text has none, its bits are the answer."""
    if item.requests[0].kind == "rolling":
        return ""
    try:
        gold = task.gold(item, metric)
    except NoGoldError:
        return ""
    if gold.right is not None:
        return choices[gold.right] if gold.right < len(choices) else ""
    return gold.requests[0].continuation if item.requests[0].kind == "generate" else ""


def answered(item: Item, result: ItemResult, metric: str, value: float) -> str:
    """What a model answered: a choice, its text, or its number where that is all there is."""
    said = result.get(ANSWER, ())
    if item.requests[0].kind == "generate":
        return cut(str(said[0]), ANSWERED) if said else ""
    if len(item.requests) < 2:
        return number(value)
    if not said:
        return ""
    choices = choices_of(item)
    at = int(said[1 if metric.startswith(("acc_norm", "acc_bytes")) else 0])
    return cut(choices[at], ANSWERED) if at < len(choices) else ""
