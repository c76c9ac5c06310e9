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
from merging.methods.table import Method, find_method
from merging.recipe_reader import read_recipe
from merging.recipe_values import IDLE
from merging.schedule import depth, interpolate

from .errors import StudyError
from .genome import goals_from_evolve, layers_of, recipe_from_genome, tasks_from_evolve

Number = int | float


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


def ranged_recipe(document: Document, layers: int | None) -> dict[str, Any]:
    """The recipe's data with ranges around its numbers.

    Parameters that do nothing are left out. `layers`: of the models, None where that is not known;
    a gradient of more values than there are layers becomes one value a layer.
    """
    data: dict[str, Any] = dict(document.data)  # type: ignore[call-overload]
    method = find_method(str(data["merge_method"]))
    base = data.get("base_model") if method.task_vectors else None
    data["models"] = [_source(one, method, base, layers) for one in data.get("models") or []]
    cuts = data.get("slices") or []
    lengths = [_length(cut) for cut in cuts]
    data["slices"] = [
        {**cut, "sources": [_source(one, method, base, length) for one in cut["sources"]]}
        for cut, length in zip(cuts, lengths, strict=True)
    ]
    for form in ("models", "slices"):
        if not data[form]:
            del data[form]
    depth_of_shared = min(lengths) if lengths else layers
    own_shared = data.get("parameters") or {}
    shared = _ranged(own_shared, method, ("model", "global"), depth_of_shared)
    if any(one.name == "lambda" for one in method.parameters) and "lambda" not in own_shared:
        shared["lambda"] = {"range": [0.5, 1.5], "start": 1.0}
    data["parameters"] = shared
    if not shared:
        del data["parameters"]
    return {key: value for key, value in data.items() if key in RECIPE_KEYS}


RECIPE_KEYS = (
    "merge_method base_model models slices parameters dtype out_dtype tokenizer_source tokenizer "
    "chat_template eutectic"
).split()


def _length(cut: Mapping[str, Any]) -> int:
    """Layers of a slice, at least 1."""
    start, stop = cut["sources"][0].get("layer_range") or (0, 1)
    return max(1, stop - start)


def _source(entry: Any, method: Method, base: object, layers: int | None) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"model": entry}
    kept = {key: value for key, value in entry.items() if key != "parameters"}
    parameters = entry.get("parameters") or {}
    if entry.get("model") == base:
        return kept  # a base listed among the models counts for nothing in a task-vector method
    ranged = _ranged(parameters, method, ("model",), layers)
    return {**kept, "parameters": ranged} if ranged else kept


def _ranged(
    parameters: Mapping[str, Any], method: Method, scopes: tuple[str, ...], layers: int | None
) -> dict[str, Any]:
    known = {one.name for one in method.parameters if one.scope in scopes} - IDLE
    named = ((name, value) for name, value in parameters.items() if name in known)
    return {name: _range(name, value, layers) for name, value in named}


def _range(name: str, value: Any, layers: int | None) -> Any:
    """A range in the place of a number, a gradient, or the values of a filter list."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Number):
        return {"range": _bounds(name, [float(value)]), "start": value}
    if isinstance(value, Mapping):
        return {**value, "value": _range(name, value.get("value"), layers)}
    if isinstance(value, list) and all(isinstance(one, Number) for one in value):
        if layers is not None and len(value) > layers:
            value = [interpolate(tuple(value), depth(one, layers)) for one in range(layers)]
        if len(value) == 1:
            return _range(name, value[0], layers)
        bounds = _bounds(name, [float(one) for one in value])
        return {"range": bounds, "anchors": len(value), "start": value}
    if isinstance(value, list):
        return [_range(name, one, layers) for one in value]
    return value


def _bounds(name: str, values: Sequence[float]) -> list[float]:
    """From low to high around what somebody chose, as wide as is usual for the parameter."""
    low, high = min(values), max(values)
    if name == "density":
        bounds = (max(0.05, low - 0.3), min(1.0, high + 0.3))
    elif name == "epsilon":
        bounds = (low / 2, high * 1.5)
    elif name == "lambda":
        bounds = (low / 2, high * 1.5) if low > 0 else (min(low, -1.0), max(high, 1.0))
    else:
        bounds = (min(0.0, 2 * low), max(1.0, 2 * high))
    return [round(bound, 6) for bound in bounds]


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
    if isinstance(data, list):
        return [_moved(one, source, place) for one in data]
    if not isinstance(data, Mapping):
        return data
    return {
        key: str((source / value).resolve())
        if key in ("model", "base_model") and isinstance(value, str) and (source / value).is_dir()
        else _moved(value, source, place)
        for key, value in data.items()
    }


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
