"""`check` for people: a report of a screen, then warnings, then whether the search may begin."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..checkup import Checkup
from ..preflight import Preflight
from ..wording import clean, count, duration
from .measuring import Measured, first_look_seconds, per_candidate, seconds_of
from .phases import Phase
from .room import Room, gigabytes


def print_checkup(found: Checkup, measured: Measured | None, file: str) -> None:
    """Facts on standard output, warnings on standard error, the verdict last."""
    console = Console(highlight=False)
    if found.preflight is None:
        console.print(_facts({name: _shown(one) for name, one in found.data.items()}))
    else:
        _print_study(console, found, found.preflight, measured)
    sys.stdout.flush()
    told = Console(highlight=False, stderr=True)
    for warning in found.warnings:
        told.print(Text(f"warning: {clean(warning)}"), soft_wrap=True)
    warnings = f" {count(len(found.warnings), 'warning')} above." if found.warnings else ""
    console.print(f"No fault found.{warnings}")
    if found.preflight is not None:
        verdict = f"It may begin: eutectic search {clean(file)}"
        console.print(Text(verdict), style="bold green", soft_wrap=True)


def _print_study(
    console: Console, found: Checkup, preflight: Preflight, measured: Measured | None
) -> None:
    console.print(Text(str(found.data["name"])), style="bold")
    console.print(_facts(_search(found)))
    _heading(console, "Questions in each split")
    console.print(_questions(preflight))
    _heading(console, "What it takes")
    console.print(_phases(found.phases, preflight, measured))
    console.print(Text(_candidate(preflight, measured, found.data["items_per_candidate"])))
    if found.room is not None:
        _heading(console, "Memory and disk")
        console.print(_facts(_room(found.room, measured, found.data)))
    console.print()


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(text, style="bold")


def _search(found: Checkup) -> dict[str, str]:
    data = found.data
    later = [f"{size} with {count} anchors" for count, size in found.later]
    stages = f", then {', '.join(later)}" if later else ""
    names = data["parameters"]
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    layers = data.get("layers_of_candidates")
    return {
        "models": ", ".join(data["models"]),
        "merge methods": ", ".join(data["merge_methods"]),
        "dimensions": f"{data['dimensions']}{stages}",
        "parameters": shown,
        **({"layers of candidates": layers} if layers else {}),
        "sampler": data["sampler"],
        "objectives": ", ".join(data["objectives"]),
        "references": ", ".join(data["references"]),
        "warm starts": ", ".join(data["warm_starts"]),
        "budget": data["budget"],
    }


def _facts(rows: dict[str, str]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(Text(name.replace("_", " ")), Text(clean(value)))
    return table


def _questions(preflight: Preflight) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("task", overflow="fold")
    splits = list(next(iter(preflight.splits.values())))
    for name in (*splits, "said twice", "kept out"):
        table.add_column(name, justify="right")
    for task, one in preflight.splits.items():
        again = preflight.restated[task]
        counts = [*(len(one[split]) for split in splits), again.across, len(again.test)]
        table.add_row(Text(clean(task)), *(f"{number:,}" for number in counts))
    return table


def _phases(phases: tuple[Phase, ...], preflight: Preflight, measured: Measured | None) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("phase", no_wrap=True)
    table.add_column("items", justify="right", no_wrap=True)
    if measured is not None:
        table.add_column("time", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    total, known = 0.0, True
    for phase in phases:
        items = "-" if phase.items is None else f"{phase.items:,}"
        spent = None if measured is None else seconds_of(phase, preflight, measured)
        known, total = known and spent is not None, total + (spent or 0.0)
        told = "-" if spent is None else duration(spent)
        time = [] if measured is None else [told if spent is None or spent >= 1 else "< 1 s"]
        table.add_row(phase.name, items, *time, Text(phase.what))
    if measured is not None:
        whole = sum(phase.items or 0 for phase in phases)
        limit = preflight.study.budget.minutes
        told = duration(total) if known else f"{limit:g} min"
        table.add_row(
            "in all",
            f"{whole:,}",
            told,
            Text("at most, to build and to score" if known else "the budget"),
        )
    return table


def _candidate(preflight: Preflight, measured: Measured | None, items: int) -> str:
    if measured is None:
        return (
            f"One candidate in full is {items:,} items. --measure tells seconds: it loads models."
        )
    first = _brief(first_look_seconds(preflight, measured))
    slowest = max(measured.item, key=lambda task: measured.item[task])
    each = f"{1000 * measured.item[slowest]:.3g} ms"
    shorter = " Shorter: a `limit` for the tasks, or --minutes for the search."
    long = per_candidate(preflight, measured) > LONG
    return (
        f"Measured on one candidate: {_brief(per_candidate(preflight, measured))} a trial in full "
        f"({items:,} items), {first} for a first look; {_brief(measured.build)} of it to build. "
        f"Slowest task: {clean(slowest)}, {each} an item. The sampler's and the "
        f"race's own arithmetic comes on top.{shorter if long else ''}"
    )


def _brief(seconds: float) -> str:
    if seconds >= 1:
        return duration(seconds)
    return f"{1000 * seconds:.{0 if seconds >= 0.01 else 1}f} ms"


LONG = 120.0
"""Seconds of a trial in full, from which on a person may want fewer questions."""


def _room(room: Room, measured: Measured | None, data: dict[str, object]) -> dict[str, str]:
    largest = data.get("gigabytes_of_the_largest")
    live = f" (the largest candidate: {largest} GB as stored)" if largest else ""
    peak = "" if measured is None else f"; the measurement took {gigabytes(measured.peak)} at most"
    return {
        "models": f"{gigabytes(room.mapped)}, mapped from their files",
        "live model": f"{gigabytes(room.live)}{live}, and {gigabytes(room.scoring)} to score",
        "memory": f"{gigabytes(room.memory)}{peak}",
        "run folder": f"about {gigabytes(room.run)}",
        "export": f"{gigabytes(room.export)} (eutectic export --weights)",
        "free disk": gigabytes(room.free),
    }


def _shown(value: object) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)
