"""All about a study that can be known before a weight is loaded: its parts, and their faults.

`check` prints what this finds; `search` starts from it. Only headers, configs and task files are
read, and the weights once, streaming, for NaN and Inf.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.duplicates import Restated
from evaluation.errors import EvaluationError
from evaluation.spec import LmEvalSpec, TaskSpec
from evaluation.splits import SPLITS, assign_bound_splits, assign_splits, split_faults
from evaluation.task import Task
from merging.checkpoint import Checkpoint
from merging.errors import RecipeError, SourceError
from merging.finite import nonfinite
from merging.hashing import find_nonfinite
from merging.layers import layer_layout
from merging.plan import plan_notices, plan_recipe
from merging.recipe import ModelReference, Recipe, donor_of, models_of
from merging.recipe_reader import read_recipe
from merging.references import parse_reference
from merging.sources import open_checkpoint, spoken_models
from merging.vocabulary import vocabulary_faults, vocabulary_notices
from search.blocks import race_order
from search.errors import SearchError
from search.loop import source_faults
from search.objectives import Objective, resolve_metric, resolve_objective
from search.space import Space
from search.space_walk import models_of as expert_names
from search.space_walk import refuse_modules
from search.stages import Stages, stages_from
from search.warm_start import Reference, WarmStart, references, warm_starts

from .config import Study
from .errors import StudyError
from .reach import reach_notices, refuse_outside
from .sealing import Splits, seal_test
from .stacks import comparable, depth, refuse_unmovable


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the command line allows that could run code or read pickles."""

    allow_pickle: bool = False
    trust_remote_code: bool = False
    trust_task_code: bool = False
    allow_benchmark_test: bool = False
    allow_code: frozenset[Path] = frozenset()
    """Scorers, samplers (those of OptunaHub by name), and own lm-eval YAMLs with what they
    include and name."""
    allow_files: frozenset[Path] = frozenset()
    """Files and folders outside of the study's own that its tasks may read."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """A study whose every part was opened and agrees with the others."""

    study: Study
    maps: Mapping[str, Path]
    checkpoints: Mapping[ModelReference, Checkpoint]
    recipe: Recipe
    """The study's recipe at its starting values."""
    stages: Stages
    references: tuple[Reference, ...]
    warm_starts: tuple[WarmStart, ...]
    tasks: Mapping[str, Task]
    splits: Splits
    objectives: tuple[Objective, ...]
    notices: tuple[str, ...] = field(default=())
    permissions: Permissions = Permissions()
    restated: Mapping[str, Restated] = field(default_factory=dict)
    """Of each task, what was found in several splits; `splits` has it no longer in `test`."""

    @property
    def space(self) -> Space:
        """The space that the search begins in."""
        return self.stages.spaces[0]

    @property
    def base(self) -> ModelReference:
        """Gives config, tokenizer, the live model, and the zero of the scale."""
        return donor_of(self.recipe)


def inspect(study: Study, maps: Mapping[str, Path], permissions: Permissions) -> Preflight:
    """Opens and checks every part; raises the first fault in one message."""
    refuse_modules(study.recipe)
    base = base_name(study)
    opened = {base: _open(study, base, maps, permissions)}
    layout = layer_layout(opened[base].tensors, opened[base].config)
    stages = stages_from(study.recipe, layers=layout.length)
    space = stages.spaces[0]
    filled = study.recipe.with_data(space.fill(space.start))
    recipe, notices = read_recipe(filled, strict=True)
    for model in models_of(recipe):
        if model not in opened:
            opened[model] = _open(study, model, maps, permissions)
    opened = spoken_models(recipe, opened, folder=study.folder, mapping=maps, document=filled)
    refuse_vocabularies(opened)
    space.stack.refuse_outside(study.recipe, {str(one): depth(opened[one]) for one in opened})
    plan_recipe(recipe, opened, document=filled)
    refuse_unmovable(study.recipe, space, opened, base)
    compared, unlike = comparable(references(space), opened)
    warnings = (
        *(str(notice) for notice in notices),
        *plan_notices(recipe, opened, document=filled),
        *vocabulary_notices(opened),
        *unlike,
        *reach_notices(study),
    )
    tasks = load_tasks(study, base, opened[base], permissions)
    sealed, restated = seal_test(study, tasks, split_tasks(study, tasks))
    splits = {
        name: {**one, "search": race_order(tasks[name].items, one["search"], study.seed)}
        for name, one in sealed.items()
    }
    objectives = _objectives(study, tasks)
    _check_constraints(study, tasks, compared)
    check_weights(opened)
    return Preflight(
        study=study,
        maps=maps,
        checkpoints=opened,
        recipe=recipe,
        stages=stages,
        references=compared,
        warm_starts=warm_starts(space),
        tasks=tasks,
        splits=splits,
        objectives=objectives,
        notices=warnings,
        permissions=permissions,
        restated=restated,
    )


def check_weights(checkpoints: Mapping[ModelReference, Checkpoint]) -> None:
    """Refuses models with NaN or Inf in them.

    Reads every weight once, and never again while it is unchanged.
    """
    for model, checkpoint in checkpoints.items():
        if (tensor := find_nonfinite(checkpoint)) is not None:
            raise nonfinite(model, tensor, f" (folder {checkpoint.folder})")


def refuse_vocabularies(checkpoints: Mapping[ModelReference, Checkpoint]) -> None:
    """Refuses models whose embeddings differ in size."""
    for fault in vocabulary_faults(checkpoints):
        raise SourceError(fault)


def load_tasks(
    study: Study, base: ModelReference, checkpoint: Checkpoint, permissions: Permissions
) -> dict[str, Task]:
    """Every task of a study with its requests built."""
    return {spec.name: _load_task(study, spec, checkpoint, permissions) for spec in study.tasks}


def split_tasks(study: Study, tasks: Mapping[str, Task]) -> dict[str, dict[str, tuple[int, ...]]]:
    """Item indices of every split of every task; refuses splits of too few groups.

    `test` may still hold what other splits hold: `seal_test` is to follow.
    """
    splits = {}
    for spec in study.tasks:
        items = tasks[spec.name].items
        groups = [item.group for item in items]
        bound = [item.split for item in items]
        strata = [item.stratum for item in items]
        chosen = assign_bound_splits(groups, strata, bound, study.split, study.seed)
        wanted = {**study.split, "test": 1.0} if any(bound) else study.split
        for fault in split_faults(groups, chosen, wanted):
            raise StudyError(f"{spec.place} task {spec.name!r}: {fault}")
        splits[spec.name] = {
            split: tuple(index for index, name in enumerate(chosen) if name == split)
            for split in SPLITS
        }
    return splits


def base_name(study: Study) -> ModelReference:
    """The model that gives config and layers, from the recipe with its ranges still in it."""
    data = study.recipe.data
    named = data.get("base_model") if isinstance(data, Mapping) else None
    if isinstance(named, str):
        return _reference(study, named, "base_model")
    experts = expert_names(data) if isinstance(data, Mapping) else []
    if not experts:
        raise StudyError(str(study.recipe.error((), "the recipe names no models")))
    return _reference(study, experts[0], "models")


def _reference(study: Study, name: str, key: str) -> ModelReference:
    try:
        return parse_reference(name)
    except RecipeError as error:
        raise study.recipe.error((key,), str(error)) from None


def _open(
    study: Study, model: ModelReference, maps: Mapping[str, Path], permissions: Permissions
) -> Checkpoint:
    return open_checkpoint(
        model, folder=study.folder, mapping=maps, allow_pickle=permissions.allow_pickle
    )


def _load_task(
    study: Study, spec: TaskSpec, checkpoint: Checkpoint, permissions: Permissions
) -> Task:
    named = permissions.allow_files | permissions.allow_code
    refuse_outside(study, spec, named, trusted=permissions.trust_task_code)
    chat = None
    if spec.chat_template:
        from evaluation.chat import chat_renderer
        from merging.loading import load_tokenizer

        tokenizer = load_tokenizer(checkpoint, trust_remote_code=permissions.trust_remote_code)
        chat = chat_renderer(tokenizer)
    if isinstance(spec, LmEvalSpec):
        from evaluation.lm_eval_tasks import load_lm_eval_task

        return load_lm_eval_task(
            spec,
            trust_task_code=permissions.trust_task_code,
            allowed_code=permissions.allow_code,
            allow_benchmark_test=permissions.allow_benchmark_test,
            chat=chat,
        )
    from evaluation.native import load_native_task

    def calibration(groups: Sequence[str], strata: Sequence[str]) -> Sequence[bool]:
        chosen = assign_splits(groups, strata, study.split, study.seed)
        return [split == "calibration" for split in chosen]

    return load_native_task(
        spec,
        seed=study.seed,
        calibration=calibration,
        chat=chat,
        allowed_code=permissions.allow_code,
    )


def _objectives(study: Study, tasks: Mapping[str, Task]) -> tuple[Objective, ...]:
    try:
        return tuple(resolve_objective(spec, tasks) for spec in study.objectives)
    except SearchError as error:
        place = study.document.place(("objectives",))
        raise StudyError(f"{place} objectives: {error}") from None


def _check_constraints(
    study: Study, tasks: Mapping[str, Task], compared: Sequence[Reference]
) -> None:
    place = study.document.place(("constraints",))
    for spec in study.constraints:
        try:
            resolve_metric(spec.metric, tasks)
        except (SearchError, EvaluationError) as error:
            raise StudyError(f"{place} constraints: {error}") from None
    for fault in source_faults(study.constraints, compared):
        raise StudyError(f"{place} constraints: {fault}")
