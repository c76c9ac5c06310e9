"""How a candidate comes to its outcome: scored, put on the board, judged.

A reference and what stands beside the search are scored on everything, a trial look by look.
Between the loop, which decides who is next, and `scoring`, `board`, `racing` and `judge`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.task import Task

from .ahead import score_ahead, whole
from .blocks import Block
from .board import Board
from .executors import Executor, Pool
from .judge import Judge, failed
from .ledger import SCORED, Candidate, label
from .objectives import Results
from .observer import Observer
from .racing import Look, Racing
from .scoring import UNSCORABLE, Scorer, Spent


@dataclass(frozen=True, slots=True)
class Work:
    """A candidate, and the looks at it that are to be scored now; then it has had `upto`."""

    candidate: Candidate
    looks: Sequence[Look]
    upto: int


@dataclass(frozen=True, slots=True)
class Done:
    """A candidate with what its work has cost; `error` says why it could not be scored."""

    candidate: Candidate
    upto: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Assessor:
    """Scores candidates on the tasks `searched`, and says what became of them."""

    executor: Executor
    scorer: Scorer
    board: Board
    judge: Judge
    contestants: Racing
    searched: Sequence[str]
    observer: Observer
    pool: Pool | None = None

    def ahead(
        self, candidates: Sequence[Candidate], split: str, tasks: Sequence[str]
    ) -> list[Candidate]:
        """Has all workers score candidates on a split, before they are asked for one by one.

        Returns them with what that has cost. Without a pool nothing is done.
        """
        if self.pool is None:
            return list(candidates)
        owned = split == "search"  # what select and test cost is nobody's
        wholes = [
            whole(
                self.scorer,
                self.executor.prepare(one.data),
                split,
                tasks,
                _spent(one) if owned else Spent(),
            )
            for one in candidates
        ]
        score_ahead(self.scorer, self.pool, wholes, self.observer.step)
        if not owned:
            return list(candidates)
        return [one.spent.of(each) for one, each in zip(wholes, candidates, strict=True)]

    def in_full(self, candidate: Candidate, references: Sequence[Candidate]) -> Candidate:
        """A candidate scored on every item of the search split, its constraints judged.

        One that stands beside the search is forgotten at once: no estimate depends on it.
        """
        found = self.judge.constrained(self.score(candidate), references)
        if candidate.kind == "beside":
            self.board.forget(label(candidate))
        return found

    def learn(self, candidates: Sequence[Candidate]) -> None:
        """Puts on the board what candidates were scored on."""
        hashes = [one.recipe_hash for one in candidates]
        known = self.scorer.known_of_many(hashes, "search", self.searched)
        for one, results in zip(candidates, known, strict=True):
            self.board.add(label(one), results(self._seen(one)))

    def _results(self, candidate: Candidate) -> Results:
        """What a trial's looks so far say, all that is known of who has none."""
        seen = self._seen(candidate)
        return self.scorer.known(candidate.recipe_hash, "search", self.searched, seen)

    def _seen(self, candidate: Candidate) -> dict[str, set[Block]] | None:
        """The blocks by task that a candidate is known on; None: whatever there is of it.

        A recipe that another trial has too may be known on more: that is not this one's to know,
        or its estimate would depend on when it was asked for.
        """
        if candidate.kind != "trial" or candidate.state == "complete":
            return None
        seen: dict[str, set[Block]] = {task: set() for task in self.searched}
        for look in self.contestants.looks(candidate)[: candidate.looks]:
            for task, blocks in look.items():
                seen[task] |= set(blocks)
        return seen

    def again(self, trial: Candidate, references: Sequence[Candidate]) -> Candidate:
        """The trial under the present settings: on everything, or on what it had been."""
        if trial.state == "complete":
            return self.in_full(trial, references)
        found = self._score_looks(trial, trial.looks, 0)
        if found.state == "failed":
            return found
        return self.judge.constrained(found.ended(state=trial.state), references)

    def score(self, candidate: Candidate) -> Candidate:
        """The candidate with its scores on the search split; a failure is told, not raised."""
        self.observer.scoring(candidate)
        spent = _spent(candidate)
        merge = self.executor.prepare(candidate.data)
        try:
            results = self.scorer.score(merge, "search", self.searched, spent)
        except UNSCORABLE as error:
            return spent.of(failed(candidate, str(error)))
        outcome = self.judge.scored(candidate, results, self.executor.settings)
        if outcome.scores is not None:
            self.board.add(label(candidate), results)
        return self._unless_failed(spent.of(outcome))

    def _unless_failed(self, candidate: Candidate) -> Candidate:
        """The candidate; of one that failed nothing stays on the board."""
        if candidate.state == "failed":
            self.board.forget(label(candidate))
        return candidate

    def next_look(self, trial: Candidate) -> Work:
        """What a trial is scored on next."""
        return self._work(trial, trial.looks + 1, trial.looks)

    def _work(self, trial: Candidate, upto: int, had: int) -> Work:
        looks = self.contestants.looks(trial)[had:upto] if trial.recipe_hash else []
        return Work(trial, looks, upto)

    def carry_out(self, work: Work, scorer: Scorer) -> Done:
        """Scores what is to be scored, by a scorer that no other thread uses meanwhile."""
        trial = work.candidate
        if not trial.recipe_hash:
            return Done(trial, work.upto, trial.error or "")
        spent = _spent(trial)
        merge = self.executor.prepare(trial.data)
        try:
            for look in work.looks:
                scorer.score_blocks(merge, look, spent)
        except UNSCORABLE as error:
            return Done(spent.of(trial), work.upto, str(error))
        return Done(spent.of(trial), work.upto)

    def looked(
        self, done: Done, references: Sequence[Candidate], trials: Sequence[Candidate]
    ) -> Candidate:
        """The trial after its look: complete, waiting, dropped or failed."""
        found = self._taken_in(done)
        if found.state == "failed":
            return found
        if found.looks == len(self.contestants.looks(found)):
            found = self.judge.scored(found, self._results(found), self.executor.settings)
            found = self._unless_failed(found)
        found = self.judge.constrained(found, references)
        others = [*references, *(one for one in trials if one.number != found.number)]
        if found.state == "paused" and (winner := self.contestants.beaten_by(found, others)):
            return found.ended(state="dropped", dropped_for=winner)
        return found

    def _score_looks(self, trial: Candidate, looks: int, had: int) -> Candidate:
        """The trial with its estimates after `looks` looks, `had` of which it had already.

        Failed where a result is no number.
        """
        self.observer.scoring(trial)
        return self._taken_in(self.carry_out(self._work(trial, looks, had), self.scorer))

    def _taken_in(self, done: Done) -> Candidate:
        """Puts on the board what was scored."""
        if done.error or not done.candidate.recipe_hash:
            return self._unless_failed(failed(done.candidate, done.error))
        trial = done.candidate.ended(looks=done.upto)
        results = self._results(trial)
        self.board.add(label(trial), results)
        outcome = self.judge.estimated(trial, results, self.executor.settings)
        return self._unless_failed(outcome)

    def outdated(self, candidate: Candidate) -> bool:
        """Whether scores come from other settings (memory ran out): those do not compare."""
        begun = candidate.state == "running" and candidate.looks > 0
        scored = begun or candidate.state in SCORED
        return scored and candidate.settings != self.executor.settings


def _spent(candidate: Candidate) -> Spent:
    return Spent(candidate.items, candidate.build_seconds, candidate.score_seconds, candidate)


def groups_of(
    tasks: Mapping[str, Task], splits: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """Task to the group of each item, as numbers from 0."""
    found = {}
    for task, indices in splits.items():
        names = [tasks[task].items[index].group for index in indices]
        numbers = {name: place for place, name in enumerate(dict.fromkeys(names))}
        found[task] = [numbers[name] for name in names]
    return found
