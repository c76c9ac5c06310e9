"""A run folder's study, as it was run: its folder and its `--map`s remembered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merging.document import read_document

from .config import Study, study_from
from .errors import RunError
from .run import RunFolder


def reopened(run: RunFolder) -> tuple[Study, Mapping[str, Path]]:
    """The study of a run with its maps; raises RunError where the folder it came from is gone."""
    document = read_document(run.study)
    data: Any = document.data
    section = data.get("resolved") if isinstance(data, dict) else None
    if not isinstance(section, dict) or "folder" not in section:
        raise RunError(f"{run.study}: the `resolved` section is missing; was it written by hand?")
    folder = Path(str(section["folder"]))
    if not folder.is_dir():
        raise RunError(
            f"{run.study}: the study came from {folder}, which is gone; put it back, or change "
            "`resolved.folder`"
        )
    maps = {str(name): Path(str(path)) for name, path in (section.get("maps") or {}).items()}
    return study_from(document, folder), maps
