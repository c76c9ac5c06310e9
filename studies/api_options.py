"""From arguments in Python to what the commands take."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .errors import StudyError
from .live.modes import Mode

if TYPE_CHECKING:
    from .session import Hardware

PathLike = str | os.PathLike[str]


def let_threads_sleep() -> None:
    """Before torch is loaded: OpenMP's threads sleep at barriers, as those of the commands do.

    On a busy machine threads that spin there make scoring many times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def written(path: Path, text: str) -> Path:
    """The path, with the text in it; raises StudyError where something else is."""
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise StudyError(
                f"{path}: exists already and says something else; choose another path"
            )
        return path
    path.write_text(text, encoding="utf-8")
    return path


def checked_maps(maps: Mapping[str, PathLike]) -> Mapping[str, Path]:
    """Each path must exist."""
    from .cli.options import parse_maps

    return parse_maps([f"{name}={os.fspath(path)}" for name, path in maps.items()])


def hardware_of(
    device: str | None, dtype: str | None, token_budget: int | None, threads: int | None
) -> "Hardware":
    """Where and how to score."""
    from .session import Hardware

    return Hardware(device, dtype, token_budget, threads)


def sampler_text(sampler: str | Mapping[str, Any] | None) -> str | None:
    """As `--sampler` has it: a mapping becomes one in braces."""
    if sampler is None or isinstance(sampler, str):
        return sampler
    return yaml.safe_dump(dict(sampler), default_flow_style=True, width=10**6).strip()


def mode_of(progress: str | None, quiet: bool) -> Mode:
    """How a search shows itself: as was asked for, else nothing where quiet is wanted."""
    from .cli.options import shown

    asked = one_of("progress", progress, tuple(Mode))
    return shown(None if asked is None else Mode(asked), quiet)


def storage_of(storage: str | None) -> str | None:
    """The server that keeps the run: as was asked for, else EUTECTIC_STORAGE."""
    return storage or os.environ.get("EUTECTIC_STORAGE") or None


def as_path(path: PathLike | None) -> Path | None:
    """As the commands have it."""
    return None if path is None else Path(path)


def one_of(name: str, value: str | None, known: Sequence[str]) -> str | None:
    """The value; raises StudyError for one that is not known."""
    if value is not None and value not in known:
        raise StudyError(f"{name}={value!r}: expected one of {', '.join(known)}")
    return value


def refuse_less(least: float, **asked: float | None) -> None:
    """Raises StudyError for a number below the least that the command line takes."""
    for name, value in asked.items():
        if value is not None and not value >= least:  # NaN is neither
            raise StudyError(f"{name}={value}: expected at least {least:g}")
