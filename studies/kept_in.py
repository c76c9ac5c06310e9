"""Where a run folder says that its results are kept: in study.db, or on a database server."""

from pathlib import Path
from typing import Any

from merging.document import read_document

from .errors import RunError

KEY = "storage"
"""Of the `resolved` section: the server, without user and password."""


def refuse_elsewhere(study: Path, database: Path, storage: str | bool | None) -> None:
    """Raises RunError where the results are not where the command looks for them.

    Args:
        study: The run's study.yaml.
        database: Its study.db.
        storage: The server that the command names, or whether it names one.
    """
    folder = study.parent
    if storage and database.is_file():
        raise RunError(
            f"{folder}: its results are in its own {database.name}; leave --storage (and "
            f"EUTECTIC_STORAGE) out, or choose another folder and reuse what still applies: "
            f"--out NEW --from {folder}"
        )
    if not storage and not database.is_file() and (server := kept_in(study)):
        raise RunError(
            f"{folder}: its results are in the database {server}; name it, with user and "
            "password, by --storage URL or EUTECTIC_STORAGE=URL"
        )


def kept_in(study: Path) -> str:
    """The server that a run's study.yaml names; empty where there is none."""
    if not study.is_file():
        return ""
    data: Any = read_document(study).data
    section = data.get("resolved") if isinstance(data, dict) else None
    return str(section.get(KEY) or "") if isinstance(section, dict) else ""


def name_of(study: Path) -> str:
    """The study's name, which is the run's on a server."""
    data: Any = read_document(study).data
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not name:
        raise RunError(f"{study}: has no `name`; was it written by hand?")
    return name
