"""What the winner costs, task by task: against the best parent and the uniform merge, after Holm.

The best parent of a task is the one that `select` puts first, so that the test split chooses
nothing. All comparisons of all tasks are one family.
"""

from collections.abc import Mapping, Sequence

from evaluation.splits import MIN_CLAIM_GROUPS
from evaluation.statistics import holm, paired_p_value
from search.judge import compared
from search.ledger import Candidate, label
from search.objectives import ConstraintSpec, resolve_metric, violation

from .estimates import Scores, metric_difference, metric_estimate

LEVEL = 0.05
"""Of the family of all tasks and both rivals, by Holm."""
Part = tuple[str, str]
"""(task, metric)."""


def price_sentences(
    scores: Scores,
    winner: Candidate,
    references: Sequence[Candidate],
    columns: Mapping[str, Part],
) -> tuple[str, ...]:
    """Of each column of the test table a sentence on its best parent, one on the uniform merge.

    Where both were scored. None for what has the winner's own weights, and for columns of fewer
    than MIN_CLAIM_GROUPS groups.
    """
    family = [
        (name, named, rival)
        for name, part in columns.items()
        if scores.complete(winner, part[0], "test")
        and len({item.group for item in scores.items(part[0], "test")}) >= MIN_CLAIM_GROUPS
        for named, rival in _rivals(scores, references, part)
        if rival.recipe_hash != winner.recipe_hash
    ]
    values = [_p_value(scores, winner, rival, columns[name]) for name, _, rival in family]
    return tuple(
        _sentence(scores, winner, rival, named, name, columns[name], p)
        for (name, named, rival), p in zip(family, holm(values), strict=True)
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


def _rivals(
    scores: Scores, references: Sequence[Candidate], part: Part
) -> list[tuple[str, Candidate]]:
    """(what it is called, who) for whatever of the two was scored."""
    task, metric = part
    scored = [one for one in references if scores.complete(one, task, "test")]
    parents = [
        one for one in scored if one.role == "parent" and scores.complete(one, task, "select")
    ]
    rivals = []
    if parents:
        better = max if scores.tasks[task].metrics[metric].higher_is_better else min
        best = better(parents, key=lambda one: metric_estimate(scores, one, *part, "select").value)
        rivals.append((f"its best parent, {label(best)}", best))
    return rivals + [("the uniform merge", one) for one in scored if one.role == "uniform"]


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
    scores: Scores,
    winner: Candidate,
    rival: Candidate,
    named: str,
    column: str,
    part: Part,
    p: float,
) -> str:
    task, metric = part
    difference = metric_difference(scores, winner, rival, task, metric, "test").value
    gain = difference if scores.tasks[task].metrics[metric].higher_is_better else -difference
    sure = f"p {_p_text(p)} after Holm"
    if p >= LEVEL:
        return f"{column}: no difference shown from {named} ({difference:+.3f}, {sure})."
    verdict = "better" if gain > 0 else "worse"
    return f"{column}: {abs(difference):.3f} {verdict} than {named} ({sure})."


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
