"""Trials and references as a report shows them: values, intervals, recipe, beside the parents."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from search.blocks import looks
from search.ledger import SCORED, Candidate, label
from search.loop import searched_tasks
from search.winner import feasible

from . import view
from .against import Comparison
from .estimates import KEPT, objective_estimate

if TYPE_CHECKING:
    from .results import Found

REACH = 1.96
"""Standard errors of a race's estimate on either side: a normal 95% interval."""


def objectives_of(
    found: "Found", candidate: Candidate, with_interval: bool
) -> dict[str, view.Estimate]:
    """Objectives on the search split: scores, or the estimates of a race."""
    if candidate.standing is None:
        return {}
    pairs = zip(found.preflight.objectives, candidate.standing, strict=True)
    if not with_interval:
        return {one.name: view.Estimate(score) for one, score in pairs}
    if candidate.estimates is not None:
        return _estimated(found, candidate)
    return {
        one.name: objective_estimate(found.scores, candidate, one, "search") for one, _ in pairs
    }


def _estimated(found: "Found", candidate: Candidate) -> dict[str, view.Estimate]:
    """Estimates of a race with normal 95% intervals, and the items that were scored."""
    shown = {}
    errors = candidate.errors or ()
    for place, objective in enumerate(found.preflight.objectives):
        value = (candidate.estimates or ())[place]
        if errors and not errors[place] and candidate.scores is not None:
            shown[objective.name] = objective_estimate(
                found.scores, candidate, objective, "search"
            )
            continue  # no numbers of single items, so no error of the race's
        reach = REACH * errors[place] if errors and errors[place] else None
        items = sum(
            len(found.scores.results(candidate, task, "search")) for task, _ in objective.parts
        )
        low, high = (None, None) if reach is None else (value - reach, value + reach)
        shown[objective.name] = view.Estimate(value, low, high, items)
    return shown


def selected(found: "Found", candidate: Candidate) -> dict[str, view.Estimate]:
    """Objectives on `select`, of whoever met the others there."""
    if found.verdict is None or label(candidate) not in found.verdict.utilities:
        return {}
    return {
        one.name: objective_estimate(found.scores, candidate, one, "select")
        for one in found.preflight.objectives
        if all(found.scores.complete(candidate, task, "select") for task, _ in one.parts)
    }


def trial_views(found: "Found") -> tuple[view.TrialView, ...]:
    """Every trial, not yet beside the parents."""
    on_front = {one.number for one in found.front}
    so_far = sum(one.items for one in found.references)
    shown = []
    for one in found.trials:
        so_far += one.items
        shown.append(
            view.TrialView(
                number=one.number,
                state=one.state,
                origin=one.name,
                parameters=dict(one.values or {}),
                objectives=objectives_of(found, one, one.number in on_front),
                items=one.items,
                items_so_far=so_far,
                propose_seconds=one.propose_seconds,
                build_seconds=one.build_seconds,
                score_seconds=one.score_seconds,
                feasible=feasible(one),
                on_front=one.number in on_front,
                recipe_yaml=found.yaml(one),
                error=one.error,
                looks=one.looks,
                select=selected(found, one),
            )
        )
    return tuple(shown)


def reference_views(found: "Found") -> tuple[view.ReferenceView, ...]:
    """Every reference, not yet beside the parents."""
    return tuple(
        view.ReferenceView(
            label(one),
            one.role,
            objectives_of(found, one, True),
            found.yaml(one),
            selected(found, one),
        )
        for one in found.references
    )


def with_comparisons(
    found: "Found", shown: view.RunView, random: Candidate | None
) -> view.RunView:
    """The view with every scored candidate beside the parents, and the questions of examples.

    The winner chooses examples first, then random search's best, the front, the references.
    """
    comparison = Comparison(found)
    beside: dict[tuple[str, int], tuple[view.Against, ...]] = {}
    front = {one.number for one in found.front}
    won = shown.winner.number if shown.winner else None
    everyone = [*([random] if random else []), *found.references, *found.trials]

    def rank(one: Candidate) -> tuple[bool, ...]:
        trial = one.kind == "trial"
        return not (trial and one.number == won), trial, trial and one.number not in front

    scored = [one for one in sorted(everyone, key=rank) if one.state in SCORED]
    ahead = max(1, KEPT // (2 * len(found.preflight.tasks)))
    for start in range(0, len(scored), ahead):
        comparison.read_ahead(some := scored[start : start + ahead])
        for one in some:
            whole = one.kind != "trial" or bool(shown.trials[one.number].select)
            many = one.kind != "trial" or one.number in front or one.number == won
            beside[one.kind, one.number] = comparison.of(one, whole=whole, many=many)
    trials = tuple(
        replace(one, against=beside.get(("trial", one.number), ())) for one in shown.trials
    )
    references = tuple(
        replace(one, against=beside.get(("reference", candidate.number), ()))
        for one, candidate in zip(shown.references, found.references, strict=True)
    )
    other = shown.beside
    if other is not None and random is not None:
        other = replace(other, against=beside.get(("beside", random.number), ()))
    return replace(
        shown, trials=trials, references=references, beside=other, items=comparison.items
    )


def look_items(found: "Found") -> tuple[int, ...]:
    """Items that a usual trial has been scored on after each look; one number without a race."""
    study = found.preflight
    searched = searched_tasks(study.tasks, study.objectives, study.study.constraints)
    splits: Mapping[str, list[int]] = {
        task: [
            sum(len(block) for block in step) for step in looks(study.splits[task]["search"], None)
        ]
        for task in searched
    }
    if not found.preflight.study.racing:
        return (sum(map(sum, splits.values())),)
    length = max(map(len, splits.values()), default=0)
    each = [sum(one[at] for one in splits.values() if at < len(one)) for at in range(length)]
    return tuple(sum(each[: at + 1]) for at in range(length))
