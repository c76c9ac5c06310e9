"""The search: references first, then trials until the budget ends.

Every step is in the ledger before the next. Trial n is proposed from all trials up to n-2, with
n-1 pending, and is proposed while n-1 is being scored: so it is a pure function of the seed and
the ledger, and a search that was killed anywhere goes on as if it had not been.
"""

import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from evaluation.errors import NonFiniteError
from evaluation.task import Task
from merging.errors import MergeError

from .errors import SearchError
from .executors import Executor
from .gradients import Gradients
from .ledger import Candidate, Ledger
from .objectives import (
    Budget,
    ConstraintSpec,
    MetricRef,
    Objective,
    metric_value,
    objective_value,
    resolve_metric,
    violation,
)
from .proposals import Proposal, Proposer
from .scoring import Scorer, Spent
from .study_log import StudyLog
from .trials import Proposing
from .warm_start import Reference


class Observer(Protocol):
    """Is told how the search goes; must not steer it."""

    def scoring(self, candidate: Candidate) -> None:
        """A candidate is about to be built and scored."""
        ...

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Trials that an earlier search of this run had ended."""
        ...

    def ended(self, candidate: Candidate) -> None:
        """A candidate has its scores, or failed."""
        ...

    def note(self, text: str) -> None:
        """A line for whoever watches."""
        ...


@dataclass(slots=True)
class Search:
    """Everything one search needs; `run` goes on from wherever the ledger stands."""

    ledger: Ledger
    executor: Executor
    tasks: Mapping[str, Task]
    scorer: Scorer
    proposing: Proposing
    references: Sequence[Reference]
    objectives: Sequence[Objective]
    constraints: Sequence[ConstraintSpec]
    budget: Budget
    reserved_items: int
    """Items that select and test will take, for `minutes`."""
    log: StudyLog
    observer: Observer
    gradients: Gradients | None = None
    """Gives starting points, and steps from the front; None: nothing of that."""

    @property
    def searched(self) -> list[str]:
        """The tasks that objectives or constraints read; others are scored on test only."""
        return searched_tasks(self.tasks, self.objectives, self.constraints)

    @property
    def items_per_candidate(self) -> int:
        """Item evaluations of one full candidate on the search split."""
        return sum(len(self.scorer.splits[task]["search"]) for task in self.searched)

    def run(self, proposer: Proposer) -> str:
        """Searches until a limit is reached and says which: trials, items, minutes or space."""
        refuse_small_budget(self.budget, len(self.references), self.items_per_candidate)
        references = self._score_references()
        if self.gradients is not None:
            starts = self.gradients.starts(self.ledger.candidates("trial"))
            self.proposing = replace(self.proposing, gradient_starts=starts)
        trials = [self._current(one, references) for one in self.ledger.candidates("trial")]
        self.log.add(trials)
        self.observer.resumed([one for one in trials if one.state != "running"])
        prepared: Future[Proposal] | None = None
        while True:
            unfinished = trials[-1] if trials and trials[-1].state == "running" else None
            if unfinished is None and (reached := self._reached(references, trials)):
                return reached
            if unfinished is None:
                waited = time.perf_counter()
                trials.append(self._propose(trials, prepared, proposer))
                waited = time.perf_counter() - waited
                waited += trials[-1].propose_seconds  # what its gradients took
                trials[-1] = trials[-1].ended(propose_seconds=waited)
                self.ledger.put(trials[-1])
            wanted = self.budget.trials is None or len(trials) < self.budget.trials
            prepared = self.proposing.ahead(trials, proposer) if wanted else None
            trials[-1] = self._judged(self._score(trials[-1]), references)
            self.ledger.put(trials[-1])
            self.log.add(trials)
            self.observer.ended(trials[-1])

    def _score_references(self) -> list[Candidate]:
        """Every reference with its scores; constraints are judged once all of them are known."""
        stored = {one.name: one for one in self.ledger.candidates("reference")}
        scored: list[Candidate] = []
        for number, reference in enumerate(self.references):
            one = stored.get(reference.name)
            if one is None or one.state == "running" or self._outdated(one):
                merge = self.executor.prepare(reference.data)
                fresh = Candidate(
                    "reference",
                    number,
                    reference.name,
                    reference.data,
                    merge.hash,
                    role=reference.role,
                )
                one = self._score(one or fresh)
                if reference.role == "base" and one.scores is None:
                    raise SearchError(f"the base model cannot be scored: {one.error}")
                self.ledger.put(one)
            self.observer.ended(one)
            scored.append(one)
        judged = [self._judged(one, scored) for one in scored]
        for one in judged:
            self.ledger.put(one)
        return judged

    def _propose(
        self,
        trials: Sequence[Candidate],
        prepared: "Future[Proposal] | None",
        proposer: Proposer,
    ) -> Candidate:
        """The next trial, its recipe resolved; a recipe that cannot be is a failed trial."""
        if self.proposing.dropped(trials):
            self.observer.note(
                "what gradients predict does not rank candidates: their other points are dropped"
            )
        refined = None if self.gradients is None else self.gradients.refined(trials)
        if refined is not None:
            trial = self.proposing.from_gradient(len(trials), refined)
        else:
            trial = self.proposing.next(trials, prepared, proposer)
            if self.gradients is not None:
                items, seconds = self.gradients.charged(len(trials))
                seconds += trial.propose_seconds
                trial = trial.ended(items=trial.items + items, propose_seconds=seconds)
        try:
            return trial.ended(recipe_hash=self.executor.prepare(trial.data).hash)
        except MergeError as error:
            return trial.ended(state="failed", error=str(error))

    def _score(self, candidate: Candidate) -> Candidate:
        """The candidate with its scores on the search split; a failure is told, not raised."""
        if candidate.state == "failed":
            return candidate
        self.observer.scoring(candidate)
        spent = Spent(candidate.items, candidate.build_seconds, candidate.score_seconds, candidate)
        merge = self.executor.prepare(candidate.data)
        try:
            results = self.scorer.score(merge, "search", self.searched, spent)
        except NonFiniteError as error:
            return spent.of(_failed(candidate, str(error)))
        values = {one.name: objective_value(one, self.tasks, results) for one in self.objectives}
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            told = f"objective {wrong[0]} is {values[wrong[0]]}"
            return spent.of(_failed(candidate, told))
        scores = tuple(values.values())
        settings = self.executor.settings
        return spent.of(candidate.ended(state="complete", scores=scores, settings=settings))

    def _outdated(self, candidate: Candidate) -> bool:
        """Whether scores come from other settings (memory ran out): those do not compare."""
        return candidate.state == "complete" and candidate.settings != self.executor.settings

    def _current(self, trial: Candidate, references: Sequence[Candidate]) -> Candidate:
        """The trial, scored again where its scores do not compare with the others'."""
        if not self._outdated(trial):
            return trial
        scored = self._judged(self._score(trial), references)
        self.ledger.put(scored)
        return scored

    def _judged(self, candidate: Candidate, references: Sequence[Candidate]) -> Candidate:
        """The candidate with how far it violates each constraint, on the search split."""
        if candidate.scores is None:
            return candidate
        violations = tuple(
            self._violation(spec, candidate, references) for spec in self.constraints
        )
        return candidate.ended(violations=violations)

    def _violation(
        self, spec: ConstraintSpec, candidate: Candidate, references: Sequence[Candidate]
    ) -> float:
        task, name = resolve_metric(spec.metric, self.tasks)
        higher = self.tasks[task].metrics[name].higher_is_better
        value = self._metric(candidate, task, name)
        source = value
        if spec.max_drop is not None:
            better = max if higher else min
            sources = compared(spec.source, references)
            if not sources:
                raise SearchError(f"a constraint compares with {spec.source}, not to be scored")
            source = better(self._metric(one, task, name) for one in sources)
        return violation(value, spec, source, higher)

    def _metric(self, candidate: Candidate, task: str, metric: str) -> float:
        results = self.scorer.known(candidate.recipe_hash, "search", [task])[task]
        return metric_value(self.tasks[task], metric, results)

    def _reached(self, references: Sequence[Candidate], trials: Sequence[Candidate]) -> str | None:
        """Which limit the next trial would pass, if any."""
        limits = self.budget
        if _exhausted(trials):
            return "space"
        if limits.trials is not None and len(trials) >= limits.trials:
            return "trials"
        everything = [*references, *trials]
        items = sum(one.items for one in everything)
        if limits.items is not None and items + self.items_per_candidate > limits.items:
            return "items"
        if limits.minutes is None:
            return None
        seconds = sum(
            one.propose_seconds + one.build_seconds + one.score_seconds for one in everything
        )
        reserve = seconds / max(items, 1) * (self.reserved_items + self.items_per_candidate)
        return "minutes" if seconds + reserve > 60 * limits.minutes else None


def _failed(candidate: Candidate, error: str) -> Candidate:
    """Without the scores it may have had under other settings."""
    return candidate.ended(state="failed", error=error, scores=None, violations=())


def searched_tasks(
    tasks: Mapping[str, Task],
    objectives: Sequence[Objective],
    constraints: Sequence[ConstraintSpec],
) -> list[str]:
    """The tasks that objectives or constraints read, in the study's order."""
    named = {task for one in objectives for task, _ in one.parts}
    named |= {one.metric.task for one in constraints}
    return [name for name in tasks if name in named]


def refuse_small_budget(budget: Budget, references: int, items_per_candidate: int) -> None:
    """Raises SearchError where `items` do not reach for the references and ten candidates."""
    needed = (references + 10) * items_per_candidate
    if budget.items is not None and budget.items < needed:
        raise SearchError(
            f"a budget of {budget.items:,} items is too small: {references} references and ten "
            f"candidates take {needed:,} ({items_per_candidate:,} each); give at least that many"
        )


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


REPEATS = 30
"""So many trials in a row that repeat earlier ones end a search: its space is used up."""


def _exhausted(trials: Sequence[Candidate]) -> bool:
    """Whether the last REPEATS trials are all repeats."""
    if len(trials) <= REPEATS:
        return False
    known = {one.recipe_hash for one in trials[:-REPEATS]}
    return all(one.recipe_hash in known for one in trials[-REPEATS:])


def source_faults(
    constraints: Sequence[ConstraintSpec], references: Sequence[Reference]
) -> list[str]:
    """Constraints whose `from` names no reference."""
    names = ["base", "best_parent", *(one.name for one in references)]
    return [
        f"a constraint compares with {one.source!r}, which is none of: {', '.join(names)}"
        for one in constraints
        if one.source not in names
    ]


def constraint_name(spec: ConstraintSpec) -> str:
    """A short name for logs and tables; constraints that differ have names that differ."""
    metric: MetricRef = spec.metric
    bounds = {"drop": spec.max_drop, "min": spec.low, "max": spec.high}
    said = [f"{name} {value:g}" for name, value in bounds.items() if value is not None]
    from_where = [] if spec.max_drop is None else ["from", spec.source]
    return " ".join([metric.task, *([metric.metric] if metric.metric else []), *said, *from_where])
