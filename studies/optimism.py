"""How much the search score flatters the winner: its search score minus its select score.

The search chose among scores on the search split, and so chose luck too; `select` saw the winner
once, among at most sixteen. The base was chosen by nobody: its own gap is what the questions of
the two splits differ by.
"""

from typing import TYPE_CHECKING

from search.ledger import Candidate
from search.objectives import Objective

from . import view
from .candidate_views import objectives_of
from .estimates import objective_estimate

if TYPE_CHECKING:
    from .results import Found


def optimism_of(found: "Found", winner: Candidate) -> tuple[view.Optimism, ...]:
    """One an objective that the winner was scored on in both splits."""
    base = next((one for one in found.references if one.role == "base"), None)
    shown = []
    for objective in found.preflight.objectives:
        if not _scored(found, winner, objective):
            continue
        search, select = (
            objective_estimate(found.scores, winner, objective, split)
            for split in ("search", "select")
        )
        if winner.estimates is not None:  # it raced: that is what it was nominated for
            search = objectives_of(found, winner, True)[objective.name]
        known = base is not None and _scored(found, base, objective)
        shown.append(
            view.Optimism(
                objective.name,
                search,
                select,
                _too_good(objective, search.value, select.value),
                _gap(found, base, objective) if known and base is not None else None,
            )
        )
    return tuple(shown)


def _scored(found: "Found", candidate: Candidate, objective: Objective) -> bool:
    """On all of `select`, and on at least some of the search split (a race scores no more)."""
    return all(
        found.scores.complete(candidate, task, "select")
        and found.scores.results(candidate, task, "search")
        for task, _ in objective.parts
    )


def _gap(found: "Found", candidate: Candidate, objective: Objective) -> float:
    search, select = (
        objective_estimate(found.scores, candidate, objective, split).value
        for split in ("search", "select")
    )
    return _too_good(objective, search, select)


def _too_good(objective: Objective, search: float, select: float) -> float:
    return search - select if objective.higher_is_better else select - search
