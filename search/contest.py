"""Candidates meet on `select`: each with its utility, random merges with the mean of theirs.

Then one of them is chosen: the most useful, unless a simpler recipe is within one standard error
of it (the paired bootstrap over groups of the difference in utility, `evaluation.choice`). So a
recipe of more parts wins where its parts are seen to help. Whoever is chosen, what may be claimed
is one test on `test`: this rule decides what is tested, not whether it holds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.choice import utility_difference_error

from .ledger import Candidate
from .loop import Search
from .mask_seeds import redrawn
from .objectives import Results, Scale, objective_value
from .pairs import pair
from .scoring import UNSCORABLE, Spent
from .simplicity import complexity
from .winner import WinnerRule


@dataclass(frozen=True, slots=True)
class Draw:
    """One mask seed of a candidate: the weights it gives, their objective values on `select`."""

    mask_seed: int
    recipe_hash: str
    values: Mapping[str, float]
    utility: float


@dataclass(frozen=True, slots=True)
class Contender:
    """A candidate with its draws, its own seed's first; one draw where nothing is random."""

    candidate: Candidate
    draws: tuple[Draw, ...]

    @property
    def utility(self) -> float:
        """What it is ranked by: the mean over its draws."""
        return sum(one.utility for one in self.draws) / len(self.draws)


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is chosen, over whom: `best` is ahead by `lead`, within `error`; both 0 if it won."""

    chosen: Contender
    best: Contender
    lead: float = 0.0
    error: float = 0.0


def draws_of(search: Search, candidate: Candidate) -> list[tuple[int, Candidate]]:
    """(mask seed, candidate with that seed): its own alone where nothing is random."""
    draws = redrawn(candidate.data, search.executor.prepare)
    (own, _, _), *others = draws
    named = [
        (
            seed,
            candidate.ended(
                name=f"{candidate.name}, mask seed {number} of {len(draws)}",
                data=data,
                recipe_hash=merge.hash,
            ),
        )
        for number, (seed, data, merge) in enumerate(others, 2)
    ]
    return [(own, candidate), *named]


def contest(
    search: Search,
    rule: WinnerRule,
    scales: Mapping[str, Scale],
    candidates: Sequence[Candidate],
) -> list[Contender]:
    """Scores candidates on `select`; one that gives NaN or Inf, with any of its masks, is out."""
    drawn_of = [(one, draws_of(search, one)) for one in candidates]
    search.observer.phase("select", sum(len(drawn) for _, drawn in drawn_of))
    everyone = [drawn for _, every in drawn_of for _, drawn in every]
    search.assessor.ahead(everyone, "select", search.searched)
    found = []
    for one, every in drawn_of:
        draws = []
        for seed, drawn in every:
            values = _values(search, drawn)
            if values is None:
                break
            draws.append(Draw(seed, drawn.recipe_hash, values, rule.utility(scales, values)))
        else:
            found.append(Contender(one, tuple(draws)))
    return found


def choose(
    search: Search,
    rule: WinnerRule,
    scales: Mapping[str, Scale],
    contenders: Sequence[Contender],
) -> Choice:
    """The simplest within one standard error of the most useful; of equally simple ones the best.

    Args:
        search: Whose items and results.
        rule: How a utility is made of objectives.
        scales: And on which scale.
        contenders: At least one; the earlier one of equals counts as the better.
    """
    best = max(contenders, key=lambda one: one.utility)
    limit = complexity(best.candidate)
    simpler = [one for one in contenders if complexity(one.candidate) < limit]
    for one in sorted(simpler, key=lambda one: (complexity(one.candidate), -one.utility)):
        lead = round(best.utility - one.utility, 12)
        sides = [_results(search, side) for side in (best, one)]
        objectives, scorer = search.objectives, search.scorer
        paired = pair(search.tasks, scorer.splits, "select", objectives, rule, scales, *sides)
        error = utility_difference_error(paired.tasks, paired.utility, seed=search.proposing.seed)
        if lead <= error:
            return Choice(one, best, lead, error)
    return Choice(best, best)


def _values(search: Search, candidate: Candidate) -> dict[str, float] | None:
    """Objective values on `select`, None where one is not a number."""
    search.observer.scoring(candidate)
    merge = search.executor.prepare(candidate.data)
    try:
        results = search.scorer.score(merge, "select", search.searched, Spent())
    except UNSCORABLE:
        return None
    values = {one.name: objective_value(one, search.tasks, results) for one in search.objectives}
    return values if all(map(math.isfinite, values.values())) else None


def _results(search: Search, contender: Contender) -> list[Results]:
    """What the ledger has of each draw on `select`."""
    return [
        search.scorer.known(draw.recipe_hash, "select", search.searched)
        for draw in contender.draws
    ]
