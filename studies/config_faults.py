"""From what pydantic finds wrong with a study file to the one message that helps most.

Where a value may have several forms, pydantic tells the faults of each; the user wrote one of
them, which shows in the fault that lies deepest.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from merging.document import Document, Path, nearest

from .schema import (
    BudgetForm,
    ConstraintForm,
    MeanForm,
    MetricForm,
    SplitForm,
    StudyForm,
    WinnerForm,
)
from .schema_tasks import FewshotForm, TaskForm

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

UNKNOWN = "extra_forbidden"
MISSING = "missing"


def first_fault(document: Document, error: ValidationError) -> str:
    """The fault with its place; a typo names the nearest key of the mapping it stands in."""
    faults = [(_real_path(document.data, one), one) for one in error.errors(include_url=False)]
    unknown = [
        (path, one)
        for path, one in faults
        if one["type"] == UNKNOWN and path[-1] not in _known_keys(path[:-1])
    ]
    others = [(path, one) for path, one in faults if one["type"] != UNKNOWN]
    path, fault = max(unknown or others or faults, key=_depth)
    return _message(document, path, fault)


def every_fault(document: Document, error: ValidationError) -> list[str]:
    """All faults, each place once: of the forms that a value may have, the deepest."""
    faults = [(_real_path(document.data, one), one) for one in error.errors(include_url=False)]
    kept: dict[Path, ErrorDetails] = {}
    for path, one in sorted(faults, key=_depth, reverse=True):
        known = one["type"] == UNKNOWN and path[-1] in _known_keys(path[:-1])
        if not known and not any(path == other[: len(path)] for other in kept):
            kept[path] = one
    order = sorted(kept, key=lambda path: (document.place(path).line, document.place(path).column))
    return [_message(document, path, kept[path]) for path in order]


def _message(document: Document, path: Path, fault: "ErrorDetails") -> str:
    if fault["type"] == UNKNOWN:
        known = _known_keys(path[:-1])
        close = nearest(str(path[-1]), known)
        hint = f"did you mean {close!r}?" if close else f"known keys: {', '.join(sorted(known))}"
        return document.message(path, f"unknown key; {hint}", key=True)
    if fault["type"] == MISSING:
        return document.message(path[:-1], f"the key {path[-1]!r} is missing")
    return document.message(path, f"{fault['msg']}, got {_short(fault['input'])}")


def _depth(fault: "tuple[Path, ErrorDetails]") -> tuple[int, bool]:
    path, one = fault
    return len(path), one["type"] != MISSING


def _real_path(data: object, fault: "ErrorDetails") -> Path:
    """Pydantic's location without the names of union members, which stand in no file."""
    path: list[str | int] = []
    for part in fault["loc"]:
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        path.append(part)
    return (*path, fault["loc"][-1]) if fault["type"] == MISSING else tuple(path)


def _known_keys(path: Path) -> list[str]:
    """The keys of the mapping at a path."""
    found: Sequence[type[BaseModel]] = (StudyForm,)
    for part in path:
        if isinstance(part, str) and part in FORMS:
            found = FORMS[part]
    return [field.alias or name for form in found for name, field in form.model_fields.items()]


FORMS: Mapping[str, Sequence[type[BaseModel]]] = {
    "tasks": (TaskForm,),
    "fewshot": (FewshotForm,),
    "objectives": (MetricForm, MeanForm),
    "mean": (MetricForm,),
    "constraints": (ConstraintForm,),
    "split": (SplitForm,),
    "winner": (WinnerForm,),
    "budget": (BudgetForm,),
}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
