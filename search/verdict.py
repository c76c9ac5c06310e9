"""The verdict: finalists and references meet on `select`, then winner and references on `test`.

The test split is opened once the budget has ended. Every opening is counted; a search extended
afterwards has seen it, and the report and the claim then say how often.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evaluation.errors import NonFiniteError

from .errors import SearchError
from .ledger import Candidate, Ledger, label
from .loop import Search
from .objectives import Scale, objective_value
from .scoring import Spent
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


def decide(search: Search, rule: WinnerRule) -> Verdict:
    """Scores what is left to score on `select` and `test`.

    And stores the verdict in the ledger.
    """
    everyone = search.ledger.candidates("reference")
    references = [one for one in everyone if one.scores is not None]
    trials = search.ledger.candidates("trial")
    scales = frozen_scales(everyone, search.objectives)
    contenders = [*references, *finalists(trials, search.objectives, rule, scales)]
    utilities = _select(search, rule, scales, contenders)
    eligible = {label(one) for one in contenders if feasible(one)} & utilities.keys()
    if not eligible:
        raise NoWinner("no candidate keeps the constraints and could be scored: no winner")
    winner = best({name: value for name, value in utilities.items() if name in eligible})
    verdict = Verdict(winner, _rival(references, utilities), utilities, scales, len(trials), rule)
    chosen = next(one for one in contenders if label(one) == winner)
    _open_test(search, [chosen, *references])
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
    return Verdict(**{**found, "scales": scales, "rule": WinnerRule(**found["rule"])})


def _select(
    search: Search,
    rule: WinnerRule,
    scales: Mapping[str, Scale],
    contenders: Sequence[Candidate],
) -> dict[str, float]:
    utilities: dict[str, float] = {}
    for one in contenders:
        search.observer.scoring(one)
        merge = search.executor.prepare(one.data)
        try:
            results = search.scorer.score(merge, "select", search.searched, Spent())
        except NonFiniteError:
            continue
        values = {
            objective.name: objective_value(objective, search.tasks, results)
            for objective in search.objectives
        }
        utilities[label(one)] = rule.utility(scales, values)
    return utilities


def _open_test(search: Search, entrants: Sequence[Candidate]) -> None:
    tasks = [task for task in search.tasks if search.scorer.splits[task]["test"]]
    if not tasks:
        return
    opened: list[dict[str, Any]] = search.ledger.meta("test_opened") or []
    opening = {
        "winner": entrants[0].recipe_hash,
        "trials": len(search.ledger.candidates("trial")),
    }
    if not opened or opened[-1] != opening:
        # Written before a figure is seen: a kill in between must not make the second look the
        # first.
        search.ledger.set_meta("test_opened", [*opened, opening])
    for one in entrants:
        search.observer.scoring(one)
        merge = search.executor.prepare(one.data)
        try:
            search.scorer.score(merge, "test", tasks, Spent())
        except NonFiniteError:
            continue
