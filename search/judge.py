"""From results to a candidate's outcome: scores, estimates, violations of constraints."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.task import Task

from .board import Board
from .errors import SearchError
from .ledger import Candidate, label
from .objectives import (
    ConstraintSpec,
    Objective,
    Results,
    metric_value,
    objective_value,
    resolve_metric,
    violation,
)


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges what the board knows, by the study's objectives and constraints."""

    board: Board
    tasks: Mapping[str, Task]
    objectives: Sequence[Objective]
    constraints: Sequence[ConstraintSpec]

    def scored(self, candidate: Candidate, results: Results, settings: str) -> Candidate:
        """The candidate with its scores, all items known; failed where one is no number."""
        values = {one.name: objective_value(one, self.tasks, results) for one in self.objectives}
        for name, value in values.items():
            if not math.isfinite(value):
                return failed(candidate, f"objective {name} is {value}")
        scores = tuple(values.values())
        return candidate.ended(
            state="complete", scores=scores, estimates=None, errors=None, settings=settings
        )

    def estimated(self, candidate: Candidate, results: Results, settings: str) -> Candidate:
        """The candidate as it waits, scored on some items; failed where a metric is no number."""
        for objective in self.objectives:
            for task, metric in objective.parts:
                found = results[task]
                value = metric_value(self.tasks[task], metric, found) if found else 0.0
                if not math.isfinite(value):
                    return failed(candidate, f"objective {objective.name} is {value}")
        known = [self.board.objective(label(candidate), one).value for one in self.objectives]
        estimates = tuple(known)
        return candidate.ended(state="paused", estimates=estimates, errors=None, settings=settings)

    def constrained(self, candidate: Candidate, references: Sequence[Candidate]) -> Candidate:
        """The candidate with how far it violates each constraint, on the search split."""
        if candidate.scores is None and candidate.estimates is None:
            return candidate
        violations = tuple(
            self._violation(spec, candidate, references) for spec in self.constraints
        )
        return candidate.ended(violations=violations)

    def _violation(
        self, spec: ConstraintSpec, candidate: Candidate, references: Sequence[Candidate]
    ) -> float:
        part = resolve_metric(spec.metric, self.tasks)
        higher = self.tasks[part[0]].metrics[part[1]].higher_is_better
        value = self.board.metric(label(candidate), part).value
        source = value
        if spec.max_drop is not None:
            better = max if higher else min
            sources = compared(spec.source, references)
            if not sources:
                raise SearchError(f"a constraint compares with {spec.source}, not to be scored")
            source = better(self.board.metric(label(one), part).value for one in sources)
        return violation(value, spec, source, higher)


def failed(candidate: Candidate, error: str) -> Candidate:
    """Without the scores it may have had under other settings."""
    unknown = {"scores": None, "estimates": None, "errors": None, "violations": ()}
    return candidate.ended(state="failed", error=error, **unknown)


def compared(source: str, references: Sequence[Candidate]) -> list[Candidate]:
    """The scored references that a constraint's `from` means.

    Base, every parent, or one by name.
    """
    role = {"base": "base", "best_parent": "parent"}.get(source)
    return [
        one
        for one in references
        if one.scores is not None and (one.role == role or one.name == source)
    ]
