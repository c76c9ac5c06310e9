"""A search at one moment, as plain data: all that the picture shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..view import Objective

MarkKind = Literal["trial", "front", "base", "parent", "uniform", "other"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A candidate in the picture: its objectives on the search split, in the study's order."""

    label: str
    kind: MarkKind
    values: tuple[float, ...]
    number: int = 0
    """Of a trial; references have numbers of their own."""
    feasible: bool = True
    estimated: bool = False
    """Whether the values are estimates from some of the items."""


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial and the best parent at one objective, None where there is none yet."""

    trial: Mark | None
    parent: Mark | None


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of the budget: trials, items or minutes; `seconds_left` None where unknown."""

    name: str
    used: float
    limit: float
    seconds_left: float | None = None

    @property
    def share(self) -> float:
        """How much of it is used, in [0, 1]."""
        return min(1.0, self.used / self.limit) if self.limit else 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """The candidate under way: `done` of `wanted` items of this scoring, for so many seconds."""

    label: str
    origin: str
    stage: str
    """proposing | building | scoring"""
    done: int
    wanted: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """An event of the picture: `style` is one of rich's, `clock` the time of day."""

    clock: str
    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Means:
    """Mean wall seconds a trial took to be proposed, built and scored."""

    propose: float
    build: float
    score: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything known at one moment. Names are as the study has them: whoever draws cleans."""

    study: str
    sampler: str
    seed: int
    objectives: tuple[Objective, ...]
    phase: str
    """references | gradients | search | select | test | beside | report | ended | interrupted"""
    phase_done: float = 0.0
    """Candidates of this phase that are done; the one under way counts in part."""
    phase_wanted: int = 0
    """Candidates of this phase, 0 where unknown."""
    seconds: float = 0.0
    """Since this search was begun, or went on."""
    limit: Limit | None = None
    """The one that is nearest to its end."""
    running: Running | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    """State to trials: complete, paused, dropped, failed."""
    items: int = 0
    """Item evaluations so far, references included."""
    means: Means | None = None
    marks: tuple[Mark, ...] = ()
    """References, then trials that were scored, by number."""
    best: tuple[Best, ...] = ()
    """One an objective."""
    events: tuple[Told, ...] = ()
    """The last ones, oldest first."""

    @property
    def trials(self) -> int:
        """Trials that were looked at, at least once."""
        return sum(self.counts.values())

    @property
    def front(self) -> tuple[Mark, ...]:
        """The members of the front so far."""
        return tuple(one for one in self.marks if one.kind == "front")

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return self.phase in ("ended", "interrupted")
