"""How a search shows itself on standard error: live in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from search.ledger import Candidate, label
from search.objectives import Objective
from search.winner import front


@dataclass(slots=True)
class Display:
    """Told by the search what happens; a context manager. Never writes to standard output.

    Every line also goes to the file `log`, with its time; `quiet` or not.
    """

    objectives: Sequence[Objective]
    trials_wanted: int | None
    log: Path
    quiet: bool = False
    _references: dict[int, Candidate] = field(default_factory=dict, init=False)
    _trials: dict[int, Candidate] = field(default_factory=dict, init=False)
    _now: str = field(default="", init=False)
    _console: Console = field(default_factory=lambda: Console(stderr=True), init=False)
    _live: Live | None = field(default=None, init=False)
    _bar: Progress = field(init=False)

    def __post_init__(self) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._bar.add_task("trials", total=self.trials_wanted)

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self.quiet:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def scoring(self, candidate: Candidate) -> None:
        """A candidate is about to be built and scored."""
        self._now = f"scoring {label(candidate)} ({candidate.name})"
        self._draw()

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Trials that an earlier search of this run had ended."""
        self._trials |= {one.number: one for one in trials}
        if trials:
            self.note(f"going on after {len(trials)} trials")

    def ended(self, candidate: Candidate) -> None:
        """A candidate has its scores, or failed."""
        known = {"trial": self._trials, "reference": self._references}
        known.get(candidate.kind, {})[candidate.number] = candidate
        self._bar.update(self._bar.task_ids[0], completed=len(self._trials))
        line = self._line(candidate)
        self._keep(line)
        if self._live is not None:
            self._draw()
        elif not self.quiet:
            self._console.print(Text(f"{time.strftime('%H:%M:%S')} {line}"), soft_wrap=True)

    def note(self, text: str) -> None:
        """One line for the user."""
        self._keep(text)
        if not self.quiet:
            self._console.print(Text(text), soft_wrap=True)

    def _keep(self, line: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def _line(self, one: Candidate) -> str:
        wanted = f"/{self.trials_wanted}" if self.trials_wanted and one.kind == "trial" else ""
        outcome = self._scores(one) if one.scores or one.estimates else f"{one.state}: {one.error}"
        seconds = f"built {one.build_seconds:.2f} s, scored {one.score_seconds:.2f} s"
        front_size = f", front {len(self._front())}" if self._trials else ""
        return f"{label(one)}{wanted} [{one.name}] {outcome}; {seconds}{front_size}"

    def _scores(self, one: Candidate) -> str:
        pairs = zip(self.objectives, one.scores or one.estimates or (), strict=True)
        values = "  ".join(f"{objective.name} {score:.4g}" for objective, score in pairs)
        told = {"dropped": "dropped, ", "paused": "waits, "}
        return values if one.scores else f"{told[one.state]}about {values}"

    def _front(self) -> list[Candidate]:
        return front([self._trials[number] for number in sorted(self._trials)], self.objectives)

    def _draw(self) -> None:
        if self._live is None:
            return
        table = Table(box=None, pad_edge=False)
        table.add_column("")
        for objective in self.objectives:
            arrow = "higher is better" if objective.higher_is_better else "lower is better"
            heading = Text(f"{objective.name}\n{objective.metric}, {arrow}")
            table.add_column(heading, justify="right")
        table.add_column("build s", justify="right")
        table.add_column("score s", justify="right")
        shown = [(one, "dim") for one in self._references.values()]
        shown += [(one, "bold") for one in self._front()[-12:]]
        for one, style in shown:
            scores = [f"{score:.4g}" for score in one.standing or ()] or [one.state]
            scores += [""] * (len(self.objectives) - len(scores))
            cost = [f"{one.build_seconds:.2f}", f"{one.score_seconds:.2f}"]
            table.add_row(Text(label(one)), *scores, *cost, style=style)
        self._live.update(Group(table, self._bar, Text(self._now, style="dim")))


@contextmanager
def training_display(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Shows training; what it yields is called with a stage and its share done in [0, 1]."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        told: set[str] = set()

        def plain(stage: str, share: float) -> None:
            if not quiet and stage not in told:
                told.add(stage)
                console.print(f"{stage} ...", markup=False)

        yield plain
        return
    with Progress(console=console, transient=True) as bar:
        stages: dict[str, TaskID] = {}

        def show(stage: str, share: float) -> None:
            if stage not in stages:
                stages[stage] = bar.add_task(stage, total=1.0)
            bar.update(stages[stage], completed=share)

        yield show
