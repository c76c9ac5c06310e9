"""Writes docs/study_file.md and docs/study.schema.json anew from the code.

Run it in the project's environment after a key of the study file, of a recipe or of a range has
changed:

    .venv/bin/python scripts/study_keys.py

Descriptions and examples stand beside the fields (`studies/schema.py`, `merging/recipe_keys.py`,
`search/range_keys.py`, `merging/methods/table.py`); `tests/test_docs.py` holds the pages to them.
"""

import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from annotated_types import Ge, Gt, Le, MaxLen  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402
from pydantic_core import PydanticUndefined  # noqa: E402

from merging import recipe_keys as keys  # noqa: E402
from merging.methods.parameters import Parameter  # noqa: E402
from merging.methods.table import METHODS  # noqa: E402
from search import range_keys as ranges  # noqa: E402
from studies import schema, schema_tasks  # noqa: E402
from studies.schema_file import FILE, schema_text  # noqa: E402

PAGE = ROOT / "docs" / "study_file.md"

FORMS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("The study", schema.StudyForm, "The top of the file."),
    ("`tasks`", schema_tasks.TaskForm, "[Tasks](tasks.md) says which keys go together."),
    ("`fewshot`", schema_tasks.FewshotForm, "Of a task over a file, in the place of a number."),
    ("`objectives`", schema.MetricForm, "Each by a name of your own; one to three are usual."),
    ("`objectives` that are means", schema.MeanForm, "In the place of `task` and `metric`."),
    ("`constraints`", schema.ConstraintForm, "Each has `max_drop`, or `min`, `max` or both."),
    ("`split`", schema.SplitForm, "Shares of each task's groups."),
    ("`winner`", schema.WinnerForm, "[How a winner is chosen](honest_numbers.md)."),
    (
        "`budget`",
        schema.BudgetForm,
        "Limits are totals, over all the times that a search was started.",
    ),
)
RECIPE: tuple[tuple[str, keys.Keys, str], ...] = (
    ("`recipe`", keys.RECIPE_KEYS, "Exactly one of `models` and `slices`; `merge_method` always."),
    ("`models`", keys.SOURCE_KEYS, "Each entry of the list; `model` always."),
    ("`slices`", keys.SLICE_KEYS, "Each entry of the list; `sources` always."),
    (
        "`sources` of a slice",
        {"layer_range": keys.LAYER_RANGE},
        "The keys of `models`, and one more, which may be left out where the first source's "
        "layers are searched.",
    ),
    ("`modules`", keys.MODULE_KEYS, "Each by its name. Not in a study."),
    ("Filters", keys.FILTER_KEYS, "Each entry of a list in the place of a parameter's value."),
    ("`tokenizer`", keys.TOKENIZER_KEYS, ""),
    ("`tokens` of a tokenizer", keys.TOKEN_KEYS, "Each by the token."),
    ("`source` of a token", keys.ROW_KEYS, "In the place of a model."),
    ("`eutectic`", keys.OWN_KEYS, ""),
    ("Ranges", ranges.RANGE_KEYS, "In the place of a number of `parameters`."),
    (
        "Choices",
        ranges.CHOICE_KEYS,
        "In the place of a value of `parameters`, or of `merge_method`.",
    ),
    ("Ranges of layers", ranges.LAYER_KEYS, "In the place of an end of `layer_range`."),
)
HEAD = f"""\
# Every key of the study file

Made by `scripts/study_keys.py` from the code that reads studies; do not edit it. A key that is not
here is refused, with its place and the nearest one that is.

Editors complete and check a study with its [JSON schema]({FILE}). `eutectic schema -o {FILE}`
writes it anywhere; `eutectic init RECIPE --schema -o study.yaml` beside the study, whose first
line names it for editors with the YAML language server:

```yaml
# yaml-language-server: $schema={FILE}
```

The schema knows keys, types and bounds of single values. What it refuses, `check` refuses. But to
JSON `60.0` is a whole number and to `check` it is not; and what goes together, the models and the
tasks are the business of `check` alone. `--methods mine.py` puts your own methods into the schema.
"""
RECIPE_HEAD = """\
# The recipe

mergekit's YAML. Wherever a number of `parameters` stands there may be a range: see
[search spaces](search_spaces.md). Where a number is given in several places the innermost counts:
under the model, in its slice, in the recipe.
"""


def page() -> str:
    """The whole page."""
    tables = [HEAD, *(_form(*one) for one in FORMS), RECIPE_HEAD]
    tables += [_keys(*one) for one in RECIPE]
    return "\n".join([*tables, _parameters()])


def _form(title: str, form: type[BaseModel], said: str) -> str:
    lines = [
        f"| `{field.alias or name}` | {_type(field)} | {_default(field)} | {field.description} | "
        f"{_examples(field)} |"
        for name, field in form.model_fields.items()
    ]
    head = "| key | type | default | meaning | example |\n|---|---|---|---|---|"
    return "\n".join([f"## {title}\n\n{said}\n", head, *map(_row, lines), ""])


def _row(line: str) -> str:
    return line.replace("\n", " ")


def _keys(title: str, table: keys.Keys, said: str) -> str:
    lines = [
        f"| `{name}` | {key.form} | {key.meaning} | {_code(f'{name}: {key.example}')} |"
        for name, key in table.items()
    ]
    head = "| key | form | meaning | example |\n|---|---|---|---|"
    return "\n".join([f"## {title}\n", *([said, ""] if said else []), head, *lines, ""])


def _parameters() -> str:
    """Every parameter of every method that it belongs to."""
    rows: dict[tuple[str, Parameter], list[str]] = {}
    for method in METHODS.values():
        for one in method.parameters:
            plain = Parameter(**{**_fields(one), "default": None})
            rows.setdefault((one.name, plain), []).append(_with_default(method.name, one))
    lines = [
        f"| `{name}` | {one.expected()} | {'each model' if one.scope == 'model' else 'the output'}"
        f" | {one.meaning} | {', '.join(methods)} |"
        for (name, one), methods in sorted(rows.items(), key=lambda row: row[0][0])
    ]
    said = (
        "A value, a gradient (a list of values along depth), or filters. Behind a method stands "
        "its default; `needed`: it has none. [The methods](methods.md)."
    )
    head = "| parameter | value | one for | meaning | methods (default) |\n|---|---|---|---|---|"
    return "\n".join([f"## `parameters`\n\n{said}\n", head, *lines, ""])


def _fields(one: Parameter) -> dict[str, Any]:
    return {name: getattr(one, name) for name in Parameter.__slots__}


def _with_default(method: str, one: Parameter) -> str:
    return f"{method} ({'needed' if one.default is None else str(one.default).lower()})"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "needed"
    if isinstance(field.default, BaseModel):
        return "as below"
    empty = field.default is None or field.default == []
    return "" if empty else _code(_yaml(field.default))


def _examples(field: FieldInfo) -> str:
    return " or ".join(_code(_yaml(one)) for one in field.examples or [])


def _yaml(value: object) -> str:
    """A value on one line, as people write it."""
    if isinstance(value, str) and ("\n" in value or "{" in value):
        escaped = value.replace("\n", "\\n")
        return f'"{escaped}"'
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("...\n").strip()


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def _type(field: FieldInfo) -> str:
    """The type in words, with bounds."""
    return " or ".join(dict.fromkeys(_words(field.annotation, field.metadata)))


def _words(kind: Any, bounds: list[Any]) -> Iterator[str]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from _words(arguments[0], [*_flat(arguments[1:]), *bounds])
    elif origin in (typing.Union, types.UnionType):
        for one in arguments:
            yield from _words(one, bounds)
    elif origin is typing.Literal:
        yield ", ".join(f"`{one}`" for one in arguments)
    elif origin is list:
        yield "a list"
    elif origin is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)):
        yield "a mapping"
    elif kind is not type(None):
        yield _plain(kind, bounds)


def _flat(metadata: Any) -> Iterator[Any]:
    """The bounds within pydantic's own wrappers."""
    for one in metadata:
        yield from _flat(one.metadata) if isinstance(one, FieldInfo) else (one,)


def _plain(kind: type, bounds: list[Any]) -> str:
    said = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}[kind]
    low = next((f" from {one.ge:g}" for one in bounds if isinstance(one, Ge)), "")
    above = next((f" above {one.gt:g}" for one in bounds if isinstance(one, Gt)), "")
    high = next((f"{one.le:g}" for one in bounds if isinstance(one, Le)), "")
    high = high and (f", at most {high}" if above else f" to {high}")
    longest = next((one.max_length for one in bounds if isinstance(one, MaxLen)), None)
    size = f" of 1 to {longest} characters" if kind is str and longest else ""
    return said + low + above + high + size


def main() -> None:
    """Writes both files."""
    PAGE.write_text(page(), encoding="utf-8")
    (PAGE.parent / FILE).write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
