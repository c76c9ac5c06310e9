"""The search: references first, then trials until the budget ends.

Every step is in the ledger before the next. A trial is scored look by look (`racing`): while one
that waits is worth more items it gets them, else a new one is proposed, while the one before it is
being scored (`turns`). What proposal n is told was settled when trial n-1 began (`shadow`), so it
is a pure function of the seed and the ledger, and a search that was killed anywhere goes on as if
it had not been.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evaluation.task import Task

from .assessor import Assessor, groups_of
from .board import Board, Part
from .errors import SearchError
from .executors import Executor, Pool
from .fleet import Fleet
from .gradients import Gradients
from .judge import Judge
from .ledger import SCORED, Candidate, Ledger, is_known, label
from .limits import Limits, refuse_small_budget
from .log_thread import Log
from .objectives import Budget, ConstraintSpec, MetricRef, Objective, resolve_metric
from .observer import Observer
from .proposals import Proposer
from .race import Race
from .racing import Racing
from .scoring import Scorer
from .trials import Proposing
from .turns import Turns
from .warm_start import Reference
from .warp import Warp, warps
from .winner import WinnerRule


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
    log: Log
    observer: Observer
    racing: bool = True
    """Whether trials are scored look by look; else each on everything at once."""
    gradients: Gradients | None = None
    """Gives starting points, and steps from the front; None: nothing of that."""
    rule: WinnerRule | None = None
    """By which the winner will be chosen."""
    pool: Pool | None = None
    """Workers elsewhere; None: `executor` does everything, in this thread."""
    board: Board = field(init=False)
    judge: Judge = field(init=False)
    contestants: Racing = field(init=False)
    assessor: Assessor = field(init=False)
    _clock: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        splits = {task: self.scorer.splits[task]["search"] for task in self.searched}
        parts: dict[Part, None] = {part: None for one in self.objectives for part in one.parts}
        bounded = [resolve_metric(one.metric, self.tasks) for one in self.constraints]
        self.board = Board(self.tasks, splits, list(parts | dict.fromkeys(bounded)))
        self.judge = Judge(self.board, self.tasks, self.objectives, self.constraints)
        race = Race(self.board, self.objectives, groups_of(self.tasks, splits))
        seed = self.proposing.seed
        self.contestants = Racing(self.board, race, bounded, seed, self.racing)
        self.assessor = Assessor(
            self.executor,
            self.scorer,
            self.board,
            self.judge,
            self.contestants,
            self.searched,
            self.observer,
            self.pool,
        )

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
        reached = self._run(proposer)
        self._settle()
        self.log.add(self.ledger.candidates("trial"), ended=True)
        return reached

    def completed(self, trial: Candidate, references: Sequence[Candidate]) -> Candidate:
        """A trial that a race left waiting, scored on every item: what its constraints rest on."""
        if trial.state == "complete":
            return trial
        found = self.assessor.in_full(trial, references)
        if found.scores is not None:
            ranked = {"estimates": trial.estimates, "errors": trial.errors}
            found = found.ended(looks=len(self.contestants.looks(trial)), **ranked)
        self.ledger.put(found)
        return found

    def _settle(self) -> None:
        """Gives every trial of a race its last estimates, from all that is known at the end."""
        trials = [one for one in self.ledger.candidates("trial") if one.state in SCORED]
        if all(one.looks == 1 and one.state == "complete" for one in trials):
            return
        labels = [label(one) for one in trials]
        columns = [self.board.posterior(labels, each) for each in self.objectives]
        changed = []
        for one, found in zip(trials, zip(*columns, strict=True), strict=True):
            values = tuple(each.value for each in found)
            errors = tuple(each.variance**0.5 for each in found)
            if (one.estimates, one.errors) != (values, errors):
                changed.append(one.ended(estimates=values, errors=errors))
        if changed:
            self.ledger.put_all(changed)

    def _run(self, proposer: Proposer) -> str:
        refuse_small_budget(self.budget, len(self.references), self.items_per_candidate)
        self._clock = time.perf_counter()
        limits = Limits(self.budget, self.items_per_candidate, self.reserved_items)
        self.observer.phase("references", len(self.references))
        references = self._score_references()
        self.proposing = self.proposing.compared_with(references)
        if self.gradients is not None:
            self.observer.phase("gradients")
            starts = self.gradients.starts(self.ledger.candidates("trial"))
            self.proposing = replace(self.proposing, gradient_starts=starts)
        trials = self._take_up(references)
        self.log.add(trials)
        self.observer.phase("search")
        self.observer.resumed([one for one in trials if one.state != "running"])
        shown = self._warps(references)
        try:
            with Fleet(self.assessor, self.pool, self.observer.step) as fleet:
                return Turns(self, fleet, limits, references, trials, shown, proposer).run()
        finally:  # the pool is stopped by then, if it was interrupted: nobody waits for a database
            if self.pool is not None:
                self.ledger.flush()

    def place(self, trial: Candidate, references: Sequence[Candidate]) -> None:
        """Tells the board where a trial lies, and a reference that is the same merge."""
        place = self.proposing.position(trial)
        same = [one for one in references if one.recipe_hash == trial.recipe_hash]
        for one in (trial, *same):
            self.board.place(label(one), place)

    def lapsed(self, candidate: Candidate, before: float | None = 0.0) -> Candidate:
        """With the time that passed since another ended: the sum of workers' seconds is not it.

        `before` is what the candidate had of that; None: it was scored by one worker so far.
        """
        since, self._clock = self._clock, time.perf_counter()
        if self.pool is None and before is None:
            return candidate
        return candidate.ended(wall_seconds=(before or 0.0) + self._clock - since)

    def _score_references(self) -> list[Candidate]:
        """Every reference with its scores; constraints are judged once all of them are known."""
        stored = {one.name: one for one in self.ledger.candidates("reference")}
        known = [stored.get(one.name) for one in self.references]
        due = [
            one or self._fresh(number)
            for number, one in enumerate(known)
            if one is None or one.state == "running" or self.assessor.outdated(one)
        ]
        due = self.assessor.ahead(due, "search", self.searched)
        wanted = {one.number: one for one in due}
        scored: list[Candidate] = []
        for number, reference in enumerate(self.references):
            one = known[number]
            if number in wanted:
                before = wanted[number].wall_seconds or (None if self.pool is None else 0.0)
                one = self.lapsed(self.assessor.score(wanted[number]), before)
                if reference.role == "base" and one.scores is None:
                    raise SearchError(f"the base model cannot be scored: {one.error}")
                self.ledger.put(one)
            elif one is not None and one.scores is not None:
                self.assessor.learn([one])
            assert one is not None  # known, or scored now
            self.observer.ended(one)
            scored.append(one)
        judged = [self.judge.constrained(one, scored) for one in scored]
        for one in judged:
            self.ledger.put(one)
        return judged

    def _fresh(self, number: int) -> Candidate:
        """A reference that nothing is known of."""
        one = self.references[number]
        merge = self.executor.prepare(one.data)
        return Candidate("reference", number, one.name, one.data, merge.hash, role=one.role)

    def _take_up(self, references: Sequence[Candidate]) -> list[Candidate]:
        """The trials of an earlier search, scored again where their scores do not compare."""
        trials = self.ledger.candidates("trial")
        learned: list[Candidate] = []
        for place, one in enumerate(trials):
            self.place(one, references)
            if self.assessor.outdated(one):
                self.assessor.learn(learned)  # whoever comes first is compared with
                learned = []
                trials[place] = self.assessor.again(one, references)
                self.ledger.put(trials[place])
            elif is_known(one):
                learned.append(one)
        self.assessor.learn(learned)
        return trials

    def _warps(self, references: Sequence[Candidate]) -> tuple[Warp, ...]:
        values = [one.scores for one in references if one.scores is not None]
        return warps(self.objectives, self.tasks, self.board.splits, values)


def searched_tasks(
    tasks: Mapping[str, Task],
    objectives: Sequence[Objective],
    constraints: Sequence[ConstraintSpec],
) -> list[str]:
    """The tasks that objectives or constraints read, in the study's order."""
    named = {task for one in objectives for task, _ in one.parts}
    named |= {one.metric.task for one in constraints}
    return [name for name in tasks if name in named]


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
