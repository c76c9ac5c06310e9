"""A study file opened where its names start.

One that a run keeps remembers folder and `--map`s.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merging.document import Document, read_document

from .config import Study, study_from
from .errors import RunError
from .run import RunFolder


def reopened(run: RunFolder) -> tuple[Study, Mapping[str, Path]]:
    """The study of a run with its maps; raises RunError where the folder it came from is gone."""
    document = read_document(run.study)
    if not isinstance(document.data, dict) or "resolved" not in document.data:
        raise RunError(f"{run.study}: the `resolved` section is missing; was it written by hand?")
    return _from_document(document, run.study)


def begun_exact(run: RunFolder) -> bool:
    """Whether a run that is there was begun with --mergekit-exact."""
    if not run.study.is_file() or not run.begun:
        return False
    data: Any = read_document(run.study).data
    recipe = data.get("recipe") if isinstance(data, dict) else None
    own = recipe.get("eutectic") if isinstance(recipe, dict) else None
    return isinstance(own, dict) and own.get("exact") is True


def open_study(path: Path) -> tuple[Study, Mapping[str, Path]]:
    """A study file with its maps: the user's own has none, a run's study.yaml those of the run."""
    return _from_document(read_document(path), path)


def _from_document(document: Document, path: Path) -> tuple[Study, Mapping[str, Path]]:
    data: Any = document.data
    section = data.get("resolved") if isinstance(data, dict) else None
    if not isinstance(section, dict):
        return study_from(document, path.resolve().parent), {}
    folder = Path(str(section.get("folder", "")))
    if not folder.is_absolute() or not folder.is_dir():
        raise RunError(
            f"{document.place(('resolved', 'folder'))} the study came from {str(folder)!r}, which "
            "is gone; put it back, or change `resolved.folder`"
        )
    maps = section.get("maps")
    named = maps.items() if isinstance(maps, dict) else ()
    return study_from(document, folder), {name: Path(str(place)) for name, place in named}
