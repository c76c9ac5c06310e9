"""Which files a study's tasks may read: those in its folder, and what the user names.

A study may come from a stranger, and what its tasks read is shown in reports that are passed on:
`file: ../../taxes.csv` would carry a private file there. So a path that leaves the folder, or that
a link leads out of it, is read only where the command line (or `init`) named it. An absolute path
was written for this machine, and is read and told. What a run reads again is known by its digest
instead, for its study.yaml says where it came from.
"""

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evaluation.spec import LmEvalSpec, NativeSpec, TaskSpec
from merging.hashing import cache_folder, hash_files
from merging.headers import require_file

from .config import Study
from .errors import StudyError
from .named_files import remembered_files

VARIABLE = "EUTECTIC_ALLOW_FILES"
"""Files and folders as `--allow-file` names them, divided as in PATH."""


def refuse_outside(
    study: Study, spec: TaskSpec, allowed: Iterable[Path], *, trusted: bool = False
) -> None:
    """Looks at where a task's files are before one of them is opened.

    Args:
        study: Whose task it is.
        spec: The task.
        allowed: Files and folders that the command line names.
        trusted: Whether lm-eval YAMLs of the study's own may run as they like.

    Raises:
        StudyError: a file outside of the study's folder that nobody named.
    """
    named = [one.resolve() for one in (*allowed, *_environment())]
    if isinstance(spec, LmEvalSpec):
        place = spec.include_path
        if place is None or trusted or any(one.is_relative_to(place.resolve()) for one in named):
            return
        if not _within(place, [study.folder.resolve(), *named]):
            raise _outside(study, spec, "include_path", place)
        return
    if study.known is not None:
        if _digest(spec) == study.known.get(spec.name):
            return
    else:
        named += [study.folder.resolve(), *remembered_files(Path(study.document.file))]
    for key, file in _files(spec).items():
        told = study.known is None and _is_absolute(study, spec, key)
        if file.exists() and not told and not _within(file, named):
            raise _outside(study, spec, key, file)


def reach_notices(study: Study) -> list[str]:
    """Which absolute paths of tasks lead out of the study's folder, in one line, if any do."""
    found = [
        str(file)
        for spec in study.tasks
        if study.known is None and isinstance(spec, NativeSpec)
        for key, file in _files(spec).items()
        if _is_absolute(study, spec, key) and not _within(file, [study.folder.resolve()])
    ]
    named = ", ".join(dict.fromkeys(found))
    return [f"tasks read {named}; reports show questions of theirs"] if named else []


def _is_absolute(study: Study, spec: TaskSpec, key: str) -> bool:
    """Whether the study has an absolute path there."""
    data: Any = study.document.data
    written = next((one for one in data["tasks"] if one.get("name") == spec.name), None)
    for part in key.split("."):
        written = written.get(part) if isinstance(written, Mapping) else None
    return isinstance(written, str) and Path(written).is_absolute()


def file_digests(study: Study) -> Mapping[str, str]:
    """What a run writes down of its tasks' files, by task."""
    return {one.name: _digest(one) for one in study.tasks if isinstance(one, NativeSpec)}


def _files(spec: NativeSpec) -> dict[str, Path]:
    shots = {} if spec.fewshot.file is None else {"fewshot.from": spec.fewshot.file}
    return {"file": spec.file, **shots}


def _digest(spec: NativeSpec) -> str:
    """Of the names and bytes; empty where one is missing or no file."""
    files = _files(spec).values()
    if not all(file.exists() for file in files):
        return ""
    for file in files:
        require_file(file)
    return hash_files(files, cache_folder())


def _within(path: Path, places: Iterable[Path]) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(one) for one in places)


def _environment() -> list[Path]:
    return [Path(one) for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]


def _outside(study: Study, spec: TaskSpec, key: str, path: Path) -> StudyError:
    real = path.resolve()
    if study.known is None or isinstance(spec, LmEvalSpec):
        leads = f"leads to {real}," if path.is_symlink() else "lies"
        what = f"{leads} outside of the study's folder {study.folder}"
    elif spec.name in study.known:
        what = "is not the file that the run was begun with"
    else:
        what = "may be another file: the run's version of eutectic noted no digests of files"
    return StudyError(
        f"{spec.place} task {spec.name!r}: {key}: {path} {what}; reports show what tasks read, so "
        f"name it if that is meant: --allow-file {shlex.quote(str(real))} (or {VARIABLE}, "
        "which every command reads)"
    )
