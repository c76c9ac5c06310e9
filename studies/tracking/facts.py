"""What a tracker is told, as plain data: the run, a candidate after each look at it, the end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from search.front import hypervolume
from search.ledger import Candidate, label
from search.objectives import Objective
from search.winner import front

from ..view import Estimate, RunView

Value = float | int | str | bool


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as it begins. `id` stays the same for as long as the run folder lives."""

    id: str
    name: str
    folder: Path
    settings: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class CandidateFacts:
    """A trial or a reference after a look at it; the last one says how it ended."""

    key: str
    """`trial 12` or `reference 0`: what stays the same from look to look."""
    kind: str
    number: int
    name: str
    """`trial 12`, or the reference's name."""
    origin: str
    state: str
    """complete | failed | dropped | paused"""
    looks: int
    parameters: Mapping[str, Value]
    objectives: Mapping[str, float]
    """Estimates while it races, else scores; empty where it failed."""
    items: int
    """Item evaluations of this candidate."""
    items_so_far: int
    """Item evaluations of the run."""
    build_seconds: float
    score_seconds: float
    error: str
    hypervolume: float
    """Of the front so far, on the scale of the references (`search.front`)."""
    front: int
    """How many trials are on the front so far."""

    @property
    def digest(self) -> str:
        """Differs after every look: what a tracker was told of is not told again."""
        return f"{self.looks} {self.state}"

    @property
    def measures(self) -> dict[str, float]:
        """Objectives and costs by the names that trackers show."""
        return {
            **{f"objective/{name}": value for name, value in self.objectives.items()},
            "items": self.items,
            "build seconds": self.build_seconds,
            "score seconds": self.score_seconds,
        }


@dataclass(frozen=True, slots=True)
class EndFacts:
    """How a search stopped. Without a view it was ended by a fault."""

    state: str
    """finished | interrupted | failed"""
    view: RunView | None = None
    files: tuple[Path, ...] = ()


class Tracker(Protocol):
    """One tool, used from one thread. Anything it raises is told to the user once."""

    def begin(self, run: RunFacts) -> None:
        """Opens the tracked run of `run.id`, or goes on with it; may be called again."""
        ...

    def candidate(self, facts: CandidateFacts) -> None:
        """Shows a candidate as it stands now."""
        ...

    def end(self, facts: EndFacts) -> None:
        """Shows winner, claim and test table, keeps the files, closes the run."""
        ...


@dataclass(slots=True)
class Tally:
    """The candidates of a search so far, and what each changed."""

    objectives: Sequence[Objective]
    references: dict[int, Candidate] = field(default_factory=dict)
    trials: dict[int, Candidate] = field(default_factory=dict)

    def after(self, one: Candidate) -> CandidateFacts:
        """Takes in a candidate that was looked at, and tells of it."""
        known = self.trials if one.kind == "trial" else self.references
        known[one.number] = one
        best = front([self.trials[number] for number in sorted(self.trials)], self.objectives)
        names = [each.name for each in self.objectives]
        return CandidateFacts(
            key=f"{one.kind} {one.number}",
            kind=one.kind,
            number=one.number,
            name=label(one),
            origin=one.name,
            state=one.state,
            looks=one.looks,
            parameters=dict(one.values or {}),
            objectives=dict(zip(names, one.standing or (), strict=False)),
            items=one.items,
            items_so_far=self._items(),
            build_seconds=one.build_seconds,
            score_seconds=one.score_seconds,
            error=one.error or "",
            hypervolume=self._hypervolume(best),
            front=len(best),
        )

    def _items(self) -> int:
        everything = (*self.references.values(), *self.trials.values())
        return sum(one.items for one in everything)

    def _hypervolume(self, best: Sequence[Candidate]) -> float:
        scored = [one.scores for one in self.references.values() if one.scores is not None]
        if not scored or not best:
            return 0.0
        directions = [one.higher_is_better for one in self.objectives]
        return hypervolume([one.standing or () for one in best], directions, scored)


def summary_of(view: RunView) -> dict[str, Value]:
    """What a tracked run is told about itself in the end: winner, claim, test figures."""
    if view.winner is None:
        return {}
    found: dict[str, Value] = {"winner": view.winner.name, "claim": view.winner.claim}
    if view.winner.utility_gain is not None:
        found |= named_estimate("utility gain", view.winner.utility_gain)
    for row in view.test_rows:
        if row.kind == "winner":
            for column, estimate in row.values.items():
                found |= named_estimate(f"test/{column}", estimate)
    return found


def named_estimate(name: str, estimate: Estimate) -> dict[str, float]:
    """The value and, where there is one, its 95% interval."""
    ends = {"low": estimate.low, "high": estimate.high}
    return {
        name: estimate.value,
        **{f"{name} {end}": value for end, value in ends.items() if value is not None},
    }


def final_measures(view: RunView) -> Iterator[tuple[int, dict[str, float]]]:
    """Of each scored trial its number and last estimates, with their intervals and items."""
    for trial in view.trials:
        found: dict[str, float] = {}
        for name, estimate in trial.objectives.items():
            found |= named_estimate(f"objective/{name}", estimate)
            if estimate.items:
                found[f"objective/{name} items"] = estimate.items
        if found:
            yield trial.number, found
