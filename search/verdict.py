"""The verdict: finalists and references meet on `select`, then winner and references on `test`.

The test split is opened once the budget has ended. Every opening is counted; a search extended
afterwards has seen it, and the report and the claim then say how often. A random merge that wins
is scored there with its other masks too: the claim is about the exported weights, the mean of all
stands beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .contest import Draw, choose, contest, draws_of
from .errors import SearchError
from .ledger import Candidate, Ledger, label
from .loop import Search
from .objectives import Scale
from .scoring import UNSCORABLE, Spent
from .winner import WinnerRule, best, feasible, finalists, frozen_scales


class NoWinner(SearchError):
    """No candidate keeps the constraints and could be scored."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who won, over whom. Labels are those of `label`; utilities are on `select`."""

    winner: str
    rival: str
    """The parent that `select` puts first: the claim is the winner's gain over it."""
    utilities: Mapping[str, float]
    scales: Mapping[str, Scale]
    trials: int
    """How many trials the search had when this was decided."""
    rule: WinnerRule
    best: str = ""
    """Who has the highest utility; the winner, or more complex and within `error` of it."""
    lead: float = 0.0
    """How far `best` is ahead of the winner."""
    error: float = 0.0
    """The standard error of that difference."""
    draws: Mapping[str, tuple[Draw, ...]] = field(default_factory=dict)
    """Of each random contender its mask seeds, its own first; `utilities` has their mean."""


def decide(search: Search, rule: WinnerRule) -> Verdict:
    """Scores what is left to score on `select` and `test`.

    And stores the verdict in the ledger.
    """
    everyone = search.ledger.candidates("reference")
    references = [one for one in everyone if one.scores is not None]
    trials = search.ledger.candidates("trial")
    scales = frozen_scales(everyone, search.objectives)
    nominated = finalists(trials, search.objectives, rule, scales)
    if search.constraints:
        waiting = [one for one in nominated if one.state != "complete"]
        ahead = search.assessor.ahead(waiting, "search", search.searched)
        paid = {one.number: one for one in ahead}
        nominated = [search.completed(paid.get(one.number, one), references) for one in nominated]
    entrants = [*references, *nominated]
    contenders = contest(search, rule, scales, entrants)
    eligible = [one for one in contenders if feasible(one.candidate)]
    if not eligible:
        raise NoWinner("no candidate keeps the constraints and could be scored: no winner")
    choice = choose(search, rule, scales, eligible)
    utilities = {label(one.candidate): one.utility for one in contenders}
    winner = choice.chosen.candidate
    verdict = Verdict(
        winner=label(winner),
        rival=_rival(references, utilities),
        utilities=utilities,
        scales=scales,
        trials=len(trials),
        rule=rule,
        best=label(choice.best.candidate),
        lead=choice.lead,
        error=choice.error,
        draws={label(one.candidate): one.draws for one in contenders if len(one.draws) > 1},
    )
    _open_test(search, winner, references)
    search.ledger.set_meta("verdict", asdict(verdict))
    return verdict


def _rival(references: Sequence[Candidate], utilities: Mapping[str, float]) -> str:
    """The parent that `select` puts first, whether or not it keeps the constraints."""
    scored = [one for one in references if label(one) in utilities]
    parents = [label(one) for one in scored if one.role == "parent"]
    others = [label(one) for one in scored]
    return best({name: utilities[name] for name in parents or others})


def stored_verdict(ledger: Ledger) -> Verdict | None:
    """The last verdict of a run, None before there was one."""
    found: dict[str, Any] | None = ledger.meta("verdict")
    if found is None:
        return None
    scales = {name: Scale(**scale) for name, scale in found["scales"].items()}
    draws = {
        name: tuple(Draw(**one) for one in drawn) for name, drawn in found.get("draws", {}).items()
    }
    rule = WinnerRule(**found["rule"])
    return Verdict(**{**found, "scales": scales, "rule": rule, "draws": draws})


def _open_test(search: Search, winner: Candidate, references: Sequence[Candidate]) -> None:
    tasks = [task for task in search.tasks if search.scorer.splits[task]["test"]]
    if not tasks:
        return
    opened: list[dict[str, Any]] = search.ledger.meta("test_opened") or []
    opening = {
        "winner": winner.recipe_hash,
        "trials": len(search.ledger.candidates("trial")),
    }
    if not opened or opened[-1] != opening:
        # Written before a figure is seen: a kill in between must not make the second look the
        # first.
        search.ledger.set_meta("test_opened", [*opened, opening])
    draws = [drawn for _, drawn in draws_of(search, winner)]
    search.observer.phase("test", len(draws) + len(references))
    search.assessor.ahead([*draws, *references], "test", tasks)
    for one in [*draws[:1], *references, *draws[1:]]:
        search.observer.scoring(one)
        merge = search.executor.prepare(one.data)
        try:
            search.scorer.score(merge, "test", tasks, Spent())
        except UNSCORABLE:
            continue
