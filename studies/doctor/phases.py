"""What a search will score, phase by phase, in items: one candidate on one question.

All are upper bounds, where minutes do not end the search. Minutes come from `measuring`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from merging.methods.table import METHODS
from search.blocks import looks
from search.loop import searched_tasks
from search.mask_seeds import MASK_SEEDS
from search.winner import MAX_FINALISTS

from ..preflight import Preflight
from ..proposing import planned_gradients
from ..terms import items_per_candidate


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase: its items (None: minutes decide), and what they are in words.

    `draws`: how many candidates are built at most.
    """

    name: str
    items: int | None
    what: str
    candidates: int | None = None


def phases_of(found: Preflight) -> tuple[Phase, ...]:
    """References, gradients, trials, select, test; in the order of the search."""
    first = (_references(found), _gradients(found))
    spent = sum(one.items or 0 for one in first)
    return (*first, _trials(found, spent), *_end(found))


def draws_of(found: Preflight) -> int:
    """Mask seeds that a finalist is scored with."""
    return MASK_SEEDS if any(METHODS[name].random for name in found.space.methods) else 1


def first_look(found: Preflight) -> dict[str, int]:
    """Items of the first look at a trial of a race, by task."""
    searched = searched_tasks(found.tasks, found.objectives, found.study.constraints)
    splits = {task: found.splits[task]["search"] for task in searched}
    return {task: sum(map(len, looks(one, None)[0])) for task, one in splits.items() if one}


def _references(found: Preflight) -> Phase:
    count, each = len(found.references), items_per_candidate(found)
    return Phase("references", count * each, f"{count} models in full, {each:,} items each", count)


def _gradients(found: Preflight) -> Phase:
    planned = planned_gradients(found)
    if isinstance(planned, str):
        return Phase("gradients", 0, planned, 0)
    plan, items = planned
    text = f"at most {plan.points} starting points from {plan.evaluations} backward passes"
    return Phase("gradients", items, text, plan.points)


def _trials(found: Preflight, spent: int) -> Phase:
    """At most every trial in full: how far a race gets with fewer cannot be told before."""
    budget, each = found.study.budget, items_per_candidate(found)
    look = sum(first_look(found).values()) if found.study.racing else each
    raced = f"raced: {look:,} items at first, more for who may win" if look < each else "in full"
    limits, items, count = [], [], []
    if budget.trials is not None:
        limits.append(f"{budget.trials:,} trials")
        items.append(budget.trials * each)
        count.append(budget.trials)
    if budget.items is not None:
        limits.append(f"what is left of {budget.items:,} items")
        items.append(max(0, budget.items - spent))
        count.append(items[-1] // max(1, look))
    if not limits:
        return Phase("trials", None, f"as many as {budget.minutes:g} minutes allow, {raced}")
    return Phase("trials", min(items), f"{' or '.join(limits)}, {raced}", min(count))


def _end(found: Preflight) -> Sequence[Phase]:
    references, draws = len(found.references), draws_of(found)
    masks = f", each with {draws} mask seeds" if draws > 1 else ""
    finalists = draws * MAX_FINALISTS
    select = (references + finalists) * items_per_candidate(found, "select")
    text = f"references and at most {MAX_FINALISTS} finalists{masks}"
    if found.study.constraints and found.study.racing:
        select += MAX_FINALISTS * items_per_candidate(found)
        text += ", for whom the rest of `search` too (constraints)"
    test = sum(len(splits["test"]) for splits in found.splits.values())
    told = f"references and the winner{masks}, once" if test else "no test split"
    return (
        Phase("select", select, text, references + finalists),
        Phase("test", (references + draws) * test, told, references + draws),
    )
