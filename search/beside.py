"""Random search beside a search: what the same number of item evaluations finds without a sampler.

Plain uniform draws of the same space, without warm starts, each scored in full; the references are
the same. Candidates are of a kind of their own in the ledger, so that a killed one goes on and no
trial, front or proposal ever sees them; item results are shared by recipe hash, and a candidate
counts as all of its items though another had paid for them. Its best is chosen on `select` as the
search's best trial is. `test` is never opened for it: a second candidate there would be a second
claim, and whoever then took the better of the two would have searched on `test`.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from merging.errors import MergeError

from .contest import Draw, choose, contest
from .ledger import Candidate, Ledger
from .loop import Search
from .proposals import Finished, ProposalRequest, propose
from .trials import with_mask_seed
from .winner import WinnerRule, feasible, finalists, frozen_scales

TOGETHER = 2
"""So many candidates for each worker are scored at a time, where there is a pool."""


@dataclass(frozen=True, slots=True)
class Side:
    """The candidate that one of the two searches puts first on `select`, with its draws."""

    number: int
    utility: float
    draws: tuple[Draw, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """How a random search compares with the search it stands beside."""

    trials: int
    """How many trials the search had when this was decided."""
    items: int
    """Item evaluations that those trials took: what random search was given."""
    each: int
    """Item evaluations of one candidate in full."""
    search: Side | None
    """None where no trial keeps the constraints and could be scored."""
    random: Side | None


def search_beside(search: Search, rule: WinnerRule) -> Beside:
    """Runs, or goes on with, the random search, and compares; stores the outcome in the ledger.

    Call it when the search has ended.
    """
    references = search.ledger.candidates("reference")
    trials = search.ledger.candidates("trial")
    items, each = _spent(search, trials, references), search.items_per_candidate
    found = _candidates(search, references, math.ceil(items / each))
    theirs, ours = (_first(search, rule, side, references) for side in (found, trials))
    outcome = Beside(len(trials), items, each, ours, theirs)
    search.ledger.set_meta("beside", asdict(outcome))
    return outcome


def stored_beside(ledger: Ledger) -> Beside | None:
    """The last comparison of a run, None where there was none."""
    found: dict[str, Any] | None = ledger.meta("beside")
    if found is None:
        return None
    sides = {name: _side(found[name]) for name in ("search", "random")}
    return Beside(**{**found, **sides})


def _side(found: dict[str, Any] | None) -> Side | None:
    if found is None:
        return None
    return Side(**{**found, "draws": tuple(Draw(**one) for one in found["draws"])})


def _spent(search: Search, trials: Sequence[Candidate], references: Sequence[Candidate]) -> int:
    """What the trials cost, or would have if no other run had lent its results."""
    free = {one.recipe_hash for one in references}
    hashes = dict.fromkeys(one.recipe_hash for one in trials if one.recipe_hash not in free)
    known = (search.scorer.known(one, "search", search.searched) for one in hashes if one)
    results = sum(len(task) for found in known for task in found.values())
    return max(sum(one.items for one in trials), results)


def _candidates(search: Search, references: Sequence[Candidate], wanted: int) -> list[Candidate]:
    """Random candidates up to a number, scored; those that were stored are as they were."""
    stored = search.ledger.candidates("beside")
    found: list[Candidate] = []
    search.observer.phase("beside", wanted)
    together = 1 if search.pool is None else TOGETHER * search.pool.workers
    while len(found) < wanted:
        for one in _next(search, stored, found, min(together, wanted - len(found))):
            settled = one.state == "failed" or one.settings == search.executor.settings
            if one.state == "running" or not settled:
                one = search.assessor.in_full(one, references)
                search.ledger.put(one)
                search.observer.ended(one)
            found.append(one)
    return found


def _next(
    search: Search, stored: Sequence[Candidate], found: Sequence[Candidate], count: int
) -> list[Candidate]:
    """The next candidates, stored, with what they cost where all workers scored them together."""
    following: list[Candidate] = []
    for number in range(len(found), len(found) + count):
        if number < len(stored):
            following.append(stored[number])
        else:
            following.append(_drawn(search, [*found, *following]))
            search.ledger.put(following[-1])
    due = [one for one in following if one.state == "running"]
    paid = {one.number: one for one in search.assessor.ahead(due, "search", search.searched)}
    return [paid.get(one.number, one) for one in following]


def _drawn(search: Search, before: Sequence[Candidate]) -> Candidate:
    """The next candidate: a function of the study's seed and its number, and of no score."""
    proposing, number = search.proposing, len(before)
    plan = proposing.refinement
    coordinates = proposing.coordinates if plan is None else plan.stages.coordinates[-1]
    request = ProposalRequest(
        seed=seed_of_beside(proposing.seed),
        number=number,
        sampler="random",
        coordinates=coordinates,
        higher_is_better=tuple(one.higher_is_better for one in search.objectives),
        finished=tuple(Finished(one.number, one.values or {}, one.scores) for one in before),
    )
    values = propose(request).values
    data = with_mask_seed(coordinates.space.fill(values), proposing.mask_seed)
    name = f"random {number}"
    fresh = Candidate("beside", number, name, data, "", values=dict(values), sampler="random")
    try:
        return fresh.ended(recipe_hash=search.executor.prepare(data).hash)
    except MergeError as error:
        return fresh.ended(state="failed", error=str(error))


def seed_of_beside(seed: int) -> int:
    """Another stream than that of a study whose own sampler is random."""
    digest = hashlib.blake2b(f"beside:{seed}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def _first(
    search: Search,
    rule: WinnerRule,
    candidates: Sequence[Candidate],
    references: Sequence[Candidate],
) -> Side | None:
    """The candidate that the winner rule takes among these alone, references left out."""
    scales = frozen_scales(references, search.objectives)
    entrants = finalists(candidates, search.objectives, rule, scales)
    able = [one for one in contest(search, rule, scales, entrants) if feasible(one.candidate)]
    if not able:
        return None
    chosen = choose(search, rule, scales, able).chosen
    return Side(chosen.candidate.number, chosen.utility, chosen.draws)
