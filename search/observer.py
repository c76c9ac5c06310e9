"""Who watches a search."""

from collections.abc import Sequence
from typing import Protocol

from .ledger import Candidate


class Observer(Protocol):
    """Is told how the search goes; must not steer it."""

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
