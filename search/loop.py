"""The search: references first, then trials until the budget ends.

Every step is in the ledger before the next. A trial is scored look by look (`racing`): while one
that waits is worth more items it gets them, else a new one is proposed, while the one before it is
being scored. What proposal n is told was settled when trial n-1 began (`shadow`), so it is a pure
function of the seed and the ledger, and a search that was killed anywhere goes on as if it had not
been.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from evaluation.task import Task
from merging.errors import MergeError

from .assessor import Assessor, groups_of
from .board import Board, Part
from .errors import SearchError
from .executors import Executor
from .gradients import Gradients
from .guessing import Guessing
from .judge import Judge
from .ledger import SCORED, Candidate, Ledger, label
from .limits import Limits, refuse_small_budget
from .next_trial import next_trial
from .objectives import Budget, ConstraintSpec, MetricRef, Objective, resolve_metric
from .observer import Observer, Step
from .proposals import Proposal, Proposer
from .race import Race
from .racing import Racing
from .scoring import Scorer
from .shadow import cast_shadow, store_shadow, stored_shadow
from .study_log import StudyLog
from .trials import Proposing
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
    log: StudyLog
    observer: Observer
    racing: bool = True
    """Whether trials are scored look by look; else each on everything at once."""
    gradients: Gradients | None = None
    """Gives starting points, and steps from the front; None: nothing of that."""
    rule: WinnerRule | None = None
    """By which the winner will be chosen."""
    board: Board = field(init=False)
    judge: Judge = field(init=False)
    contestants: Racing = field(init=False)
    assessor: Assessor = field(init=False)

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
        prepared: Future[Proposal] | None = None
        while True:
            number = next((one.number for one in trials if one.state == "running"), None)
            if number is None:
                if self.gradients is not None:
                    limits = replace(limits, elsewhere=self.gradients.uncharged(trials))
                reached = limits.for_a_trial(references, trials)
                waiting = None
                ending = reached is not None and not self.contestants.is_settled(trials)
                if ending or (reached is None and self.contestants.is_due(trials)):
                    waiting = self.contestants.next(trials, references)
                if waiting is not None:
                    look = self.contestants.looks(waiting)[waiting.looks]
                    dear = limits.for_items(references, trials, self.contestants.cost(look))
                    if dear:
                        return reached or dear
                    number = waiting.number
                    trials[number] = waiting.ended(state="running")
                    self.ledger.put(trials[number])
                elif reached:
                    return reached
                else:
                    self._begin(references, trials, shown, prepared, proposer)
                    number, prepared = len(trials) - 1, None
            if prepared is None and not limits.are_trials_used(trials):
                prepared = self._ahead(trials, proposer)
            trials[number] = self.assessor.look(trials[number], references, trials)
            self.ledger.put(trials[number])
            self.log.add(trials)
            self.observer.ended(trials[number])

    def _begin(
        self,
        references: Sequence[Candidate],
        trials: list[Candidate],
        shown: Sequence[Warp],
        prepared: "Future[Proposal] | None",
        proposer: Proposer,
    ) -> None:
        """Adds the next trial; what the one after it is told is settled before it is scored."""
        started = time.perf_counter()
        number = len(trials)
        shadow = stored_shadow(self.ledger, number)
        self.observer.step(Step("proposing"))
        trial = next_trial(
            self.proposing,
            self.gradients,
            trials,
            prepared,
            shadow,
            proposer,
            self.observer.note,
        )
        after = cast_shadow(self.board, self.objectives, trials, shown)
        trials.append(self._resolved(trial))
        if self.proposing.guesses and not self.constraints:
            guessing = Guessing(self.board, self.objectives, references, self.rule)
            after = replace(after, guess=guessing.next(self.proposing, trials, after))
        store_shadow(self.ledger, number + 1, after)
        self._place(trials[-1], references)
        # With what the next one is told, and its guess.
        spent = time.perf_counter() - started + trial.propose_seconds
        trials[-1] = trials[-1].ended(propose_seconds=spent)
        self.ledger.put(trials[-1])

    def _place(self, trial: Candidate, references: Sequence[Candidate]) -> None:
        """Tells the board where a trial lies, and a reference that is the same merge."""
        place = self.proposing.position(trial)
        same = [one for one in references if one.recipe_hash == trial.recipe_hash]
        for one in (trial, *same):
            self.board.place(label(one), place)

    def _ahead(self, trials: Sequence[Candidate], proposer: Proposer) -> "Future[Proposal] | None":
        shadow = stored_shadow(self.ledger, len(trials))
        return None if shadow is None else self.proposing.ahead(trials, shadow, proposer)

    def _resolved(self, trial: Candidate) -> Candidate:
        """With its recipe hash; a recipe that cannot be merged fails when it is looked at."""
        try:
            return trial.ended(recipe_hash=self.executor.prepare(trial.data).hash)
        except MergeError as error:
            return trial.ended(error=str(error))

    def _score_references(self) -> list[Candidate]:
        """Every reference with its scores; constraints are judged once all of them are known."""
        stored = {one.name: one for one in self.ledger.candidates("reference")}
        scored: list[Candidate] = []
        for number, reference in enumerate(self.references):
            one = stored.get(reference.name)
            if one is None or one.state == "running" or self.assessor.outdated(one):
                merge = self.executor.prepare(reference.data)
                fresh = Candidate(
                    "reference",
                    number,
                    reference.name,
                    reference.data,
                    merge.hash,
                    role=reference.role,
                )
                one = self.assessor.score(one or fresh)
                if reference.role == "base" and one.scores is None:
                    raise SearchError(f"the base model cannot be scored: {one.error}")
                self.ledger.put(one)
            elif one.scores is not None:
                self.assessor.learn([one])
            self.observer.ended(one)
            scored.append(one)
        judged = [self.judge.constrained(one, scored) for one in scored]
        for one in judged:
            self.ledger.put(one)
        return judged

    def _take_up(self, references: Sequence[Candidate]) -> list[Candidate]:
        """The trials of an earlier search, scored again where their scores do not compare."""
        trials = self.ledger.candidates("trial")
        learned: list[Candidate] = []
        for place, one in enumerate(trials):
            self._place(one, references)
            if self.assessor.outdated(one):
                self.assessor.learn(learned)  # whoever comes first is compared with
                learned = []
                trials[place] = self.assessor.again(one, references)
                self.ledger.put(trials[place])
            elif one.state in SCORED:
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
