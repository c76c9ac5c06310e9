"""The embedded model family on disk: trained once, reused afterwards, in the user's cache folder.

    demo-<fingerprint>/
        base/ reverse/ sort/ climb/    checkpoints: config, generation config, weights, tokenizer
        tasks/*.jsonl                  the questions, none of which was trained on
        study.yaml                     the study that `eutectic demo` searches
        family.json                    seconds of each training

The folder's name covers the whole plan, so a changed family is trained anew and an old one stays.
It is made under another name and renamed when complete; a lock lets one process train at a time.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StudyError
from .skills import make_rows, questions
from .study import study_text

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from .plan import Plan
    from .training import Course

Progress = Callable[[str, float], None]
"""Told what is being done and which share of the whole is, from 0 to 1."""

RECORD = "family.json"
"""Written last."""


@dataclass(frozen=True, slots=True)
class Family:
    """Where everything lies; `experts` by skill; `seconds` of the training, 0 where reused."""

    folder: Path
    base: Path
    experts: Mapping[str, Path]
    study: Path
    seconds: float


def ensure_family(
    cache: Path, *, progress: Progress | None = None, plan: "Plan | None" = None
) -> Family:
    """The family of a plan (the default one), trained first where it is not there yet.

    Args:
        cache: The user's cache folder; made where it is missing.
        progress: Told of each step.
        plan: Sizes and seeds.

    Raises:
        StudyError: the folder cannot be made or written.
    """
    from .plan import Plan

    plan = plan or Plan()
    tell = progress or _silent
    folder = cache / f"demo-{plan.fingerprint()}"
    try:
        return _ensure(folder, plan, tell)
    except OSError as fault:
        raise StudyError(
            f"{folder}: the demo's models cannot be kept there ({fault.strerror or fault}); "
            "set EUTECTIC_CACHE to a folder with 20 MB of space that you may write"
        ) from fault


def _ensure(folder: Path, plan: "Plan", tell: Progress) -> Family:
    """As `ensure_family`, with the errors of the file system."""
    from filelock import FileLock, Timeout

    if (folder / RECORD).is_file():
        return _found(folder, plan, 0.0)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell("waiting for another process that trains the family", 0.0)
        lock.acquire()
    try:
        if (folder / RECORD).is_file():
            return _found(folder, plan, 0.0)
        start = time.perf_counter()
        part = folder.with_name(f"{folder.name}.part")
        for remains in (part, folder):
            shutil.rmtree(remains, ignore_errors=True)
        _make(part, plan, tell)
        os.replace(part, folder)
        return _found(folder, plan, time.perf_counter() - start)
    finally:
        lock.release()


def _found(folder: Path, plan: "Plan", seconds: float) -> Family:
    """The family that lies in a folder."""
    experts = {name: folder / name for name in plan.asked()}
    return Family(folder, folder / "base", experts, folder / "study.yaml", seconds)


def _make(folder: Path, plan: "Plan", tell: Progress) -> None:
    """Writes tasks and study, trains base and experts."""
    from .tokenizer import make_tokenizer
    from .training import make_model, reproducible, train

    tell("writing the tasks", 0.0)
    taken = _write_tasks(folder / "tasks", plan)
    skills = tuple(plan.asked())
    (folder / "study.yaml").write_text(study_text(skills, plan.trials), encoding="utf-8")
    tokenizer = make_tokenizer(_symbols(), plan.shape.window)
    courses = {"base": plan.base_course(), **plan.expert_courses()}
    seconds: dict[str, float] = {}
    with reproducible(plan.threads):
        model = make_model(plan.shape, tokenizer, plan.seed)
        start: Mapping[str, object] = {}
        for name, course in courses.items():
            if start:
                model.load_state_dict(start)
            report = _share(f"training {name}", tuple(courses.values()), course, tell)
            seconds[name] = train(model, tokenizer, course, taken=taken, progress=report)
            _save(model, tokenizer, folder / name)
            start = start or {key: value.clone() for key, value in model.state_dict().items()}
    record = {"seconds": {name: round(value, 1) for name, value in seconds.items()}}
    (folder / RECORD).write_text(json.dumps(record) + "\n", encoding="utf-8")
    tell("trained", 1.0)


def _write_tasks(folder: Path, plan: "Plan") -> frozenset[str]:
    """Writes a file for each skill; returns every question in them."""
    folder.mkdir(parents=True)
    tables = {name: make_rows(one, plan.rows, plan.seed) for name, one in plan.asked().items()}
    for name, rows in tables.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return questions(tuple(tables.values()))


def _symbols() -> Sequence[str]:
    """The vocabulary."""
    from .skills import symbols

    return symbols()


def _share(
    what: str, courses: Sequence["Course"], now: "Course", tell: Progress
) -> Callable[[int], None]:
    """Turns the steps of one course into a share of all steps."""
    total = sum(course.steps for course in courses)
    before = sum(course.steps for course in courses[: courses.index(now)])
    return lambda steps: tell(what, (before + steps) / total)


def _save(model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerFast", folder: Path) -> None:
    """An ordinary checkpoint: config, generation config, safetensors, tokenizer."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # it would break up ours
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _silent(what: str, share: float) -> None:
    """Tells nobody."""
