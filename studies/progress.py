"""How the training of the demo's family shows itself on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

from .live.events import Event
from .live.modes import Mode
from .live.voices import JsonLines, can_draw

Show = Callable[[str, float], None]
"""Called with a stage and the share of the whole that is done, in [0, 1]."""


@contextmanager
def training_display(mode: Mode) -> Iterator[Show]:
    """Shows training; what it yields is called as it goes on."""
    console = Console(stderr=True)
    if mode is Mode.live or (mode is Mode.auto and can_draw(console)):
        with Progress(console=console, transient=True) as bar:
            yield _bar(bar)
    elif mode is Mode.json:
        yield _once(lambda stage: JsonLines(sys.stderr.write).tell(_event(stage)))
    elif mode is Mode.none:
        yield lambda stage, share: None
    else:
        yield _once(lambda stage: console.print(f"{stage} ...", markup=False))


def _event(stage: str) -> Event:
    return Event("phase", stage, stage, {"phase": stage, "candidates": 0})


def _once(tell: Callable[[str], None]) -> Show:
    """Tells a stage when it begins."""
    told: set[str] = set()

    def show(stage: str, share: float) -> None:
        if stage not in told:
            told.add(stage)
            tell(stage)

    return show


def _bar(bar: Progress) -> Show:
    stages: dict[str, TaskID] = {}

    def show(stage: str, share: float) -> None:
        if stage not in stages:
            stages[stage] = bar.add_task(stage, total=1.0)
        bar.update(stages[stage], completed=share)

    return show
