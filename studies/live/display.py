"""The observer of a search: counts what it is told, logs it, and lets it be shown."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from search.ledger import Candidate
from search.observer import Step

from .events import Event, candidate_ended, entered, said
from .modes import Mode
from .snapshot import Snapshot
from .tally import Tally
from .voices import Voice, open_voice

OVER = ("ended", "interrupted")


@dataclass(slots=True)
class Display:
    """Told by the search what happens; a context manager. Never writes to standard output.

    Every line also goes to the file `log`, with its time, whatever is shown.
    """

    tally: Tally
    log: Path
    mode: Mode = Mode.auto
    _voice: Voice | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def __enter__(self) -> Self:
        self._voice = open_voice(self.mode, self.snapshot)
        self._tell(Event("start", "", "", self._start()))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.tally.phase not in OVER:
            self.over(kind is not None)
        if self._voice is not None:
            self._voice.close()

    def over(self, interrupted: bool) -> None:
        """Nothing more is to come."""
        with self._lock:
            self.tally.enter(OVER[interrupted])
        self._tell(Event("end", "", "", {"state": OVER[interrupted]}))

    def snapshot(self) -> Snapshot:
        """What is known now; from any thread."""
        with self._lock:
            return self.tally.snapshot()

    def phase(self, name: str, candidates: int = 0) -> None:
        """Another part of the search begins."""
        with self._lock:
            self.tally.enter(name, candidates)
        self._tell(entered(name, candidates))

    def step(self, step: Step) -> None:
        """The candidate under way has come so far."""
        with self._lock:
            self.tally.step(step)

    def scoring(self, candidate: Candidate) -> None:
        """A candidate is about to be built and scored."""
        with self._lock:
            self.tally.scoring(candidate)

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Trials that an earlier search of this run had ended."""
        with self._lock:
            self.tally.resumed(trials)
        if trials:
            self.note(f"going on after {len(trials)} trials")

    def ended(self, candidate: Candidate) -> None:
        """A candidate has its scores, or failed."""
        with self._lock:
            self.tally.ended(candidate)
            front = len(self.tally.front()) if self.tally.trials else 0
            budget = self.tally.used()
        objectives = self.tally.objectives
        self._tell(candidate_ended(candidate, objectives, front=front, budget=budget))

    def note(self, text: str) -> None:
        """One line for whoever watches."""
        self._tell(said("note", text))

    def warn(self, text: str) -> None:
        """One line that is shown to whoever wants quiet too."""
        self._tell(said("warning", text))

    def _tell(self, event: Event) -> None:
        if event.line:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{stamp} {event.line}\n")
            with self._lock:
                self.tally.events.append(event.told(stamp[-8:]))
        if self._voice is not None:
            self._voice.tell(event)

    def _start(self) -> dict[str, object]:
        heading, budget = self.tally.heading, self.tally.limits.budget
        limits = {"trials": budget.trials, "items": budget.items, "minutes": budget.minutes}
        return {
            "study": heading.study,
            "sampler": heading.sampler,
            "seed": heading.seed,
            "objectives": [
                {"name": one.name, "metric": one.metric, "higher_is_better": one.higher_is_better}
                for one in self.tally.objectives
            ],
            "budget": {name: limit for name, limit in limits.items() if limit is not None},
        }
