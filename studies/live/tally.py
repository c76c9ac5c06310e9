"""What a search has told so far, and the snapshot of it at a moment."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from search.ledger import Candidate, label
from search.limits import Limits
from search.objectives import Objective
from search.observer import Step
from search.winner import feasible, front

from .. import view
from .snapshot import Best, Limit, Mark, MarkKind, Means, Running, Snapshot, Told

KEPT = 50
"""Events that the picture may show."""
ROLES: dict[str, MarkKind] = {"base": "base", "parent": "parent", "uniform": "uniform"}
STATES = ("complete", "paused", "dropped", "failed")


@dataclass(frozen=True, slots=True)
class Heading:
    """Which study is searched, and how."""

    study: str
    sampler: str
    seed: int


@dataclass(slots=True)
class Tally:
    """Grows as the search goes on; `clock` gives seconds that only ever rise."""

    heading: Heading
    objectives: Sequence[Objective]
    limits: Limits
    clock: Callable[[], float] = time.monotonic
    references: dict[int, Candidate] = field(default_factory=dict, init=False)
    trials: dict[int, Candidate] = field(default_factory=dict, init=False)
    phase: str = field(default="references", init=False)
    events: deque[Told] = field(default_factory=lambda: deque(maxlen=KEPT), init=False)
    _wanted: int = field(default=0, init=False)
    _begun: int = field(default=0, init=False)
    _ended: int = field(default=0, init=False)
    _step: Step | None = field(default=None, init=False)
    _under_way: Candidate | None = field(default=None, init=False)
    _since: float = field(default=0.0, init=False)
    _start: float = field(default=0.0, init=False)
    _searching: tuple[float, dict[str, float]] | None = field(default=None, init=False)
    _limits: tuple[Limit, ...] = field(default=(), init=False)
    _limits_at: float = field(default=0.0, init=False)
    _front: tuple[int, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        self._start = self._since = self._limits_at = self.clock()

    def enter(self, phase: str, candidates: int = 0) -> None:
        """Another phase begins, of so many candidates where that is known."""
        self.phase, self._wanted, self._begun, self._ended = phase, candidates, 0, 0
        self._under_way = self._step = None
        self._since = self.clock()
        if phase == "search":
            used = {name: spent for name, (spent, _) in self.used().items()}
            self._searching = (self._since, used)

    def step(self, step: Step) -> None:
        """The candidate under way has come so far."""
        if step.stage == "proposing":
            self._under_way, self._since = None, self.clock()
        self._step = step

    def scoring(self, candidate: Candidate) -> None:
        """A candidate is about to be built and scored."""
        self._begun += 1
        self._under_way, self._step, self._since = candidate, None, self.clock()

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Trials that an earlier search of this run had ended."""
        self.trials |= {one.number: one for one in trials}
        if self._searching is not None:  # they say nothing of the pace
            used = {name: spent for name, (spent, _) in self.used().items()}
            self._searching = (self._searching[0], used)
        self._look_again()

    def ended(self, candidate: Candidate) -> None:
        """A candidate has its scores, or failed."""
        self._ended += 1
        self._under_way = self._step = None
        known = {"trial": self.trials, "reference": self.references}
        known.get(candidate.kind, {})[candidate.number] = candidate
        self._look_again()

    def front(self) -> list[Candidate]:
        """The front so far, by number."""
        return [self.trials[number] for number in self._front]

    def items(self) -> int:
        """Item evaluations of references and trials."""
        return sum(one.items for one in (*self.references.values(), *self.trials.values()))

    def used(self) -> dict[str, tuple[float, float]]:
        """Each limit of the budget by name: what is used of it, and it."""
        return self.limits.used(list(self.references.values()), self._ordered())

    def _ordered(self) -> list[Candidate]:
        return [self.trials[number] for number in sorted(self.trials)]

    def _look_again(self) -> None:
        """What is dear to compute is computed when something changed, not when it is drawn."""
        self._front = tuple(one.number for one in front(self._ordered(), self.objectives))
        self._limits_at = self.clock()
        found = self.used()
        self._limits = tuple(
            Limit(name, used, limit, self._left(name, used, limit))
            for name, (used, limit) in found.items()
        )

    def _left(self, name: str, used: float, limit: float) -> float | None:
        """Seconds until a limit, at the pace since this search went on."""
        if self._searching is None:
            return None
        began, before = self._searching
        gone, passed = used - before.get(name, 0.0), self._limits_at - began
        return max(0.0, limit - used) * passed / gone if gone > 0 else None

    def nearest(self, now: float) -> Limit | None:
        """The limit that comes first at this pace, or of which most is used."""
        if not self._limits:
            return None
        known = [one for one in self._limits if one.seconds_left is not None]
        if not known:
            return max(self._limits, key=lambda one: one.share)
        first = min(known, key=lambda one: one.seconds_left or 0.0)
        left = max(0.0, (first.seconds_left or 0.0) - (now - self._limits_at))
        return Limit(first.name, first.used, first.limit, left)

    def snapshot(self) -> Snapshot:
        """What is known now."""
        now = self.clock()
        trials = self._ordered()
        marks = self._marks(trials)
        return Snapshot(
            study=self.heading.study,
            sampler=next((one.sampler for one in reversed(trials) if one.sampler), "")
            or self.heading.sampler,
            seed=self.heading.seed,
            objectives=tuple(
                view.Objective(one.name, one.metric, one.higher_is_better)
                for one in self.objectives
            ),
            phase=self.phase,
            phase_done=self._phase_done(),
            phase_wanted=self._wanted,
            seconds=now - self._start,
            limit=self.nearest(now),
            running=self._running(now),
            counts={state: sum(one.state == state for one in trials) for state in STATES},
            items=self.items(),
            means=_means(trials),
            marks=marks,
            best=tuple(
                _best(marks, place, one.higher_is_better)
                for place, one in enumerate(self.objectives)
            ),
            events=tuple(self.events),
        )

    def _phase_done(self) -> float:
        whole = max(self._ended, self._begun - 1, 0)
        step = self._step
        part = step.done / step.wanted if step and step.wanted and self._under_way else 0.0
        return min(float(self._wanted), whole + part)

    def _running(self, now: float) -> Running | None:
        step, one = self._step, self._under_way
        if one is None:
            if step is None:
                return None
            number = max(self.trials, default=-1) + 1
            return Running(f"trial {number}", "", step.stage, 0, 0, now - self._since)
        stage = "building" if step is None else step.stage
        done, wanted = (0, 0) if step is None else (step.done, step.wanted)
        return Running(label(one), one.name, stage, done, wanted, now - self._since)

    def _marks(self, trials: Sequence[Candidate]) -> tuple[Mark, ...]:
        chosen = set(self._front)
        shown = [
            _mark(one, ROLES.get(one.role, "other"))
            for one in (self.references[number] for number in sorted(self.references))
            if one.standing is not None
        ]
        return tuple(shown) + tuple(
            _mark(one, "front" if one.number in chosen else "trial")
            for one in trials
            if one.standing is not None
        )


def _mark(one: Candidate, kind: MarkKind) -> Mark:
    estimated = one.kind == "trial" and one.scores is None
    able = one.kind == "reference" or (feasible(one) and one.state != "dropped")
    return Mark(label(one), kind, one.standing or (), one.number, able, estimated)


def _best(marks: Sequence[Mark], place: int, higher: bool) -> Best:
    sign = 1.0 if higher else -1.0

    def first(*kinds: str) -> Mark | None:
        able = [one for one in marks if one.kind in kinds and one.feasible]
        able = [one for one in able if math.isfinite(one.values[place])]
        return max(able, key=lambda one: sign * one.values[place], default=None)

    return Best(first("front", "trial"), first("parent") or first("base"))


def _means(trials: Sequence[Candidate]) -> Means | None:
    ended = [one for one in trials if one.score_seconds > 0]
    if not ended:
        return None
    count = len(ended)
    return Means(
        sum(one.propose_seconds for one in ended) / count,
        sum(one.build_seconds for one in ended) / count,
        sum(one.score_seconds for one in ended) / count,
    )
