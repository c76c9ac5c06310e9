"""The study file as one JSON Schema (draft 2020-12), for editors to complete and check.

    # yaml-language-server: $schema=study.schema.json

as the first line of a study points an editor at it. What it refuses, `check` refuses; `check` also
opens models and tasks, and knows what goes together.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .config_tasks import LM_EVAL_KEYS, NATIVE_KEYS, REQUIRED
from .schema import StudyForm
from .schema_recipe import Schema, any_of, recipe_definitions, ref

FILE = "study.schema.json"
"""What the file is called."""
MODELINE = f"# yaml-language-server: $schema={FILE}\n"


def schema_text() -> str:
    """The schema as JSON text; methods of the user's own are in it once they are loaded."""
    return json.dumps(study_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(folder: Path) -> None:
    """Writes the schema into a folder; one that is there is of another version."""
    (folder / FILE).write_text(schema_text(), encoding="utf-8")


def study_schema() -> Schema:
    """The schema as plain data."""
    own = _tidied(StudyForm.model_json_schema(by_alias=True))
    parts = own.pop("$defs")
    _tie_task(parts["TaskForm"])
    _tie_constraint(parts["ConstraintForm"])
    _tie_winner(parts["WinnerForm"])
    properties = own["properties"]
    properties["recipe"] = ref("recipe")
    del properties["gradients"]["type"]
    properties["gradients"]["enum"] += [True, False]  # what YAML 1.1 makes of on and off
    by_name = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    properties["sampler"]["anyOf"][1] = by_name
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "a study of eutectic",
        **own,
        "$defs": {**parts, **recipe_definitions()},
    }


def _tidied(data: Any) -> Any:
    """Without the titles that pydantic makes of names."""
    if isinstance(data, dict):
        kept = {key: one for key, one in data.items() if key != "title"}
        return {
            key: {name: _tidied(form) for name, form in one.items()}
            if key in ("properties", "$defs")
            else _tidied(one)
            for key, one in kept.items()
        }
    return [_tidied(one) for one in data] if isinstance(data, list) else data


def _tie_task(form: Schema) -> None:
    """A task has a file and its keys, or an lm-eval task and its keys."""
    types = [
        {"if": _is("type", name), "then": {"required": list(keys)}}
        for name, keys in REQUIRED.items()
    ]
    generate = {
        "if": _is("type", "generate"),
        "then": any_of({"required": ["target"]}, {"required": ["score"]}),
    }
    native = {"required": ["file", "type"], "allOf": [*types, generate]}
    shots = {"fewshot": {"type": ["integer", "null"]}}
    form["if"] = {"required": ["lm_eval"]}
    form["then"] = {"properties": {**_none_of(NATIVE_KEYS), **shots}}
    form["else"] = {**native, "properties": _none_of(LM_EVAL_KEYS)}


def _none_of(keys: Iterable[str]) -> Schema:
    return {key: False for key in sorted(keys)}


def _is(key: str, value: str) -> Schema:
    return {"required": [key], "properties": {key: {"const": value}}}


def _tie_constraint(form: Schema) -> None:
    """Either a drop or bounds."""
    drop, low, high = (
        {"required": [key], "properties": {key: {"type": "number"}}}
        for key in ("max_drop", "min", "max")
    )
    form["oneOf"] = [drop, any_of(low, high)]


def _tie_winner(form: Schema) -> None:
    """The rules that need a key."""
    needs = {"task": "task", "weighted": "weights"}
    form["allOf"] = [
        {"if": _is("rule", rule), "then": {"required": [key]}} for rule, key in needs.items()
    ]
