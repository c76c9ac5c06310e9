"""A row rendered by a task's keys: question, reference answer, choices, group and stratum."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .errors import TaskError
from .rows import Row
from .spec import NativeSpec
from .templates import Columns, Field, describe

NEEDS: Mapping[str, tuple[str, ...]] = {
    "multiple_choice": ("choices", "answer"),
    "loglikelihood": ("target",),
    "generate": ("target",),
}
MAX_LIST = 100_000
"""Characters of a list written as text."""


@dataclass(frozen=True, slots=True)
class Example:
    """A row as its task reads it.

    `reference` is the answer a shot shows: the target, or the text of the gold choice; `gold` is
    an index into `choices`.
    """

    row: Row
    question: str
    reference: str
    description: str
    group: str
    stratum: str
    choices: tuple[str, ...] = ()
    gold: int = 0


ExampleReader = Callable[[Row], Example]


@dataclass(frozen=True, slots=True)
class Fields:
    """The keys of a task, compiled; None where the study file leaves one out."""

    prompt: Field
    description: Field
    choices: Field | tuple[Field, ...] | None
    answer: Field | None
    target: Field | None
    group: Field | None
    stratum: Field | None


def make_reader(spec: NativeSpec, names: frozenset[str]) -> ExampleReader:
    """A function from rows to examples.

    Raises:
        TaskError: a key that the type needs is missing, names no column, or is no template; the
            function itself raises it for a row, with its place.
    """
    columns = Columns(names)
    for key in NEEDS[spec.type]:
        if getattr(spec, key) is None and not (key == "target" and spec.score):
            raise TaskError(f"{key}: a {spec.type} task needs it")
    if spec.chat_template and not spec.prompt:
        raise TaskError("chat_template: needs a `prompt` for the user's turn")
    many: Field | tuple[Field, ...] | None
    if isinstance(spec.choices, tuple):
        many = tuple(columns.field("choices", text, column=False) for text in spec.choices)
    else:
        many = optional(columns, "choices", spec.choices)
    fields = Fields(
        columns.field("prompt", spec.prompt),
        columns.field("description", spec.description, column=False),
        many,
        *(optional(columns, key, getattr(spec, key)) for key in ("answer", "target")),
        *(optional(columns, key, getattr(spec, key)) for key in ("group", "stratum")),
    )
    return lambda row: read_example(spec, fields, row)


def optional(columns: Columns, key: str, source: str | None) -> Field | None:
    """The field of a key that may be left out."""
    return None if source is None else columns.field(key, source)


def read_example(spec: NativeSpec, fields: Fields, row: Row) -> Example:
    """One row, rendered.

    Raises:
        TaskError: with the row's place.
    """
    values, place = row.values, row.place
    choices: tuple[str, ...] = ()
    gold, reference = 0, ""
    if spec.type == "multiple_choice" and fields.choices and fields.answer:
        choices = read_choices(fields.choices, row)
        gold = gold_index(fields.answer.value(values, place), choices, f"{place}: answer")
        reference = choices[gold]
    elif fields.target is not None:
        reference = fields.target.text(values, place)
        if spec.type == "loglikelihood" and not reference:
            raise TaskError(f"{place}: target: the text is empty")
    return Example(
        row,
        fields.prompt.text(values, place),
        reference,
        fields.description.text(values, place),
        fields.group.text(values, place) if fields.group else row.content,
        fields.stratum.text(values, place) if fields.stratum else "",
        choices,
        gold,
    )


def read_choices(field: Field | tuple[Field, ...], row: Row) -> tuple[str, ...]:
    """The texts of a row's choices, two at least and none empty."""
    place = f"{row.place}: choices"
    if isinstance(field, tuple):
        found: object = [each.text(row.values, row.place) for each in field]
    else:
        found = field.value(row.values, row.place)
    if isinstance(found, str):
        found = parse_list(found)
    if not isinstance(found, Sequence) or isinstance(found, str | bytes) or len(found) < 2:
        raise TaskError(f"{place}: expected a list of two or more choices, got {describe(found)}")
    for number, choice in enumerate(found):
        if not isinstance(choice, str | int | float) or choice == "":
            raise TaskError(f"{place}: choice {number} is {describe(choice)}, expected a text")
    return tuple(str(choice) for choice in found)


def parse_list(text: str) -> object:
    """A list written as text (a CSV cell) in JSON or Python; anything else stays the text."""
    if len(text) > MAX_LIST or not text.lstrip().startswith(("[", "(")):
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return text


def gold_index(answer: object, choices: Sequence[str], place: str) -> int:
    """The index an answer means: an integer is one, a string is the text of a choice.

    A string of digits that is no choice's text (CSV knows no numbers) is an index as well.
    """
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    if str(answer) in choices and type(answer) is not int:
        return choices.index(str(answer))
    if isinstance(answer, str) and answer.strip().isdecimal():
        answer = int(answer)
    if type(answer) is int:
        if 0 <= answer < len(choices):
            return answer
        raise TaskError(f"{place}: {answer} is no index into {len(choices)} choices (from 0)")
    raise TaskError(
        f"{place}: expected the index or the text of a choice, got {describe(answer)}; choices: "
        f"{', '.join(map(repr, choices)):.200}"
    )
