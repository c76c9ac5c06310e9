"""What a shell offers behind a command: run folders, trials of a run. Reads no database."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import typer

MOST = 200
"""Offers at once: a shell shows no more."""
DATABASE, STUDY, LOG = "study.db", "study.yaml", "log.txt"


def complete_runs(incomplete: str) -> list[str]:
    """Run folders whose path begins so: those in `runs/`, and those where the path leads."""
    typed = Path(incomplete)
    below = typed if incomplete.endswith("/") else typed.parent
    places = dict.fromkeys((Path("runs"), below))
    found = [str(one) for place in places for one in _runs(place)]
    return [one for one in dict.fromkeys(found) if one.startswith(incomplete)][:MOST]


def complete_trials(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Numbers of the trials of the run that was named, with their state."""
    words = [context.params.get("run"), *context.args]  # an option without its value ends parsing
    run = next((one for one in words if one and Path(one).is_dir()), None)
    if run is None:
        return []
    found: list[tuple[str, str]] = []
    with suppress(OSError, ValueError, csv.Error), (Path(run) / "trials.csv").open() as file:
        for row in csv.DictReader(file):
            number = row.get("number") or ""
            if number.startswith(incomplete):
                found.append((number, row.get("state") or ""))
    return found[:MOST]


def _runs(place: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(one for one in islice(place.iterdir(), 10_000) if _is_run(one))


def _is_run(folder: Path) -> bool:
    with suppress(OSError):
        if (folder / DATABASE).is_file():
            return True
        return (folder / STUDY).is_file() and (folder / LOG).is_file()  # a server keeps the rest
    return False
