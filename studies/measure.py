"""`evaluate`: one model or recipe on a study's tasks. Feeds no search, writes nothing."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from evaluation.errors import ExhaustedError
from evaluation.splits import SPLITS
from evaluation.statistics import standard_error
from evaluation.task import ItemResult, Task, result_rows
from merging.depth import moved_layers
from merging.document import Document, parse_documents, read_documents
from merging.opening import open_recipe
from merging.recipe import donor_of
from search.blocks import runs

from .config import Study
from .errors import StudyError
from .preflight import Permissions, check_weights, load_tasks, split_tasks
from .reopen import open_study
from .sealing import seal_test
from .session import Hardware, load_runner, refuse_hardware
from .summary import finite

if TYPE_CHECKING:
    from evaluation.harness import Harness


@dataclass(frozen=True, slots=True)
class _Target:
    """What is scored: a recipe's documents, the folder its names start at.

    Whether a run exported it.
    """

    name: str
    documents: tuple[Document, ...]
    folder: Path
    exported: bool


def evaluate_model(
    model: str,
    study_file: Path,
    split: str | None,
    maps: Mapping[str, Path],
    hardware: Hardware,
    permissions: Permissions,
    *,
    exact: bool = False,
) -> dict[str, Any]:
    """`{"model", "tasks": {task: {metric: {"value", "stderr", "items"}}}}`.

    All items unless `split` names one; a recipe that a run exported leaves out `test` unless
    asked for it. `exact` reads and rounds a recipe as mergekit does.
    """
    if split is not None and split not in SPLITS:
        raise StudyError(f"--split {split}: one of {', '.join(SPLITS)}")
    refuse_hardware(hardware)
    study, remembered = open_study(study_file)
    maps = {**remembered, **maps}
    target = _target(model, study, exact)
    found = open_recipe(
        target.documents,
        folder=target.folder,
        mapping=maps,
        allow_pickle=permissions.allow_pickle,
        keep="donor",
        exact=exact,
    )
    recipe = found.recipe
    if target.exported and recipe.mask_seed != study.seed:
        print(
            f"warning: {model} was found with seed {recipe.mask_seed}, the study splits with seed "
            f"{study.seed}: it may have been searched on what is scored now; give the run's own "
            "study.yaml as --study",
            file=sys.stderr,
        )
    check_weights(found.stored)
    tasks = load_tasks(study, donor_of(recipe), found.donor, permissions)
    chosen = _items(study, tasks, split, target.exported)

    from evaluation.harness import Harness
    from merging.candidate import build_candidate, live_model

    dtype = recipe.out_dtype or recipe.dtype
    order = moved_layers(found.jobs, found.donor)
    runner = load_runner(found.donor, hardware, dtype, permissions, order)
    harness = Harness(tuple(tasks.values()), runner)
    harness.settle()
    names = None if order is None else [job.name for job in found.jobs]
    live = live_model(runner.model, found.donor, names)
    build_candidate(
        live,
        found.jobs,
        lambda one, name: found.checkpoints[one].tensor(name),
        recipe.mask_seed,
        threads=hardware.threads or 1,
    )
    while True:
        try:
            return {"model": target.name, "tasks": _scores(harness, tasks, chosen)}
        except ExhaustedError:
            budget = harness.halve_budget()
            print(f"out of memory: {budget} tokens at once from now on", file=sys.stderr)


def _scores(
    harness: "Harness", tasks: Mapping[str, Task], chosen: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Task to metric to figures of the live model."""
    scores = {}
    for name, task in tasks.items():
        results: dict[str, ItemResult] = {}
        for block in runs(chosen[name]):
            results |= harness.score(name, block)
        scores[name] = _metrics(task, chosen[name], results)
    return scores


def print_scores(found: Mapping[str, Any]) -> None:
    """The same numbers as a table."""
    table = Table(title=Text(str(found["model"])), title_justify="left")
    for column in ("task", "metric", "value", "stderr", "items"):
        table.add_column(column, justify="left" if column in ("task", "metric") else "right")
    for task, metrics in found["tasks"].items():
        for metric, one in metrics.items():
            value, error = (
                "" if one[name] is None else f"{one[name]:.4f}" for name in ("value", "stderr")
            )
            table.add_row(Text(task), Text(metric), value, error, str(one["items"]))
    Console(highlight=False).print(table)


def _target(model: str, study: Study, exact: bool) -> _Target:
    path = Path(model)
    if path.is_file():
        documents = read_documents(path, exact=exact)
        first = documents[0].data
        own = first.get("eutectic") if isinstance(first, Mapping) else None
        exported = len(documents) == 1 and isinstance(own, Mapping) and "mask_seed" in own
        return _Target(model, documents, path.resolve().parent, exported)
    named = str(path.resolve()) if path.is_dir() else model
    text = (
        "merge_method: linear\n"
        f"models: [{{model: {_quoted(named)}, parameters: {{weight: 1.0}}}}]\n"
    )
    return _Target(model, parse_documents(text, model), study.folder, False)


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar; JSON's is one."""
    import json

    return json.dumps(text)


def _items(
    study: Study, tasks: Mapping[str, Task], split: str | None, exported: bool
) -> dict[str, Sequence[int]]:
    if split is None and not exported:
        return {name: range(len(task.items)) for name, task in tasks.items()}
    splits, _ = seal_test(study, tasks, split_tasks(study, tasks))
    wanted = [one for one in SPLITS if one != "test"] if split is None else [split]
    chosen: dict[str, Sequence[int]] = {
        name: sorted(index for one in wanted for index in splits[name][one]) for name in tasks
    }
    empty = [name for name, indices in chosen.items() if not indices]
    if empty:
        raise StudyError(f"--split {split}: task {empty[0]!r} has no items in it")
    return chosen


def _metrics(
    task: Task, indices: Sequence[int], results: Mapping[str, ItemResult]
) -> dict[str, dict[str, float | int | None]]:
    items = [task.items[index] for index in indices]
    groups, strata = [item.group for item in items], [item.stratum for item in items]
    found: dict[str, dict[str, float | int | None]] = {}
    for name, metric in task.metrics.items():
        rows = result_rows((results[item.key] for item in items), name)
        error = standard_error(rows, groups, strata, metric.aggregate)
        found[name] = {
            "value": finite(float(metric.aggregate(rows))),
            "stderr": finite(error),
            "items": len(items),
        }
    return found
