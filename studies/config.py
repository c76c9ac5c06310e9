"""A study file, read: the recipe as a document with ranges, the rest as frozen dataclasses.

Faults carry the place in the file. Nothing here opens a model or a task's data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from evaluation.spec import TaskSpec
from merging.document import Document, nearest, read_document
from merging.document import Path as KeyPath
from search.objectives import Budget, ConstraintSpec, MetricRef, ObjectiveSpec, Rule
from search.sampler_spec import SamplerSpec

from .config_faults import first_fault
from .config_sampler import read_sampler
from .config_tasks import fault_at, read_task
from .errors import StudyError
from .schema import (
    ConstraintForm,
    MeanForm,
    SplitForm,
    StudyForm,
    WinnerForm,
)

Gradients = Literal["auto", "on", "refine", "off"]
"""Points from gradients where they pay, wherever they apply, steps from the front too; none."""


@dataclass(frozen=True, slots=True)
class Study:
    """A study file: `recipe` still holds ranges; `folder` is where its relative names start."""

    name: str
    document: Document
    recipe: Document
    tasks: tuple[TaskSpec, ...]
    objectives: tuple[ObjectiveSpec, ...]
    constraints: tuple[ConstraintSpec, ...]
    split: Mapping[str, float]
    rule: Rule
    weights: Mapping[str, float]
    rule_task: str | None
    budget: Budget
    sampler: SamplerSpec
    racing: bool
    gradients: Gradients
    seed: int
    folder: Path
    known: Mapping[str, str] | None = None
    """Of a study that a run keeps: the digest of each task's files; None for a file of its own."""


def read_study(path: Path) -> Study:
    """Reads and validates a study file.

    Raises StudyError or RecipeError with `file:line:column`.
    """
    return study_from(read_document(path), path.resolve().parent)


def study_from(document: Document, folder: Path) -> Study:
    """A study from a parsed document whose relative names start at `folder`."""
    form = _validated(StudyForm, document)
    names = [task.name for task in form.tasks]
    for index, name in enumerate(names):
        if name in names[:index]:
            first = document.place(("tasks", names.index(name), "name"))
            fault_at(
                document, ("tasks", index, "name"), f"task {name!r} is already named at {first}"
            )
    tasks = tuple(
        read_task(document, index, task, folder) for index, task in enumerate(form.tasks)
    )
    objectives = _objectives(document, form, names)
    return Study(
        name=form.name,
        document=document,
        recipe=document.child("recipe"),
        tasks=tasks,
        objectives=objectives,
        constraints=tuple(
            _constraint(document, index, constraint, names)
            for index, constraint in enumerate(form.constraints)
        ),
        split=_split(document, form.split),
        rule=form.winner.rule,
        weights=_weights(document, form.winner, [objective.name for objective in objectives]),
        rule_task=form.winner.task,
        budget=Budget(form.budget.trials, form.budget.items, form.budget.minutes),
        sampler=read_sampler(document, form.sampler),
        racing=form.racing,
        gradients=form.gradients,
        seed=form.seed,
        folder=folder,
    )


def _validated(form: type[StudyForm], document: Document) -> StudyForm:
    try:
        return form.model_validate(document.data)
    except ValidationError as error:
        raise StudyError(first_fault(document, error)) from None


RESERVED = frozenset({"number", "state", "items"})
"""Columns of trials.csv beside parameters and objectives."""


def _objectives(
    document: Document, form: StudyForm, tasks: list[str]
) -> tuple[ObjectiveSpec, ...]:
    if not form.objectives:
        return tuple(ObjectiveSpec(name, (MetricRef(name),)) for name in tasks)
    objectives = []
    for name, objective in form.objectives.items():
        if name in RESERVED:
            fault_at(document, ("objectives", name), "trials.csv has a column of that name")
        parts = objective.mean if isinstance(objective, MeanForm) else [objective]
        for part in parts:
            _known_task(document, ("objectives", name), part.task, tasks)
        refs = tuple(MetricRef(part.task, part.metric) for part in parts)
        objectives.append(ObjectiveSpec(name, refs))
    return tuple(objectives)


def _known_task(document: Document, path: KeyPath, task: str, tasks: list[str]) -> None:
    if task not in tasks:
        close = nearest(task, tasks)
        hint = f"did you mean {close!r}?" if close else f"tasks: {', '.join(tasks)}"
        fault_at(document, path, f"no task is named {task!r}; {hint}")


def _constraint(
    document: Document, index: int, form: ConstraintForm, tasks: list[str]
) -> ConstraintSpec:
    path: KeyPath = ("constraints", index)
    _known_task(document, path, form.task, tasks)
    if (form.max_drop is None) == (form.min is None and form.max is None):
        fault_at(document, path, "a constraint has either `max_drop` or `min` / `max`")
    return ConstraintSpec(
        MetricRef(form.task, form.metric), form.max_drop, form.min, form.max, form.source
    )


def _split(document: Document, form: SplitForm) -> Mapping[str, float]:
    shares = {name: float(share) for name, share in form.model_dump().items()}
    if abs(sum(shares.values()) - 1) > 1e-6:
        fault_at(document, ("split",), f"the shares add up to {sum(shares.values()):.6g}, not 1")
    return shares


def _weights(document: Document, form: WinnerForm, objectives: list[str]) -> Mapping[str, float]:
    path: KeyPath = ("winner",)
    if form.rule == "task":
        if form.task is None:
            fault_at(document, path, "the rule `task` needs `task: NAME`")
        _known_objective(document, (*path, "task"), form.task, objectives)
    if form.rule != "weighted":
        return {}
    if not form.weights or sum(form.weights.values()) <= 0:
        fault_at(document, path, "the rule `weighted` needs `weights` with a positive sum")
    for name in form.weights:
        _known_objective(document, (*path, "weights"), name, objectives)
    return dict(form.weights)


def _known_objective(document: Document, path: KeyPath, name: str, objectives: list[str]) -> None:
    if name not in objectives:
        close = nearest(name, objectives)
        hint = f"did you mean {close!r}?" if close else f"objectives: {', '.join(objectives)}"
        fault_at(document, path, f"no objective is named {name!r}; {hint}")
