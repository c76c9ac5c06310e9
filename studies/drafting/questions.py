"""A file of questions, or a task of lm-eval's by name, as one entry of a study's `tasks`."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError
from evaluation.examples import Example, make_reader
from evaluation.native import columns_of, numbered, sample
from evaluation.rows import Row, read_rows
from evaluation.spec import NativeSpec

from ..errors import StudyError
from .columns import LOOKED_FOR, readings

PROBED = 200
"""Rows that a reading is tried on first; what passes is read in full."""
MANY = 1000
"""Of more rows a sample is searched: a first study should end."""
FEWEST_GROUPS = 40
"""Groups that the splits of a task need, with room for chance."""
GROUPS = (
    "group passage_id context_id document_id doc_id article_id story_id source_id template "
    "template_id scene document passage context article story"
).split()
STRATA = (
    "stratum category subject topic kind type subtask task phenomenon difficulty level domain "
    "language"
).split()
SUFFIXES = (".jsonl", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class Draft:
    """One entry of `tasks`, why it looks as it does, and what its splits will be made of."""

    data: dict[str, Any]
    notes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Of every row that is searched; empty where that is not known (lm-eval's tasks)."""
    strata: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        """The task's name."""
        return str(self.data["name"])


def draft_tasks(given: Sequence[str], place: Path, chat: bool) -> list[Draft]:
    """The tasks of several `--task`, each named apart.

    Args:
        given: Each a file, NAME=FILE, or the name of a task of lm-eval's.
        place: The folder that the study will stand in.
        chat: Whether all models have one chat template.

    Raises:
        StudyError: neither a file nor a task, or columns that nothing fits.
        EvaluationError: a file that cannot be read.
    """
    drafts: list[Draft] = []
    taken: Counter[str] = Counter()
    for one in given:
        draft = _draft(one, place, chat)
        name = draft.name
        taken[name] += 1
        if taken[name] > 1:
            draft = replace(draft, data={**draft.data, "name": f"{name}-{taken[name]}"})
        drafts.append(draft)
    return drafts


def clean_name(text: str) -> str:
    """A name that a study, a task and a folder may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100] or "study"


def given_file(given: str) -> tuple[str, Path] | None:
    """The name and the file that a `--task` gives; None for a task of lm-eval's."""
    name, separator, rest = given.partition("=")
    if separator and name and not Path(given).exists():
        return clean_name(name), Path(rest)
    path = Path(given)
    if path.suffix.lower() in SUFFIXES or path.exists() or os.sep in given:
        return clean_name(path.stem), path
    return None


def _draft(given: str, place: Path, chat: bool) -> Draft:
    if (named := given_file(given)) is not None:
        return _of_file(named[1], named[0], place, chat)
    return _of_lm_eval(given)


def _of_lm_eval(name: str) -> Draft:
    from evaluation.lm_eval_tasks_index import shipped_names
    from merging.document import did_you_mean

    known = shipped_names()
    if name not in known:
        hint = did_you_mean(name, list(known)) or f"; files end in {', '.join(SUFFIXES)}"
        raise StudyError(f"--task {name}: neither a file nor a task of lm-eval's{hint}")
    return Draft(
        {"name": clean_name(name), "lm_eval": name},
        ("A task of lm-eval's; its questions come from the Hugging Face hub or its cache.",),
    )


def _of_file(path: Path, name: str, place: Path, chat: bool) -> Draft:
    rows = sample(numbered(read_rows(path)), MANY, 0)
    total = len(rows) if len(rows) < MANY else sum(1 for _ in read_rows(path))
    only = [row for _, row in rows]
    keys = _reading(path, name, only, chat)
    data = {"name": name, "file": _relative(path, place), **keys}
    notes = [f"{total:,} rows in {path.name}"]
    if keys["type"] == "multiple_choice" and "prompt" not in keys:
        notes.append("No column is known as a question: choices stand alone. Else add `prompt`.")
    groups: Sequence[str] = [row.content for row in only]
    if total > MANY:
        data["limit"] = MANY
        notes.append(f"limit: a fixed sample of {MANY:,} of them; drop the line to take all")
    used = str(keys)
    if (found := _plain(only, GROUPS, _is_group)) is not None:
        values = [str(row.values[found]) for row in only]
        distinct = len(set(values))
        if distinct >= FEWEST_GROUPS:
            data["group"], groups = found, values
            notes.append(f"group: rows of one `{found}` are never separated by a split")
        else:
            notes.append(
                f"`{found}` looks like a group, but {distinct} are too few for four splits: rows "
                "are split one by one, and test may be a little kind"
            )
    strata: Sequence[str] = ["" for _ in only]
    free = [one for one in STRATA if not re.search(rf"\b{one}\b", used)]
    if (found := _plain(only, free, _is_stratum)) is not None:
        data["stratum"] = found
        strata = [str(row.values[found]) for row in only]
        notes.append(f"stratum: every split has its share of each `{found}`")
    return Draft(data, tuple(notes), tuple(groups), tuple(strata))


def _reading(path: Path, name: str, rows: Sequence[Row], chat: bool) -> dict[str, Any]:
    """The first reading of the columns that every row can be read by."""
    names = columns_of(iter(rows))
    first_fault = ""
    for keys in readings([row.values for row in rows[:PROBED]], chat):
        tried = dict(keys)
        if isinstance(tried.get("choices"), list):
            tried["choices"] = tuple(tried["choices"])
        try:
            read = make_reader(NativeSpec(name, path, **tried), names)
            probed = [read(row) for row in rows[:PROBED]]
            if _says_something(probed):
                for row in rows[PROBED:]:
                    read(row)
                return keys
        except EvaluationError as fault:
            first_fault = first_fault or f"; the nearest, {_short(keys)}, fails: {fault}"
    shown = ", ".join(sorted(names))
    raise StudyError(
        f"{path}: its columns are not understood ({shown:.300}); looked for {LOOKED_FOR}"
        f"{first_fault}; rename columns, or write the task into the study yourself"
    )


def _says_something(examples: Sequence[Example]) -> bool:
    """Whether answers are there at all: a column of empty texts is none."""
    return all(one.reference.strip() or one.choices for one in examples)


def _short(keys: Mapping[str, Any]) -> str:
    parts = (f"{key}: {keys[key]}" for key in ("choices", "answer", "target") if key in keys)
    return f"{keys['type']} ({', '.join(parts)})"


def _relative(path: Path, place: Path) -> str:
    return os.path.relpath(path.absolute(), place)


def _plain(rows: Sequence[Row], wanted: Sequence[str], fits: Any) -> str | None:
    """The first of some columns that plainly is what is wanted."""
    by_name = {name.lower(): name for name in rows[0].values}
    for name in (by_name[one] for one in wanted if one in by_name):
        values = [row.values.get(name) for row in rows]
        plain = all(isinstance(value, str | int) and value != "" for value in values)
        if plain and name.isidentifier() and fits(Counter(map(str, values)), len(rows)):
            return name
    return None


def _is_group(counts: Counter[str], rows: int) -> bool:
    """Values that come several times, and many of them: no kind, and no key of one row."""
    return 10 <= len(counts) <= 0.9 * rows


def _is_stratum(counts: Counter[str], rows: int) -> bool:
    """Few kinds of many rows each."""
    return 2 <= len(counts) <= rows / 8
