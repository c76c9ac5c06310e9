"""The observer of a tracked search: the display first, then every tracker."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from search.ledger import Candidate, Ledger
from search.observer import Phase, Step

from ..live.display import Display
from ..preflight import Preflight
from ..run import RunFolder
from ..view import RunView
from .facts import EndFacts, RunFacts, Tally, Tracker
from .feed import Feed
from .spec import Track

PATIENCE = 60.0
"""Seconds that a tracker has after the search for what it has not taken yet; one that has failed
before has a quarter of it."""
SOON = 3.0
"""Seconds after which somebody who waits is told what for."""
RESULTS = ("report.html", "winner.yaml", "trials.csv")


def _wandb(place: str) -> Tracker:
    from .wandb_tracker import WandbTracker

    return WandbTracker(place)


def _mlflow(place: str) -> Tracker:
    from .mlflow_tracker import MlflowTracker

    return MlflowTracker(place)


def _tensorboard(place: str) -> Tracker:
    from .tensorboard_tracker import TensorboardTracker

    return TensorboardTracker(place)


TRACKERS: Mapping[str, Callable[[str], Tracker]] = {
    "wandb": _wandb,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
}


@dataclass(slots=True)
class Watch:
    """Tells the display and the trackers what happens; a context manager.

    What each tracker has taken is kept in the ledger, so that the same run goes on there.
    """

    display: Display
    ledger: Ledger
    run: RunFolder
    tally: Tally
    feeds: Sequence[Feed]
    _ended: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if not self._ended:
            self._end(EndFacts("interrupted" if kind is KeyboardInterrupt else "failed"))

    def phase(self, name: Phase, candidates: int = 0) -> None:
        """Another part begins."""
        self.display.phase(name, candidates)

    def step(self, step: Step) -> None:
        """How far the candidate under way has come."""
        self.display.step(step)

    def scoring(self, candidate: Candidate) -> None:
        """A candidate is about to be built and scored."""
        self.display.scoring(candidate)

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Trials of an earlier search of this run; a tracker is told of those it has not."""
        self.display.resumed(trials)
        for one in trials:
            self._tell(one)

    def ended(self, candidate: Candidate) -> None:
        """A candidate was scored, on all or on some items, or failed."""
        self.display.ended(candidate)
        self._tell(candidate)
        self._relay()

    def note(self, text: str) -> None:
        """A line for whoever watches."""
        self.display.note(text)

    def finish(self, view: RunView) -> None:
        """The search has stopped in order: the view is what it found."""
        written = (self.run.path / name for name in RESULTS)
        self._end(EndFacts(view.state, view, tuple(one for one in written if one.is_file())))

    def _tell(self, candidate: Candidate) -> None:
        if self.feeds and candidate.kind in ("trial", "reference"):
            facts = self.tally.after(candidate)
            for feed in self.feeds:
                feed.candidate(facts)

    def _relay(self) -> None:
        for feed in self.feeds:
            if fault := feed.fault():
                self.display.warn(fault)
        self._keep()

    def _end(self, facts: EndFacts) -> None:
        self._ended = True
        for feed in self.feeds:
            feed.end(facts)
        for feed in self.feeds:
            seconds = PATIENCE if feed.healthy else PATIENCE / 4
            missing = feed.close(min(SOON, seconds))
            if missing and feed.waits:
                self.display.note(f"{feed.tool} has {seconds:.0f} s for what it lacks")
                missing = feed.close(seconds)
            if missing:
                self.display.warn(missing)
        self._keep()

    def _keep(self) -> None:
        if self.feeds:
            known = self.ledger.meta("tracked")
            taken = {feed.tool: feed.taken() for feed in self.feeds}
            if (changed := {**known, "sent": {**known["sent"], **taken}}) != known:
                self.ledger.set_meta("tracked", changed)


def watching(
    display: Display,
    tracks: Sequence[Track],
    preflight: Preflight,
    ledger: Ledger,
    run: RunFolder,
) -> Watch:
    """The observer of a search that may be tracked."""
    tally = Tally(preflight.objectives)
    if not tracks:
        return Watch(display, ledger, run, tally, ())
    known: dict[str, Any] | None = ledger.meta("tracked")
    if known is None:
        known = {"id": uuid.uuid4().hex[:12], "sent": {}}
        ledger.set_meta("tracked", known)
    study = preflight.study
    facts = RunFacts(known["id"], study.name, run.path.resolve(), _settings(preflight))
    feeds = [
        Feed(one.tool, TRACKERS[one.tool](one.place), facts, known["sent"].get(one.tool, {}))
        for one in tracks
    ]
    return Watch(display, ledger, run, tally, feeds)


def _settings(preflight: Preflight) -> dict[str, float | int | str | bool]:
    """What a run was asked to do, a word or a number each; no folder of this machine."""
    study = preflight.study
    limits = {name: getattr(study.budget, name) for name in ("trials", "items", "minutes")}
    return {
        "study": study.name,
        "merge_method": ", ".join(preflight.space.methods),
        "tasks": ", ".join(preflight.tasks),
        "objectives": ", ".join(one.name for one in preflight.objectives),
        "winner_rule": study.rule,
        "sampler": str(study.sampler),
        "seed": study.seed,
        "racing": study.racing,
        **{f"budget_{name}": limit for name, limit in limits.items() if limit is not None},
    }
