"""When a search ends: its budget of trials, items and minutes, and a space that is used up."""

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import SearchError
from .ledger import Candidate
from .objectives import Budget

REPEATS = 30
"""So many trials in a row that repeat earlier ones end a search: its space is used up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A budget, the items of one full candidate, and those that select and test will take."""

    budget: Budget
    items_per_candidate: int
    reserved_items: int
    elsewhere: int = 0
    """Items spent that no candidate bears."""

    def for_a_trial(
        self, references: Sequence[Candidate], trials: Sequence[Candidate], pending: int = 0
    ) -> str | None:
        """Which limit a new trial would pass, scored in full, if any: trials, items, ...

        `pending` items are being scored.
        """
        if _exhausted(trials):
            return "space"
        if self.are_trials_used(trials):
            return "trials"
        return self.for_items(references, trials, pending + self.items_per_candidate)

    def are_trials_used(self, trials: Sequence[Candidate]) -> bool:
        """Whether as many trials were proposed as the budget has."""
        return self.budget.trials is not None and len(trials) >= self.budget.trials

    def for_items(
        self, references: Sequence[Candidate], trials: Sequence[Candidate], more: int
    ) -> str | None:
        """Which limit `more` items would pass, if any: items or minutes."""
        everything = [*references, *trials]
        items = self.elsewhere + sum(one.items for one in everything)
        if self.budget.items is not None and items + more > self.budget.items:
            return "items"
        if self.budget.minutes is None:
            return None
        late = self._seconds(everything, items, more) > 60 * self.budget.minutes
        return "minutes" if late else None

    def used(
        self, references: Sequence[Candidate], trials: Sequence[Candidate]
    ) -> dict[str, tuple[float, float]]:
        """Each limit of the budget by name: what is used of it, and it.

        Minutes count those that select and test will take.
        """
        everything = [*references, *trials]
        items = self.elsewhere + sum(one.items for one in everything)
        found: dict[str, tuple[float, float]] = {}
        if self.budget.trials is not None:
            found["trials"] = (len(trials), self.budget.trials)
        if self.budget.items is not None:
            found["items"] = (items, self.budget.items)
        if self.budget.minutes is not None:
            found["minutes"] = (self._seconds(everything, items, 0) / 60, self.budget.minutes)
        return found

    def _seconds(self, everything: Sequence[Candidate], items: int, more: int) -> float:
        """Seconds so far, and those of select, test and `more` items at the pace so far."""
        seconds = pace = 0.0
        for one in everything:
            scoring = one.build_seconds + one.score_seconds
            alone = one.wall_seconds is None
            seconds += scoring + one.propose_seconds if alone else one.wall_seconds or 0.0
            pace += scoring if alone else one.wall_seconds or 0.0
        return seconds + pace / max(items, 1) * (self.reserved_items + more)


def refuse_small_budget(budget: Budget, references: int, items_per_candidate: int) -> None:
    """Raises SearchError where `items` do not reach for the references and ten candidates."""
    needed = (references + 10) * items_per_candidate
    if budget.items is not None and budget.items < needed:
        raise SearchError(
            f"a budget of {budget.items:,} items is too small: {references} references and ten "
            f"candidates take {needed:,} ({items_per_candidate:,} each); give at least that many"
        )


def _exhausted(trials: Sequence[Candidate]) -> bool:
    """Whether the last REPEATS trials are all repeats."""
    if len(trials) <= REPEATS:
        return False
    known = {one.recipe_hash for one in trials[:-REPEATS]}
    return all(one.recipe_hash in known for one in trials[-REPEATS:])
