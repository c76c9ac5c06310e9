"""What the winner costs, task by task, against each task's best parent on `test`, after Holm.

The best parent of a task is the one that `select` puts first, so that the test split chooses
nothing.
"""

from collections.abc import Mapping, Sequence

from evaluation.splits import MIN_CLAIM_GROUPS
from evaluation.statistics import holm, paired_p_value
from search.judge import compared
from search.ledger import Candidate, label
from search.objectives import ConstraintSpec, resolve_metric, violation

from .estimates import Scores, metric_difference, metric_estimate

LEVEL = 0.05
"""Of the family of all tasks, by Holm."""
Part = tuple[str, str]
"""(task, metric)."""


def price_sentences(
    scores: Scores,
    winner: Candidate,
    parents: Sequence[Candidate],
    columns: Mapping[str, Part],
) -> tuple[str, ...]:
    """One sentence a column of the test table that winner and a parent were scored on.

    Columns of fewer than MIN_CLAIM_GROUPS groups have none.
    """
    rivals = {
        name: rival
        for name, part in columns.items()
        if scores.complete(winner, part[0], "test")
        and len({item.group for item in scores.items(part[0], "test")}) >= MIN_CLAIM_GROUPS
        and (rival := _best(scores, parents, part)) is not None
        and rival.recipe_hash != winner.recipe_hash
    }
    adjusted = holm([_p_value(scores, winner, rivals[name], columns[name]) for name in rivals])
    return tuple(
        _sentence(scores, winner, rivals[name], name, columns[name], p)
        for name, p in zip(rivals, adjusted, strict=True)
    )


def constraint_sentences(
    scores: Scores,
    winner: Candidate,
    references: Sequence[Candidate],
    constraints: Sequence[ConstraintSpec],
) -> tuple[str, ...]:
    """Whether the winner keeps each constraint on `test`: it was only held to it on `search`."""
    sentences = []
    for spec in constraints:
        task, metric = resolve_metric(spec.metric, scores.tasks)
        sources = [
            one for one in compared(spec.source, references) if scores.complete(one, task, "test")
        ]
        if not scores.complete(winner, task, "test") or (
            spec.max_drop is not None and not sources
        ):
            continue
        higher = scores.tasks[task].metrics[metric].higher_is_better
        value = metric_estimate(scores, winner, task, metric, "test").value
        values = [metric_estimate(scores, one, task, metric, "test").value for one in sources]
        source = (max if higher else min)(values) if values else value
        excess = violation(value, spec, source, higher)
        outcome = "kept" if excess <= 0 else f"broken by {excess:.3f}"
        sentences.append(f"The constraint on {task} {metric} is {outcome} on the test split.")
    return tuple(sentences)


def _best(scores: Scores, parents: Sequence[Candidate], part: Part) -> Candidate | None:
    task, metric = part
    able = [
        one
        for one in parents
        if scores.complete(one, task, "select") and scores.complete(one, task, "test")
    ]
    if not able:
        return None
    better = max if scores.tasks[task].metrics[metric].higher_is_better else min
    return better(able, key=lambda one: metric_estimate(scores, one, *part, "select").value)


def _p_value(scores: Scores, winner: Candidate, rival: Candidate, part: Part) -> float:
    task, metric = part
    return paired_p_value(
        scores.rows(winner, task, metric, "test"),
        scores.rows(rival, task, metric, "test"),
        [item.group for item in scores.items(task, "test")],
        scores.tasks[task].metrics[metric].aggregate,
        seed=scores.seed,
    )


def _sentence(
    scores: Scores, winner: Candidate, rival: Candidate, column: str, part: Part, p: float
) -> str:
    task, metric = part
    difference = metric_difference(scores, winner, rival, task, metric, "test").value
    gain = difference if scores.tasks[task].metrics[metric].higher_is_better else -difference
    sure = f"p {_p_text(p)} after Holm"
    if p >= LEVEL:
        return (
            f"{column}: no difference shown from its best parent, {label(rival)} "
            f"({difference:+.3f}, {sure})."
        )
    verdict = "better" if gain > 0 else "worse"
    return (
        f"{column}: {abs(difference):.3f} {verdict} than its best parent, {label(rival)} ({sure})."
    )


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
