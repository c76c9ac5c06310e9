"""`check`: the first fault of a study or recipe before any weight is loaded, or what it costs."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from merging.document import Document, read_documents
from merging.opening import open_recipe
from merging.stream import byte_size
from search.anchors import LADDER

from .errors import StudyError
from .notices import few_groups, restated_items, shots_notices
from .preflight import Permissions, Preflight, check_weights, inspect
from .proposing import gradients_text, samplers_of
from .reopen import open_study
from .results import budget_text
from .sealing import restated_counts
from .stacks import largest_bytes, largest_facts
from .terms import (
    SearchOptions,
    items_per_candidate,
    overridden,
    refuse_hopeless,
    reserved_items,
)


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found: facts as plain data, and warnings. Faults are raised, not kept."""

    data: dict[str, Any]
    warnings: tuple[str, ...]


def check_file(
    path: Path, maps: Mapping[str, Path], permissions: Permissions, *, exact: bool = False
) -> Checkup:
    """Checks a study, or a recipe (a file without `recipe`); raises the first fault."""
    documents = read_documents(path, exact=exact)
    document = documents[0]
    if isinstance(document.data, Mapping) and "recipe" in document.data:
        study, remembered = open_study(path)
        study = overridden(study, SearchOptions(exact=exact))
        preflight = inspect(study, {**remembered, **maps}, permissions)
        refuse_hopeless(preflight)
        return _study_checkup(preflight)
    if not isinstance(document.data, Mapping) or "merge_method" not in document.data:
        raise StudyError(
            f"{path}:1:1 neither a study (it has no `recipe`) nor a recipe (no `merge_method`)"
        )
    return _recipe_checkup(documents, path.resolve().parent, maps, permissions, exact)


def print_checkup(found: Checkup) -> None:
    """Facts as a table on standard output, warnings on standard error."""
    console = Console(highlight=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in found.data.items():
        # Counts that each task has: a row a task, as the rows of its splits.
        rows = value if isinstance(value, dict) else {"": value}
        for task, one in rows.items():
            table.add_row(Text(f"{name.replace('_', ' ')} {task}".strip()), Text(_shown(one)))
    console.print(table)
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    console.print("No fault found.")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in value.items())
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _recipe_checkup(
    documents: Sequence[Document],
    folder: Path,
    maps: Mapping[str, Path],
    permissions: Permissions,
    exact: bool,
) -> Checkup:
    found = open_recipe(
        documents,
        folder=folder,
        mapping=maps,
        allow_pickle=permissions.allow_pickle,
        exact=exact,
    )
    check_weights(found.stored)
    data = {
        "merge_method": found.recipe.merge_method,
        **({"stages": list(found.stages)} if found.stages else {}),
        "models": [str(model) for model in found.stored],
        "tensors": len(found.jobs),
        "gigabytes_read": _gigabytes(found.stored.values()),
    }
    return Checkup(data, found.notices)


def _study_checkup(found: Preflight) -> Checkup:
    study = found.study
    chosen = [(str(sampler), reason) for sampler, reason in samplers_of(found)]
    first = {name: reason for name, reason in reversed(chosen)}  # of equal ones the first
    samplers = [f"{name} ({first[name]})" for name in dict.fromkeys(name for name, _ in chosen)]
    sizes = found.stages.sizes
    data: dict[str, Any] = {
        "name": study.name,
        "models": [str(model) for model in found.checkpoints],
        "merge_methods": list(found.space.methods),
        "dimensions": sizes[0],
        **({"stages": _stages(sizes)} if len(sizes) > 1 else {}),
        "parameters": [one.name for one in found.space.dimensions],
        "sampler": "; then ".join(samplers),
        "objectives": [f"{one.name} ({one.metric})" for one in found.objectives],
        "references": [one.name for one in found.references],
        "warm_starts": [one.name for one in found.warm_starts],
        "gradients": gradients_text(found),
        "budget": budget_text(study.budget),
        "items_per_candidate": items_per_candidate(found),
        "items_for_select_and_test_at_most": reserved_items(found),
        **{
            f"task_{task}": ", ".join(f"{split} {len(one)}" for split, one in splits.items())
            for task, splits in found.splits.items()
        },
        "restated": {task: restated_counts(one) for task, one in found.restated.items()},
        "gigabytes_read": _gigabytes(found.checkpoints.values()),
        **largest_facts(found),
    }
    sentences = (*shots_notices(found), *few_groups(found), *restated_items(found))
    return Checkup(data, (*found.notices, *sentences, *_room(found)))


def _stages(sizes: Sequence[int]) -> list[str]:
    """The dimensions of every stage of a search with `anchors: auto`."""
    counts = zip(("1 anchor", *(f"{count} anchors" for count in LADDER[1:])), sizes, strict=False)
    return [f"{anchors}: {size} dimensions" for anchors, size in counts]


def _gigabytes(checkpoints: Any) -> float:
    total = sum(byte_size(info) for one in checkpoints for info in one.tensors.values())
    return float(f"{total / 1e9:.3g}")


def _room(found: Preflight) -> list[str]:
    """Warnings about memory and disk; both are guesses, so they warn and do not refuse."""
    live = largest_bytes(found)
    warnings = []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if live * 1.5 > memory:
        warnings.append(
            f"the live model takes {live / 1e9:.1f} GB, the machine has {memory / 1e9:.1f} GB"
        )
    free = shutil.disk_usage(Path.cwd()).free
    if free < 200_000_000:
        warnings.append(f"only {free / 1e6:.0f} MB are free where the run folder goes")
    return warnings
