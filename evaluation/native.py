"""Native tasks: rows of a local file become questions, by the keys of a study file.

multiple_choice   the choice with the largest log p(choice | prompt), as lm-eval scores it
loglikelihood     log p(target | prompt); without a prompt, of the plain text in windows
generate          greedy text, compared with the target or scored by the user's function

As in lm-eval a space stands between a prompt and its continuation, an empty line between examples,
and neither before a continuation that has no prompt, nor after a chat template. The description
comes first, as written. Items are built once a study; nothing here touches a model.
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .duplicates import statement
from .errors import EvaluationError, TaskError
from .examples import Example, ExampleReader, make_reader
from .fewshot import Pool, Shot, choose, draw, make_pool
from .gold import Gold, rule_gold
from .metrics import METRICS
from .rows import Row, read_rows
from .rules import ChoiceRule, MatchRule, OwnRule, Rule, TextRule, compile_extract
from .scorers import load_scorer
from .spec import NativeSpec
from .task import Item, ItemResult, Metric, Request, Response

Chat = Callable[[Sequence[Mapping[str, str]]], str]
Calibration = Callable[[Sequence[str], Sequence[str]], Sequence[bool]]
"""Groups and strata of all items to which of them serve calibration."""

SHOT_END = "\n\n"
METRICS_OF = {
    "multiple_choice": ("acc", "acc_norm"),
    "loglikelihood": ("bits_per_byte",),
    "generate": ("exact_match",),
}


@dataclass(frozen=True, slots=True)
class NativeTask:
    """A task over a local file; `rules[item.index]` scores an item."""

    name: str
    items: tuple[Item, ...]
    metrics: Mapping[str, Metric]
    rules: tuple[Rule, ...]
    joint: str = " "
    """What stands between a prompt and the answer to it."""

    def score(self, item: Item, responses: Sequence[Response]) -> ItemResult:
        """Every metric's numbers of one item from the responses to its requests, in their order.

        Raises:
            TaskError: the user's scorer or pattern fails; the message names task and row.
        """
        with of_task(self.name, item=item.key):
            return self.rules[item.index].score(item, responses)

    def gold(self, item: Item, metric: str) -> Gold:
        """The loss of the item's gold answer.

        Raises:
            NoGoldError: it has none.
        """
        return rule_gold(item, self.rules[item.index], metric, self.joint)


def load_native_task(
    spec: NativeSpec,
    *,
    seed: int,
    calibration: Calibration | None = None,
    chat: Chat | None = None,
    allowed_code: frozenset[Path] = frozenset(),
) -> NativeTask:
    """Reads the file and builds every item.

    Args:
        spec: The task as the study file has it.
        seed: Decides `limit` and the shots.
        calibration: Which rows may be shots; needed where they come from the calibration split.
        chat: Renders messages by the tokenizer's template; needed for `chat_template`.
        allowed_code: Files that `score` may run.

    Raises:
        TaskError: a fault of the file, a row or a key; names the task, the file and the row.
    """
    with of_task(spec.name, spec.place):
        rule = make_rule(spec, allowed_code)
        rows = sample(numbered(read_rows(spec.file)), spec.limit, seed)
        read = make_reader(spec, columns_of(row for _, row in rows))
        examples = [read(row) for _, row in rows]
        pool, shots = make_shots(spec, seed, examples, read, calibration)
        items, rules = [], []
        for index, (key, _) in enumerate(rows):
            example = examples[index]
            with of_row(example.row):
                numbers = choose(pool, spec.fewshot.n, spec.fewshot.same, key, example.group)
                requests = make_requests(spec, example, [shots[k] for k in numbers], chat)
            rules.append(rule(example))
            items.append(make_item(key, index, example, requests, rules[-1]))
        names = ("score",) if spec.score else METRICS_OF[spec.type]
        metrics = {name: METRICS[name] for name in names}
        joint = "" if spec.chat_template else " "
        return NativeTask(spec.name, tuple(items), metrics, tuple(rules), joint)


def numbered(rows: Iterator[Row]) -> Iterator[tuple[str, Row]]:
    """Each row's key: its content's hash, with -2, -3, ... where the same content comes again."""
    seen: Counter[str] = Counter()
    for row in rows:
        seen[row.content] += 1
        count = seen[row.content]
        yield (row.content if count == 1 else f"{row.content}-{count}"), row


def sample(rows: Iterator[tuple[str, Row]], limit: int | None, seed: int) -> list[tuple[str, Row]]:
    """At most `limit` rows, those whose keys hash lowest, in the file's order."""
    if limit is None:
        return list(rows)
    ranked = (
        (draw(seed, f"limit/{key}"), place, key, row) for place, (key, row) in enumerate(rows)
    )
    kept = heapq.nsmallest(limit, ranked, key=lambda entry: entry[:2])
    return [(key, row) for _, _, key, row in sorted(kept, key=lambda entry: entry[1])]


def columns_of(rows: Iterator[Row]) -> frozenset[str]:
    """Every column that some row has."""
    return frozenset(name for row in rows for name in row.values)


def make_rule(spec: NativeSpec, allowed: frozenset[Path]) -> Callable[[Example], Rule]:
    """How an example of this task is scored."""
    if spec.type == "multiple_choice":
        return lambda example: ChoiceRule(tuple(map(len, example.choices)), example.gold)
    if spec.type == "loglikelihood":
        return lambda example: TextRule(example.reference)
    if spec.score is not None:
        scorer = load_scorer(spec.score, allowed)
        return lambda example: OwnRule(scorer)
    pattern = None if spec.extract is None else compile_extract(spec.extract)
    return lambda example: MatchRule(example.reference, pattern)


def make_shots(
    spec: NativeSpec,
    seed: int,
    examples: Sequence[Example],
    read: ExampleReader,
    calibration: Calibration | None,
) -> tuple[Pool, Sequence[Example]]:
    """The pool of worked examples, and the examples its numbers speak of."""
    if spec.fewshot.n == 0:
        return make_pool((), seed), ()
    if spec.fewshot.file is not None:
        if spec.fewshot.file.resolve() == spec.file.resolve():
            raise TaskError(
                "fewshot.from: this is the task's own file, whose rows are scored; write "
                "`from: calibration`, or give a file of other rows"
            )
        rows = list(read_rows(spec.fewshot.file))
        examples = [read(row) for row in rows]
        chosen: Sequence[bool] = [True] * len(examples)
    elif calibration is None:
        raise TaskError("fewshot: there is no calibration split to take examples from")
    else:
        chosen = calibration([e.group for e in examples], [e.stratum for e in examples])
    shots = [
        Shot(example.row.content, example.group, number)
        for number, (example, usable) in enumerate(zip(examples, chosen, strict=True))
        if usable
    ]
    return make_pool(shots, seed), examples


def make_requests(
    spec: NativeSpec, example: Example, shots: Sequence[Example], chat: Chat | None
) -> tuple[Request, ...]:
    """What an item asks of a model."""
    if spec.chat_template:
        if chat is None:
            raise TaskError("chat_template: there is no tokenizer at hand to render it")
        context, space = chat(messages(spec, example, shots)), ""
    else:
        context, space = plain_context(spec, example, shots), " " if example.question else ""
    if spec.type == "generate":
        until = spec.until or (() if spec.chat_template else (SHOT_END,))
        return (Request("generate", context, "", until, spec.max_new_tokens),)
    if spec.type == "loglikelihood":
        if not context:
            return (Request("rolling", example.reference),)
        return (Request("loglikelihood", context, space + example.reference),)
    return tuple(Request("loglikelihood", context, space + choice) for choice in example.choices)


def plain_context(spec: NativeSpec, example: Example, shots: Sequence[Example]) -> str:
    """Description, worked examples and the question, as one text."""
    texts = [instructions(spec, example)]
    for shot in shots:
        texts += [shot.question, " " if shot.question else "", shot.reference, SHOT_END]
    return "".join((*texts, example.question))


def messages(spec: NativeSpec, example: Example, shots: Sequence[Example]) -> list[dict[str, str]]:
    """The same as turns of a conversation."""
    system = instructions(spec, example)
    turns = [{"role": "system", "content": system}] if system else []
    for shot in shots:
        turns.append({"role": "user", "content": shot.question})
        turns.append({"role": "assistant", "content": shot.reference})
    return [*turns, {"role": "user", "content": example.question}]


def instructions(spec: NativeSpec, example: Example) -> str:
    """System text and description."""
    return SHOT_END.join(text for text in (spec.system, example.description) if text)


def make_item(
    key: str, index: int, example: Example, requests: tuple[Request, ...], rule: Rule
) -> Item:
    """The item with the hash of all that its result depends on but the weights."""
    asked = [[asdict(request) for request in requests], rule.signature()]
    data = json.dumps(asked, sort_keys=True).encode()
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    row, text = example.row.values, stated(example, requests)
    return Item(key, index, example.group, example.stratum, requests, digest, row, text)


def stated(example: Example, requests: Sequence[Request]) -> str:
    """What an item says by itself; an answer to be generated is no part of what is asked."""
    if requests[0].kind == "generate":
        return example.question
    return statement(example.question, example.choices or (example.reference,))


@contextmanager
def of_task(name: str, place: str = "", item: str = "") -> Iterator[None]:
    """Puts the task, where it stands, and the item before the message of an error."""
    try:
        yield
    except EvaluationError as fault:
        where = f"{place + ' ' if place else ''}task {name!r}"
        raise TaskError(f"{where}: {f'item {item}: ' if item else ''}{fault}") from None


@contextmanager
def of_row(row: Row) -> Iterator[None]:
    """Puts a row's place before the message of an error."""
    try:
        yield
    except EvaluationError as fault:
        raise TaskError(f"{row.place}: {fault}") from None
