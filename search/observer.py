"""Who watches a search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from .ledger import Candidate

Phase = Literal["references", "gradients", "search", "select", "test", "beside"]


@dataclass(frozen=True, slots=True)
class Step:
    """How far the work on a candidate is: `done` of the `wanted` items it is scored on now."""

    stage: Literal["proposing", "building", "scoring"]
    done: int = 0
    wanted: int = 0


class Observer(Protocol):
    """Is told how the search goes; must not steer it."""

    def phase(self, name: Phase, candidates: int = 0) -> None:
        """Another part begins; it scores so many `candidates`, where that is known (not 0)."""
        ...

    def step(self, step: Step) -> None:
        """The candidate under way has come so far; often, so whoever is told must be quick."""
        ...

    def scoring(self, candidate: Candidate) -> None:
        """A candidate is about to be built and scored."""
        ...

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Trials that an earlier search of this run had ended."""
        ...

    def ended(self, candidate: Candidate) -> None:
        """A candidate was scored, on all or on some items, or failed."""
        ...

    def note(self, text: str) -> None:
        """A line for whoever watches."""
        ...
