"""Who won: at most 16 members of the front and the references meet on `select`.

The search split is overfitted by having been searched on, so it only nominates. Utilities are on
the scale of `objectives.Scale`, whose constants are frozen on `search`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .front import pareto_front
from .ledger import Candidate
from .objectives import Objective, Rule, Scale, combine, make_scale

MAX_FINALISTS = 16


@dataclass(frozen=True, slots=True)
class WinnerRule:
    """The study's `winner`: the rule, its weights by objective, its task."""

    rule: Rule
    weights: Mapping[str, float]
    task: str | None

    def utility(self, scales: Mapping[str, Scale], values: Mapping[str, float]) -> float:
        """One number from objective values; higher is better."""
        utilities = {name: scales[name].utility(value) for name, value in values.items()}
        return combine(self.rule, utilities, self.weights, self.task)


def frozen_scales(
    references: Sequence[Candidate], objectives: Sequence[Objective]
) -> dict[str, Scale]:
    """The scale of every objective from the references' scores on `search`."""
    base = next(one for one in references if one.role == "base")
    parents = [one for one in references if one.role == "parent"]
    scales = {}
    for index, objective in enumerate(objectives):
        values = [parent.scores[index] for parent in parents if parent.scores is not None]
        zero = base.scores[index] if base.scores is not None else 0.0
        scales[objective.name] = make_scale(zero, values, objective.higher_is_better)
    return scales


def feasible(candidate: Candidate) -> bool:
    """Whether a candidate was scored, at least on some items, and keeps every constraint."""
    return candidate.standing is not None and all(one <= 0 for one in candidate.violations)


def _able(trials: Sequence[Candidate]) -> list[Candidate]:
    """Who may be nominated: scored, at least on some items and not dropped, and feasible."""
    return [one for one in trials if one.state in ("complete", "paused") and feasible(one)]


def front(trials: Sequence[Candidate], objectives: Sequence[Objective]) -> list[Candidate]:
    """The feasible trials that no other one dominates on `search`, by number."""
    able = _able(trials)
    if not able:
        return []
    values = [trial.standing or () for trial in able]
    chosen = pareto_front(values, [one.higher_is_better for one in objectives])
    return [able[index] for index in sorted(chosen)]


def finalists(
    trials: Sequence[Candidate],
    objectives: Sequence[Objective],
    rule: WinnerRule,
    scales: Mapping[str, Scale],
) -> list[Candidate]:
    """The members of the front that meet on `select`: the most useful on `search`, none twice.

    With a single objective they are the best trials.
    """
    seen: set[str] = set()
    distinct = []
    able = _able(trials)
    # With one objective the front is one trial, and `select` would have nothing to choose from.
    for trial in front(trials, objectives) if len(objectives) > 1 else able:
        if trial.recipe_hash not in seen:
            seen.add(trial.recipe_hash)
            distinct.append(trial)

    def rank(trial: Candidate) -> tuple[float, int]:
        values = {
            one.name: score for one, score in zip(objectives, trial.standing or (), strict=True)
        }
        return -rule.utility(scales, values), trial.number

    return sorted(sorted(distinct, key=rank)[:MAX_FINALISTS], key=lambda trial: trial.number)


def best(utilities: Mapping[str, float]) -> str:
    """The name with the highest utility; the earlier one of equals (references stand first)."""
    return max(utilities, key=lambda name: utilities[name])
