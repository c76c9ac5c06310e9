"""The spread of a random winner over its mask seeds, on `select` and on `test`. Scores nothing."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from search.ledger import Candidate, label
from search.objectives import objective_value
from search.verdict import Verdict

from .estimates import utility_difference
from .view import Estimate, Masks, Spread

if TYPE_CHECKING:
    from .results import Found

UTILITY = "utility"
GAIN = "gain in utility over the best parent"


def winner_masks(
    found: "Found", verdict: Verdict, chosen: Candidate, rival: Candidate
) -> Masks | None:
    """What other masks would have given; None where the winner draws none."""
    draws = verdict.draws.get(label(chosen))
    if not draws:
        return None
    select = {
        **{
            one.name: [draw.values[one.name] for draw in draws]
            for one in found.preflight.objectives
        },
        UTILITY: [draw.utility for draw in draws],
    }
    drawn = [chosen.ended(recipe_hash=draw.recipe_hash) for draw in draws]
    test, gain = _on_test(found, verdict, drawn, rival)
    seeds = tuple(draw.mask_seed for draw in draws)
    return Masks(seeds, _spreads(select), _spreads(test), gain)


def _on_test(
    found: "Found", verdict: Verdict, drawn: Sequence[Candidate], rival: Candidate
) -> tuple[dict[str, list[float]], Estimate | None]:
    """Values over the seeds and the mean gain; nothing where one of them was not scored."""
    objectives, scores = found.preflight.objectives, found.scores
    tasks = {task for one in objectives for task, _ in one.parts}
    if not all(scores.complete(one, task, "test") for one in (*drawn, rival) for task in tasks):
        return {}, None
    values = [_values(found, one) for one in drawn]
    theirs = verdict.rule.utility(verdict.scales, _values(found, rival))
    ours = [verdict.rule.utility(verdict.scales, one) for one in values]
    columns = {name: [one[name] for one in values] for name in values[0]}
    gain = utility_difference(scores, drawn, [rival], objectives, verdict, "test")
    return {**columns, GAIN: [one - theirs for one in ours]}, gain


def _values(found: "Found", candidate: Candidate) -> dict[str, float]:
    """Objective values on `test`."""
    results = {task: found.scores.results(candidate, task, "test") for task in found.scores.tasks}
    return {
        one.name: objective_value(one, found.scores.tasks, results)
        for one in found.preflight.objectives
    }


def _spreads(columns: Mapping[str, Sequence[float]]) -> tuple[Spread, ...]:
    return tuple(
        Spread(name, values[0], mean(values), stdev(values), min(values), max(values))
        for name, values in columns.items()
    )
