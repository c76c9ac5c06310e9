"""What a proposal is told: every trial as it is estimated at one moment of the search.

Optuna's trials are written once, but a race learns more of a trial later, and of all others with
it (the difficulty of items, the spread of candidates). So a study is rebuilt for each proposal
from the estimates of the moment, shrunk by what is noise in them. The moment of proposal n is when
trial n-1 begins: a shadow is stored then, and read back by a search that goes on, whatever has
been scored in between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .board import Board
from .ledger import Candidate, Ledger, is_known, label
from .objectives import Objective
from .space_parts import Values
from .warp import Warp

_KEY = "shadow {}"
_KEPT = 2
"""The proposal under way, and the one that is prepared meanwhile."""
_OLD_KEY = "shadows"
"""Under which runs of format 2 kept both."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A point of the space of a stage that the estimates put highest, see `guesses`."""

    values: Values
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Shadow:
    """Trial number to scores and violations, as a sampler is told of them; None: it failed.

    With a `guess` the sampler is not asked.
    """

    scores: Mapping[int, tuple[float, ...] | None]
    violations: Mapping[int, tuple[float, ...]]
    warps: tuple[Warp, ...]
    guess: Guess | None = None


def cast_shadow(
    board: Board,
    objectives: Sequence[Objective],
    trials: Sequence[Candidate],
    warps: Sequence[Warp],
) -> Shadow:
    """The shadow of all trials of which anything is known; values are in the metric's own unit."""
    known = [one for one in trials if is_known(one)]
    labels = [label(one) for one in known]
    columns = [
        board.posterior(labels, objective, warp)
        for objective, warp in zip(objectives, warps, strict=True)
    ]
    scores: dict[int, tuple[float, ...] | None] = {
        one.number: None for one in trials if one.state == "failed"
    }
    for place, one in enumerate(known):
        scores[one.number] = tuple(column[place].value for column in columns)
    violations = {one.number: one.violations for one in known}
    return Shadow(scores, violations, tuple(warps))


def kept_shadow(number: int, shadow: Shadow) -> dict[str, Any]:
    """What proposal `number` is told, as the ledger keeps it; the last two are kept."""
    return {
        _KEY.format(number % _KEPT): {
            "number": number,
            "scores": [[one, values] for one, values in shadow.scores.items()],
            "violations": [[one, values] for one, values in shadow.violations.items()],
            "warps": [[one.worst, one.logit, one.margin] for one in shadow.warps],
            "guess": shadow.guess and [shadow.guess.values, shadow.guess.stage],
        }
    }


def stored_shadow(ledger: Ledger, number: int) -> Shadow | None:
    """What proposal `number` is told, None where its moment has not come."""
    found = ledger.meta(_KEY.format(number % _KEPT))
    if found is None or found["number"] != number:
        found = (ledger.meta(_OLD_KEY) or {}).get(str(number))
    if found is None:
        return None
    return Shadow(
        {one: None if values is None else tuple(values) for one, values in found["scores"]},
        {one: tuple(values) for one, values in found["violations"]},
        tuple(Warp(*one) for one in found["warps"]),
        Guess(*guess) if (guess := found.get("guess")) else None,
    )
