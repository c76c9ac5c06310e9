"""What `--track` asks for, refused before any work where it cannot be had."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from ..errors import StudyError

MODULES = {
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboard",),
}
"""The tools, which are the names of the extras too, and what each imports."""
PLACES = {"wandb": "PROJECT or ENTITY/PROJECT", "mlflow": "URI", "tensorboard": "DIR"}


@dataclass(frozen=True, slots=True)
class Track:
    """One tool; `place` is a URI, project or folder, empty for the tool's own default.

    A URI may hold a password: it is never shown.
    """

    tool: str
    place: str = ""


def parse_tracks(entries: Sequence[str]) -> tuple[Track, ...]:
    """`TOOL` or `TOOL:PLACE` entries; raises StudyError for one that cannot be had here."""
    tracks: list[Track] = []
    for entry in entries:
        tool, separator, place = entry.partition(":")
        if tool not in MODULES:
            raise StudyError(
                f"--track {tool}: expected one of {', '.join(MODULES)}, each alone or with a "
                "place: mlflow:URI, wandb:PROJECT, tensorboard:DIR"
            )
        if separator and not place.strip():
            raise StudyError(f"--track {tool}: nothing after the colon: give a {PLACES[tool]}")
        if any(one.tool == tool for one in tracks):
            raise StudyError(f"--track {tool}: given twice; one place for each tool")
        if any(find_spec(module) is None for module in MODULES[tool]):
            raise StudyError(
                f"--track {tool}: {tool} is an extra: install it with pip install "
                f"'eutectic[{tool}]' (from its folder: '.[{tool}]')"
            )
        tracks.append(Track(tool, place.strip()))
    if any(one.tool == "wandb" for one in tracks):
        from .wandb_tracker import refuse_unknown_user

        refuse_unknown_user()
    return tuple(tracks)
