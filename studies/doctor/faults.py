"""Every fault of a study that stands by itself, not the first alone.

`inspect` stops at its first fault. Where it does, models, tasks and the forms of the file are
looked at one by one, so that whoever mends a study sees all that is wrong at once. What depends on
a part that is at fault cannot be told.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from evaluation.errors import EvaluationError
from merging.checkpoint import Checkpoint
from merging.document import Document
from merging.errors import MergeError
from merging.layers import layer_layout
from merging.references import parse_reference
from merging.sources import open_checkpoint
from search.errors import SearchError
from search.space_walk import models_of
from search.stages import stages_from

from ..config import Study
from ..config_faults import every_fault
from ..errors import StudyError
from ..preflight import Permissions, check_weights, load_tasks, split_tasks
from ..schema import StudyForm

FAULTS = (MergeError, EvaluationError, SearchError, StudyError, OSError)
T = TypeVar("T")


def faults_of_form(document: Document, first: str) -> list[str]:
    """All that the form of a study file has wrong; `first` is what was told of it."""
    try:
        StudyForm.model_validate(document.data)
    except ValidationError as error:
        return _distinct(first, every_fault(document, error))
    return [first]


def faults_of_parts(
    study: Study, maps: Mapping[str, Path], permissions: Permissions, first: str
) -> list[str]:
    """The faults of models, ranges and tasks, each looked at by itself; `first` comes first."""
    return _distinct(first, _each(study, maps, permissions))


def _each(study: Study, maps: Mapping[str, Path], permissions: Permissions) -> Iterator[str]:
    data: Any = study.recipe.data
    base = data.get("base_model") if isinstance(data, dict) else None
    experts = models_of(data) if isinstance(data, dict) else []
    names = list(dict.fromkeys([*([base] if isinstance(base, str) else []), *experts]))
    opened: dict[str, Checkpoint] = {}
    for name in names:
        checkpoint, fault = _tried(partial(_open, study, name, maps, permissions))
        if checkpoint is not None:
            opened[name] = checkpoint
        yield from fault
    donor = opened.get(names[0]) if names else None
    if donor is not None:
        layers = layer_layout(donor.tensors, donor.config).length
        yield from _tried(partial(stages_from, study.recipe, layers=layers))[1]
        for spec in study.tasks:
            alone = replace(study, tasks=(spec,))
            yield from _tried(partial(_task, alone, names[0], donor, permissions))[1]
    for name, checkpoint in opened.items():
        one = {parse_reference(name): checkpoint}
        yield from _tried(partial(check_weights, one))[1]


def _open(
    study: Study, name: str, maps: Mapping[str, Path], permissions: Permissions
) -> Checkpoint:
    return open_checkpoint(
        parse_reference(name),
        folder=study.folder,
        mapping=maps,
        allow_pickle=permissions.allow_pickle,
    )


def _task(study: Study, base: str, donor: Checkpoint, permissions: Permissions) -> None:
    split_tasks(study, load_tasks(study, parse_reference(base), donor, permissions))


def _tried(call: Callable[[], T]) -> tuple[T | None, list[str]]:
    try:
        return call(), []
    except FAULTS as error:
        return None, [str(error)]


def _distinct(first: str, others: Iterator[str] | list[str]) -> list[str]:
    """The first fault, then those that it does not say already."""
    found = [first]
    for one in others:
        if not any(one in known or known in one for known in found):
            found.append(one)
    return found
