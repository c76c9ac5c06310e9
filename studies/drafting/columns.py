"""What the columns of a file of questions may mean, by their names; likely readings first.

A reading is the keys of a study's task. Nothing is decided here: `questions` takes the first that
the task's own reader can read every row by.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

QUESTIONS = (
    "question query problem prompt instruction stem goal premise ctx context sentence input"
).split()
CHOICES = "choices options endings candidates".split()
ANSWERS = (
    "answer answerkey answer_key answer_index answer_idx answer_id label gold correct "
    "correct_answer correct_option correct_choice target solution"
).split()
TARGETS = "answer target output response completion solution reference".split()
TEXTS = "text content code document passage".split()
MESSAGES = "messages conversations conversation".split()
WRONG = "incorrect_answers distractors wrong_answers".split()
PASSAGES = "passage context article paragraph story support".split()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Row = Mapping[str, object]
Keys = dict[str, Any]

LOOKED_FOR = (
    "choices (`choices`, `options`, or columns such as A, B, C, D) with `answer`, `label` or "
    "`answerKey`; `question`, `prompt` or `instruction` with `answer`, `target` or `output`; "
    "`messages`; `text`"
)


def readings(rows: Sequence[Row], chat: bool) -> Iterator[Keys]:
    """The task keys that may fit, the likeliest first.

    Args:
        rows: Some rows of the file, at least one.
        chat: Whether the models have a chat template, which then stands around the question.
    """
    columns = [name for name in rows[0] if name.isidentifier()]
    asked = list(_prompts(columns, rows, chat))
    for choices, answers in _choices(columns, rows):
        for answer in answers:
            for prompt in (*asked, {}):
                yield {"type": "multiple_choice", **prompt, "choices": choices, "answer": answer}
    marks = _named(columns, ANSWERS) if _listed(columns, rows) else ()  # say which, no free text
    for prompt in _prompts(columns, rows, chat, answered=True):
        for target in _named(columns, TARGETS):
            if f"{{{{{target}}}}}" not in prompt["prompt"] and target not in marks:
                yield {"type": "loglikelihood", **prompt, "target": target}
    for name in _named(columns, MESSAGES):
        yield from _conversations(name, rows[0].get(name), chat)
    for name in _named(columns, TEXTS):
        yield {"type": "loglikelihood", "target": name}


def _listed(columns: Iterable[str], rows: Sequence[Row]) -> bool:
    """Whether a column lists choices, in some row at least."""
    return any(row.get(name) for name in _named(columns, CHOICES) for row in rows)


def _named(columns: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """The columns of these names, in the order of `wanted`; case does not count."""
    by_name = {name.lower(): name for name in columns}
    return [by_name[name] for name in wanted if name in by_name]


def _prompts(
    columns: list[str], rows: Sequence[Row], chat: bool, *, answered: bool = False
) -> Iterator[Keys]:
    """What stands before an answer; `answered`: the answer is free text behind a question."""
    for name in _named(columns, QUESTIONS):
        before = _before(columns, name)
        asked = f"{before}{{{{{name}}}}}"
        also = _named(columns, ["input"]) if name.lower() == "instruction" else []
        if also:
            yield _prompt(
                f"{asked}{{% if {also[0]} %}}\n{{{{{also[0]}}}}}{{% endif %}}", chat, "\n"
            )
        elif not chat and _is_question(name, rows, answered):
            yield {"prompt": f"{before}Question: {{{{{name}}}}}\nAnswer:"}
        else:
            yield _prompt(asked, chat, "")


def _prompt(text: str, chat: bool, end: str) -> Keys:
    return {"prompt": text, "chat_template": True} if chat else {"prompt": text + end}


def _before(columns: list[str], question: str) -> str:
    """The passage that a question is about, where a column holds it."""
    found = [name for name in _named(columns, PASSAGES) if name != question]
    return f"{{{{{found[0]}}}}}\n\n" if found else ""


def _is_question(name: str, rows: Sequence[Row], answered: bool) -> bool:
    """Whether a text is a question rather than the beginning of a sentence."""
    if name.lower() not in ("question", "query", "problem", "stem"):
        return False
    marked = sum(str(row.get(name, "")).rstrip().endswith("?") for row in rows)
    return answered or 2 * marked > len(rows)


def _choices(
    columns: list[str], rows: Sequence[Row]
) -> Iterator[tuple[str | list[str], list[str]]]:
    """Where the choices stand, with the ways in which the right one may be told."""
    labels = _named(columns, ANSWERS)
    for name in _named(columns, CHOICES):
        own = rows[0].get(name)
        if isinstance(own, Mapping) and {"text", "label"} <= own.keys():
            ways = [f"{{{{ {name}.label.index({label}) }}}}" for label in labels]
            yield f"{{{{ {name}.text }}}}", ways
        else:
            yield name, [way for label in labels for way in _ways(label, rows)]
    for family in _families(columns):
        outside = [label for label in labels if label not in family]
        ways = [way for label in outside for way in _ways(label, rows)]
        yield [f"{{{{{name}}}}}" for name in family], ways
    right = _named(columns, ["correct_answer", "answer"])
    for name in _named(columns, WRONG):
        for one in right:
            yield f"{{{{ [{one}] + {name} }}}}", ["{{ 0 }}"]
    distractors = next((f for f in _families(columns, ("distractor", "incorrect_answer"))), [])
    for one in right if distractors else []:
        yield [f"{{{{{name}}}}}" for name in (one, *distractors)], ["{{ 0 }}"]


def _ways(label: str, rows: Sequence[Row]) -> list[str]:
    """A letter; an index from 0 or a text; one from 1, where one is too large for that."""
    told = [str(row.get(label, "")).strip() for row in rows]
    if all(len(one) == 1 and one.isalpha() for one in told):
        return [f"{{{{ '{LETTERS}'.find({label} | trim | upper) }}}}", label]
    if all(one.isdecimal() and int(one) >= 1 for one in told):
        return [label, f"{{{{ {label} | int - 1 }}}}"]
    return [label]


PREFIXES = ("", "option", "choice", "ending", "sol", "opt", "answer", "candidate")


def _families(columns: list[str], prefixes: Sequence[str] = PREFIXES) -> Iterator[list[str]]:
    """Columns that are choices one by one: A to D, option_a, choice1, ending0."""
    found = []
    for name in columns:
        match = re.fullmatch(r"(?i)([a-z_]*?)_?([a-h]|\d)", name)
        if match and match[1].lower() in prefixes and (match[1] or match[2].isalpha()):
            found.append((match[1].lower(), match[2].lower(), name))
    for _, group in groupby(sorted(found), key=lambda one: one[0]):
        members = list(group)
        marks = [mark for _, mark, _ in members]
        starts = {"a": "abcdefgh", "0": "0123456789", "1": "123456789"}.get(marks[0], "")
        if len(marks) > 1 and "".join(marks) == starts[: len(marks)]:
            yield [name for _, _, name in members]


def _conversations(name: str, turns: object, chat: bool) -> Iterator[Keys]:
    """The first question and its answer, told as messages."""
    first = turns[0] if isinstance(turns, list) and turns else None
    if not isinstance(first, Mapping):
        return
    at = int("system" in (first.get("role"), first.get("from")))
    key = "content" if "content" in first else "value"
    prompt: Keys = {"prompt": f"{{{{ {name}[{at}].{key} }}}}"}
    if chat:
        prompt["chat_template"] = True
    yield {"type": "loglikelihood", **prompt, "target": f"{{{{ {name}[{at + 1}].{key} }}}}"}
