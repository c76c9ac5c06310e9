"""A random search beside the search, as a report shows it: both curves, both winners on `select`.

No figure of `test` is here: see `search.beside`.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.beside import Beside, Side, stored_beside
from search.front import hypervolume_history
from search.ledger import Candidate, label
from search.winner import feasible

from . import view
from .candidate_views import objectives_of
from .estimates import utility_difference

if TYPE_CHECKING:
    from .results import Found


def beside_view(found: "Found") -> view.Beside | None:
    """The comparison that the run holds, None where none was asked for or it did not end."""
    outcome = stored_beside(found.ledger)
    if outcome is None:
        return None
    drawn = _drawn_in(found, outcome)
    best = random_best(found)
    trial = None if outcome.search is None else found.trials[outcome.search.number]
    return view.Beside(
        candidates=len(drawn),
        failed=sum(one.state == "failed" for one in drawn),
        items=outcome.items,
        trials=outcome.trials,
        hypervolume=_hypervolume(found, drawn, outcome.each),
        search="" if trial is None else label(trial),
        random="" if best is None else label(best),
        search_utility=None if outcome.search is None else outcome.search.utility,
        random_utility=None if outcome.random is None else outcome.random.utility,
        difference=_difference(found, outcome, trial, best),
        recipe_yaml="" if best is None else found.yaml(best),
        objectives={} if best is None else objectives_of(found, best, True),
        parameters={} if best is None else dict(best.values or {}),
    )


def random_best(found: "Found") -> Candidate | None:
    """Whom random search puts first; None where it was not asked for, or found nobody."""
    outcome = stored_beside(found.ledger)
    if outcome is None or outcome.random is None:
        return None
    return _drawn_in(found, outcome)[outcome.random.number]


def _drawn_in(found: "Found", outcome: Beside) -> list[Candidate]:
    wanted = math.ceil(outcome.items / outcome.each)
    return found.ledger.candidates("beside")[:wanted]


def _difference(
    found: "Found", outcome: Beside, trial: Candidate | None, best: Candidate | None
) -> view.Estimate | None:
    if found.verdict is None or outcome.search is None or outcome.random is None:
        return None
    if trial is None or best is None:
        return None
    ours, theirs = _drawn(trial, outcome.search), _drawn(best, outcome.random)
    objectives, scores = found.preflight.objectives, found.scores
    tasks = {task for one in objectives for task, _ in one.parts}
    if not all(scores.complete(one, task, "select") for one in (*ours, *theirs) for task in tasks):
        return None
    return utility_difference(scores, ours, theirs, objectives, found.verdict, "select")


def _drawn(candidate: Candidate, side: Side) -> list[Candidate]:
    return [candidate.ended(recipe_hash=draw.recipe_hash) for draw in side.draws]


def _hypervolume(
    found: "Found", drawn: Sequence[Candidate], each: int
) -> tuple[tuple[int, float], ...]:
    """(items so far, hypervolume), a candidate counted in full whoever paid for its items."""
    directions = [one.higher_is_better for one in found.preflight.objectives]
    references = [one.scores for one in found.references if one.scores is not None]
    start = sum(one.items for one in found.references)
    able = [(n, one.scores) for n, one in enumerate(drawn, 1) if one.scores and feasible(one)]
    if not able or not references:
        return ()
    volumes = hypervolume_history([scores for _, scores in able], directions, references)
    return tuple(
        (start + number * each, volume) for (number, _), volume in zip(able, volumes, strict=True)
    )
