"""`init`: a study from a recipe somebody already has, which becomes the first trial.

What a range spans is a guess that fits published recipes; the file is there to be edited.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from evaluation.rows import read_rows
from merging.document import Document, read_document
from merging.recipe_reader import read_recipe
from search.space_walk import refuse_modules

from .errors import StudyError
from .genome import goals_from_evolve, layers_of, recipe_from_genome, tasks_from_evolve
from .names import renamed
from .ranging import ranged_recipe


def study_text(
    recipe: Path, tasks: Sequence[Path], output: Path | None, maps: Mapping[str, Path]
) -> str:
    """The study as YAML text; warnings about the recipe go to standard error."""
    document = read_document(recipe)
    if not isinstance(document.data, Mapping):
        raise StudyError(f"{recipe}: expected a recipe, a mapping of keys")
    place = (output.parent if output else Path.cwd()).resolve()
    listed = _distinct([_task(path, place) for path in tasks])
    goals: dict[str, Any] = {}
    if "genome" in document.data:
        data = _from_genome(document, recipe.resolve().parent, maps)
        if not listed:
            listed, goals = tasks_from_evolve(document), goals_from_evolve(document)
    else:
        _, notices = read_recipe(document, strict=False)
        for notice in notices:
            print(f"warning: {notice}", file=sys.stderr)
        refuse_modules(document)
        data = ranged_recipe(document, _layers(document.data, recipe.resolve().parent, maps))
    if not listed:
        print("note: no --task was given; edit `tasks` before searching", file=sys.stderr)
    study = {
        "name": _name(recipe),
        "recipe": _moved(data, recipe.resolve().parent, place),
        "tasks": listed or [EXAMPLE_TASK],
        **goals,
        "budget": {"trials": 100},
        "seed": 0,
    }
    return HEADER.format(source=" ".join(recipe.name.split())) + yaml.dump(
        study, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=99
    )


def _from_genome(document: Document, folder: Path, maps: Mapping[str, Path]) -> dict[str, Any]:
    layers = _layers(document.data, folder, maps)
    data = recipe_from_genome(document, layers)
    if layers is None and "anchors" in yaml.safe_dump(data):
        print(
            "warning: the models are not here, so their layers are not known and groups of layers "
            "became anchors; give --map NAME=PATH to have them as blocks",
            file=sys.stderr,
        )
    return data


HEADER = """\
# A study made from {source}: ranges stand around its numbers, `start` is what it said.
# Narrow or widen them, add objectives and constraints, then: eutectic check, eutectic search.
"""
EXAMPLE_TASK = {
    "name": "questions",
    "file": "questions.jsonl",
    "type": "multiple_choice",
    "prompt": "{{question}}",
    "choices": "choices",
    "answer": "answer",
}


def _layers(data: Any, folder: Path, maps: Mapping[str, Path]) -> int | None:
    """The layers of the models of a recipe or a genome, None where they are not here."""
    found = data.get("genome", data)
    listed = found.get("models") if isinstance(found, Mapping) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    name = first.get("model") if isinstance(first, Mapping) else first
    return layers_of(name, folder, maps) if isinstance(name, str) else None


def _task(path: Path, place: Path) -> dict[str, Any]:
    """A task that fits the columns of a file of questions."""
    columns = set(next(iter(read_rows(path))).values)
    found: dict[str, Any] = {"name": _name(path), "file": os.path.relpath(path.resolve(), place)}
    question = next(
        (name for name in ("question", "prompt", "instruction") if name in columns), None
    )
    asked = {"prompt": f"{{{{{question}}}}}"} if question else {}
    if {"choices", "answer"} <= columns:
        found |= {"type": "multiple_choice", **asked, "choices": "choices", "answer": "answer"}
    elif question and (
        target := next((one for one in ("answer", "target") if one in columns), None)
    ):
        prompt = {"prompt": f"Question: {{{{{question}}}}}\nAnswer:"}
        found |= {"type": "loglikelihood", **prompt, "target": target}
    elif "text" in columns:
        found |= {"type": "loglikelihood", "target": "text"}
    else:
        raise StudyError(
            f"{path}: no task fits its columns ({', '.join(sorted(columns))}); use `choices` and "
            "`answer`, `question` and `answer`, or `text`"
        )
    return found


def _distinct(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks with a number behind every name that was there before."""
    names = [task["name"] for task in tasks]
    for index, name in enumerate(names):
        before = names[:index].count(name)
        tasks[index]["name"] = f"{name}-{before + 1}" if before else name
    return tasks


def _name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._")
    return name[:100] or "study"


def _moved(data: Any, source: Path, place: Path) -> Any:
    """Local model names, seen from where the study will stand; other names as they are."""
    if source == place:
        return data
    return renamed(
        data, lambda name: str((source / name).resolve()) if (source / name).is_dir() else name
    )


class _Dumper(yaml.SafeDumper):
    """Short mappings of numbers (ranges) and lists of numbers on one line.

    As people write them.
    """

    def represent_mapping(
        self, tag: str, mapping: Any, flow_style: bool | None = None
    ) -> yaml.MappingNode:
        flow = "range" in mapping or "trials" in mapping
        return super().represent_mapping(tag, mapping, flow_style=True if flow else flow_style)

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        flow = all(isinstance(one, int | float | str) for one in sequence)
        return super().represent_sequence(tag, sequence, flow_style=True if flow else flow_style)

    def ignore_aliases(self, data: Any) -> bool:
        return True
