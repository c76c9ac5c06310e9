"""Everything about a study that can be known before a weight is loaded: models, space, tasks, splits, faults.

`check` prints what this finds; `search` starts from it. Only headers, configs and task files are read, and the
weights once, streaming, for NaN and Inf.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.native import load_native_task
from evaluation.spec import LmEvalSpec, TaskSpec
from evaluation.splits import SPLITS, assign_splits, split_faults
from evaluation.task import Task
from merging.checkpoint import Checkpoint
from merging.layers import layer_layout
from merging.plan import plan_recipe
from merging.recipe import ModelReference, models_of, read_recipe
from merging.references import parse_reference
from merging.sources import find_nonfinite, open_checkpoint
from merging.vocabulary import vocabulary_faults
from search.coordinates import Coordinates
from search.objectives import Objective, resolve_metric, resolve_objective
from search.space import Space, space_from
from search.warm_start import Reference, references

from .config import Study
from .errors import StudyError


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the command line allows that could run code or read pickles."""

    allow_pickle: bool = False
    trust_remote_code: bool = False
    trust_task_code: bool = False
    allow_benchmark_test: bool = False
    allow_code: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Preflight:
    """A study whose every part was opened and agrees with the others."""

    study: Study
    checkpoints: Mapping[ModelReference, Checkpoint]
    base: ModelReference
    """Gives the config, the tokenizer and the zero of the scale."""
    experts: tuple[ModelReference, ...]
    space: Space
    coordinates: Coordinates
    references: tuple[Reference, ...]
    tasks: Mapping[str, Task]
    splits: Mapping[str, Mapping[str, tuple[int, ...]]]
    """Task to split to item indices."""
    objectives: tuple[Objective, ...]
    notices: tuple[str, ...] = field(default=())
