"""Who tells a search on standard error: nobody, plain lines, JSON lines, or a live picture."""

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from rich.console import Console, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.text import Text

from ..errors import StudyError
from .events import Event
from .modes import Mode
from .picture import Picture
from .snapshot import Snapshot

REFRESH = 4
"""Pictures a second."""
BURST, PACE = 40, 2.0
"""So many plain lines at once, then so many a second."""


class Voice(Protocol):
    """Tells events; `close` ends it and may be called twice."""

    def tell(self, event: Event) -> None:
        """Something happened."""
        ...

    def close(self) -> None:
        """Nothing more happens."""
        ...


@dataclass(slots=True)
class Quiet:
    """Warnings, nothing else."""

    console: Console

    def tell(self, event: Event) -> None:
        """Prints a warning."""
        if event.kind == "warning":
            self.console.print(Text(event.line), soft_wrap=True)

    def close(self) -> None:
        """Nothing to end."""


@dataclass(slots=True)
class PlainLines:
    """A line an event, with the time; of many trials a second only some, and how many not."""

    console: Console
    clock: Callable[[], float] = time.monotonic
    _room: float = field(default=float(BURST), init=False)
    _at: float | None = field(default=None, init=False)
    _held: int = field(default=0, init=False)
    _last: str = field(default="", init=False)

    def tell(self, event: Event) -> None:
        """Prints the event's line, unless there are too many."""
        if not event.line:
            return
        if event.many and not self._allowed():
            self._held, self._last = self._held + 1, event.line
            return
        self._release()
        stamp = f"{time.strftime('%H:%M:%S')} " if event.kind in ("candidate", "phase") else ""
        self._print(stamp + event.line)

    def close(self) -> None:
        """Tells the last of what was held back."""
        self._release()

    def _allowed(self) -> bool:
        now = self.clock()
        passed = 0.0 if self._at is None else now - self._at
        self._at, self._room = now, min(float(BURST), self._room + passed * PACE)
        if self._room < 1.0:
            return False
        self._room -= 1.0
        return True

    def _release(self) -> None:
        if self._held:
            more = f" (and {self._held - 1} before it: log.txt)" if self._held > 1 else ""
            self._print(f"{time.strftime('%H:%M:%S')} {self._last}{more}")
        self._held = 0

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)


@dataclass(slots=True)
class JsonLines:
    """One JSON object a line and event."""

    write: Callable[[str], object]

    def tell(self, event: Event) -> None:
        """Writes the event: `event`, `time` (UTC), and what its kind has."""
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.write(json.dumps({"event": event.kind, "time": stamp, **event.data}) + "\n")

    def close(self) -> None:
        """Nothing to end."""


class LivePicture:
    """The picture, four times a second; it stays when the search ends."""

    def __init__(self, console: Console, snapshot: Callable[[], Snapshot]) -> None:
        """`snapshot` is called from another thread."""
        self._live = _Resized(
            console=console,
            get_renderable=lambda: Picture(snapshot()),
            refresh_per_second=REFRESH,
            redirect_stdout=sys.stdout.isatty(),
            vertical_overflow="crop",
        )
        self._live.start()

    def tell(self, event: Event) -> None:
        """Warnings stay above the picture; it shows all else."""
        if event.kind == "warning":
            self._live.console.print(Text(event.line, style=event.style))

    def close(self) -> None:
        """Draws it once more and gives the cursor back."""
        self._live.stop()


class _Resized(Live):
    """Starts on a clean screen where the terminal changed its size: what it showed has moved."""

    _size: tuple[int, int] | None = None

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """As Live does; after a change of size it begins at the top."""
        before, self._size = self._size, self.console.size
        if before in (None, self._size):
            return super().process_renderables(renderables)
        self._live_render = LiveRender(self.get_renderable(), vertical_overflow="crop")
        cleared: Iterable[ConsoleRenderable] = (Control.clear(), Control.home())
        return [*cleared, *super().process_renderables(renderables)]


def refuse_mode(mode: Mode) -> None:
    """Raises StudyError for a live picture where there is nothing to draw it on."""
    if mode is Mode.live and not can_draw(Console(stderr=True)):
        raise StudyError(
            "--progress live: standard error is no terminal that can be drawn on; take plain, "
            "json or none, or auto, which draws where it can"
        )


def open_voice(mode: Mode, snapshot: Callable[[], Snapshot]) -> Voice:
    """Who tells, by the mode."""
    console = Console(stderr=True, highlight=False)
    if mode is Mode.json:
        return JsonLines(sys.stderr.write)
    if mode is Mode.none:
        return Quiet(console)
    if mode is Mode.live or (mode is Mode.auto and can_draw(console)):
        return LivePicture(console, snapshot)
    return PlainLines(console)


def can_draw(console: Console) -> bool:
    """Whether standard error is a terminal that moves its cursor."""
    return sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
