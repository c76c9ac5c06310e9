"""`check`: what stands in the way of a search, what is odd, and what it will cost.

Faults come first, and all that can be told apart; then warnings; then items, memory and disk. No
weight is loaded for any of that. With `--measure` one candidate is built and scored at the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import EvaluationError
from merging.document import Document, read_documents
from merging.errors import MergeError
from merging.opening import open_recipe
from search.anchors import LADDER
from search.errors import SearchError

from .config import Study
from .doctor.faults import faults_of_form, faults_of_parts
from .doctor.idle import idle_parameters, idle_text
from .doctor.phases import Phase, phases_of
from .doctor.room import Room, mapped_bytes, room_of
from .doctor.speech import speech_warnings
from .errors import StudyError
from .notices import few_groups, restated_items, shots_notices
from .preflight import Permissions, Preflight, check_weights, inspect
from .proposing import gradients_text, samplers_of
from .reopen import open_study
from .results import budget_text
from .sealing import restated_counts
from .session import Hardware, refuse_hardware
from .stacks import largest_facts
from .terms import (
    SearchOptions,
    items_per_candidate,
    overridden,
    refuse_hopeless,
    reserved_items,
)

FAULTS = (MergeError, EvaluationError, SearchError, StudyError)


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found: facts as plain data, warnings, and faults (then there are no facts).

    A study that may begin has its `preflight`; of a plain recipe there is none.
    """

    data: dict[str, Any]
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    preflight: Preflight | None = None
    phases: tuple[Phase, ...] = ()
    room: Room | None = None

    @property
    def later(self) -> list[tuple[int, int]]:
        """Anchors and dimensions of the stages after the first."""
        sizes = self.preflight.stages.sizes if self.preflight else ()
        return list(zip(LADDER[1:], sizes[1:], strict=False))


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says about one `check`.

    `hardware` is what it would be measured on, None where that is left open; `raising`: the first
    fault is raised, for whoever wants its type or its traceback.
    """

    maps: Mapping[str, Path]
    permissions: Permissions
    exact: bool = False
    hardware: Hardware | None = None
    raising: bool = False


def check_file(path: Path, asked: Asked) -> Checkup:
    """Checks a study, or a recipe (a file without `recipe`); its faults are kept, not raised."""
    try:
        documents = read_documents(path, exact=asked.exact)
        document = documents[0]
        if isinstance(document.data, Mapping) and "recipe" in document.data:
            return _study(path, document, asked)
        if not isinstance(document.data, Mapping) or "merge_method" not in document.data:
            raise StudyError(
                f"{path}:1:1 neither a study (it has no `recipe`) nor a recipe (no `merge_method`)"
            )
        return _recipe_checkup(documents, path.resolve().parent, asked)
    except FAULTS as error:
        return Checkup({}, faults=(_told(error, asked),))


def _told(error: Exception, asked: Asked) -> str:
    if asked.raising:
        raise error
    return str(error)


def _study(path: Path, document: Document, asked: Asked) -> Checkup:
    try:
        study, remembered = open_study(path)
    except StudyError as error:
        return Checkup({}, faults=tuple(faults_of_form(document, _told(error, asked))))
    study = overridden(study, SearchOptions(exact=asked.exact))
    maps = {**remembered, **asked.maps}
    try:
        return _study_checkup(_sound(study, maps, asked), asked)
    except FAULTS as error:
        first = _told(error, asked)
        return Checkup({}, faults=tuple(faults_of_parts(study, maps, asked.permissions, first)))


def _sound(study: Study, maps: Mapping[str, Path], asked: Asked) -> Preflight:
    preflight = inspect(study, maps, asked.permissions)
    refuse_hopeless(preflight)
    if asked.hardware is not None:
        refuse_hardware(asked.hardware)
    return preflight


def _recipe_checkup(documents: Sequence[Document], folder: Path, asked: Asked) -> Checkup:
    found = open_recipe(
        documents,
        folder=folder,
        mapping=asked.maps,
        allow_pickle=asked.permissions.allow_pickle,
        exact=asked.exact,
    )
    check_weights(found.stored)
    data = {
        "merge_method": found.recipe.merge_method,
        **({"stages": list(found.stages)} if found.stages else {}),
        "models": [str(model) for model in found.stored],
        "tensors": len(found.jobs),
        "gigabytes_read": _gigabytes(mapped_bytes(found.stored)),
    }
    return Checkup(data, found.notices)


def _study_checkup(found: Preflight, asked: Asked) -> Checkup:
    study, sizes = found.study, found.stages.sizes
    phases = phases_of(found)
    dtype = asked.hardware.dtype if asked.hardware else None
    room = room_of(found, sum(one.items or 0 for one in phases), dtype)
    idle = idle_parameters(found)
    data: dict[str, Any] = {
        "name": study.name,
        "models": [str(model) for model in found.checkpoints],
        "merge_methods": list(found.space.methods),
        "dimensions": sizes[0],
        **({"stages": _stages(sizes)} if len(sizes) > 1 else {}),
        "parameters": [one.name for one in found.space.dimensions],
        "parameters_that_do_nothing": [name for one in idle for name in one.names],
        "sampler": _samplers(found),
        "objectives": [f"{one.name} ({one.metric})" for one in found.objectives],
        "references": [one.name for one in found.references],
        "warm_starts": [one.name for one in found.warm_starts],
        "gradients": gradients_text(found),
        "budget": budget_text(study.budget),
        "items_per_candidate": items_per_candidate(found),
        "items_for_select_and_test_at_most": reserved_items(found),
        "phases": [{"phase": p.name, "items": p.items, "what": p.what} for p in phases],
        **{
            f"task_{task}": ", ".join(f"{split} {len(one)}" for split, one in splits.items())
            for task, splits in found.splits.items()
        },
        "restated": {task: restated_counts(one) for task, one in found.restated.items()},
        "gigabytes_read": _gigabytes(mapped_bytes(found.checkpoints)),
        "gigabytes": _sizes(room),
        **largest_facts(found),
    }
    warnings = (
        *found.notices,
        *(idle_text(one) for one in idle),
        *speech_warnings(found),
        *shots_notices(found),
        *few_groups(found),
        *restated_items(found),
        *room.warnings,
    )
    return Checkup(data, warnings, preflight=found, phases=phases, room=room)


def _samplers(found: Preflight) -> str:
    chosen = [(str(sampler), reason) for sampler, reason in samplers_of(found)]
    first = {name: reason for name, reason in reversed(chosen)}  # of equal ones the first
    names = dict.fromkeys(name for name, _ in chosen)
    return "; then ".join(f"{name} ({first[name]})" for name in names)


def _stages(sizes: Sequence[int]) -> list[str]:
    """The dimensions of every stage of a search with `anchors: auto`."""
    counts = zip(("1 anchor", *(f"{count} anchors" for count in LADDER[1:])), sizes, strict=False)
    return [f"{anchors}: {size} dimensions" for anchors, size in counts]


def _gigabytes(size: int) -> float:
    return float(f"{size / 1e9:.3g}")


def _sizes(room: Room) -> dict[str, float]:
    """Room in gigabytes, by what takes it."""
    sizes = {
        "models_mapped": room.mapped,
        "live_model": room.live,
        "scoring_pass": room.scoring,
        "memory": room.memory,
        "run_folder": room.run,
        "export": room.export,
        "disk_free": room.free,
    }
    return {name: _gigabytes(size) for name, size in sizes.items()}
