"""Whose turn it is: looks are begun while workers are free, and judged as they end.

What proposal n is told is settled when trial n-1 begins (`shadow`). With one worker that is all of
the trials up to n-2, so that the same seed gives the same trials; with several it is whatever has
ended by then, and those that are under way are pending. A merge that is being scored for one trial
is not scored for another at the same time.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from merging.errors import MergeError

from .assessor import Done
from .fleet import Fleet
from .guessing import Guessing
from .ledger import Candidate
from .limits import Limits
from .next_trial import next_trial
from .observer import Step
from .proposals import Proposal, Proposer
from .shadow import Shadow, cast_shadow, kept_shadow, stored_shadow
from .thrift import Thrift
from .warp import Warp

if TYPE_CHECKING:
    from .loop import Search


ESTIMATES = 0.15
GUESSES = 0.1
"""Shares of the time of a search with several workers."""


@dataclass(slots=True)
class Turns:
    """The trials of one search, from the one it is at to the end of its budget."""

    search: "Search"
    fleet: Fleet
    limits: Limits
    references: Sequence[Candidate]
    trials: list[Candidate]
    shown: Sequence[Warp]
    proposer: Proposer
    _prepared: "Future[Proposal] | None" = field(default=None, init=False)
    _ranked: list[int] = field(default_factory=list, init=False)
    """Numbers of trials that waited when estimates were last renewed, the best first."""
    _shadow: Shadow | None = field(default=None, init=False)
    """Of when estimates were last renewed."""
    _read: tuple[int, Shadow] | None = field(default=None, init=False)
    _estimates: Thrift = field(init=False)
    _guesses: Thrift = field(init=False)

    def __post_init__(self) -> None:
        alone = self.search.pool is None
        self._estimates = Thrift(1.0 if alone else ESTIMATES)
        self._guesses = Thrift(1.0 if alone else GUESSES)

    def run(self) -> str:
        """Until a limit is reached: which one."""
        while True:
            reached = self._fill()
            if reached and not self.fleet.under_way:
                return reached
            # What is prepared is waited for only by whoever would begin with it.
            for done in self.fleet.ended(None if reached else self._prepared):
                self._end(done)

    def _fill(self) -> str:
        """Begins looks while there are workers for them; the limit that keeps it from more."""
        while self.fleet.is_free():
            reached = self._begin()
            if reached is None or reached:
                return reached or ""
            if self._prepared is None and not self.limits.are_trials_used(self.trials):
                self._prepared = self._ahead()
        return ""

    def _begin(self) -> str | None:
        """Begins one look; says which limit is in the way instead, None: a proposal is made."""
        number = self._left_running()
        while number is None:
            number, reached = self._chosen()
            if reached:
                return reached
            if number is None:
                return None
            if self._is_at_work(self.trials[number]):
                number = None  # the same merge is being scored: it waits for that
        self.fleet.begin(self.search.assessor.next_look(self.trials[number]))
        return ""

    def _left_running(self) -> int | None:
        """A trial that a killed search left, or that waits for another of the same merge."""
        for one in self.trials:
            idle = one.state == "running" and one.number not in self.fleet.under_way
            if idle and not self._is_at_work(one):
                return one.number
        return None

    def _is_at_work(self, trial: Candidate) -> bool:
        works = self.fleet.under_way.values()
        hashes = {one.candidate.recipe_hash for one in works} - {""}
        return trial.recipe_hash in hashes

    def _chosen(self) -> tuple[int | None, str]:
        """The trial that is looked at next, or the limit that is reached.

        Neither, where a proposal is still being made and other looks are under way.
        """
        search, contest = self.search, self.search.contestants
        if search.gradients is not None:
            elsewhere = search.gradients.uncharged(self.trials)
            self.limits = replace(self.limits, elsewhere=elsewhere)
        pending = self.fleet.items + self._parked_items()
        reached = self.limits.for_a_trial(self.references, self.trials, pending) or ""
        ending = reached and not contest.is_settled(self.trials)
        if ending or (not reached and contest.is_due(self._as_they_will_be())):
            # Nobody is kept idle at the end, and the search must not end for want of estimates.
            waiting = self._best_waiting(at_once=bool(ending) and not self.fleet.under_way)
            if waiting is not None:
                more = pending + contest.cost(contest.looks(waiting)[waiting.looks])
                dear = self.limits.for_items(self.references, self.trials, more)
                if dear:
                    return None, reached or dear
                self.trials[waiting.number] = waiting.ended(state="running")
                if search.pool is None:  # else its first block says so, soon enough
                    search.ledger.put(self.trials[waiting.number])
                return waiting.number, ""
        if reached:
            return None, reached
        if search.pool is not None and self._prepared is not None and not self._prepared.done():
            return None, ""
        self._propose()
        return len(self.trials) - 1, ""

    def _parked_items(self) -> int:
        """Items of the next looks at trials that wait for another of the same merge, at most."""
        contest, under_way = self.search.contestants, self.fleet.under_way
        return sum(
            contest.cost(contest.looks(one)[one.looks])
            for one in self.trials
            if one.state == "running" and one.recipe_hash and one.number not in under_way
        )

    def _best_waiting(self, *, at_once: bool) -> Candidate | None:
        """The waiting trial that gains most, by estimates as new as can be afforded.

        `at_once`: by new ones, whatever they take.
        """
        if at_once or self._estimates.affords():
            with self._estimates.spending():
                ranked = self.search.contestants.ranked(self.trials, self.references)
            self._ranked = [one.number for one in ranked]
        while self._ranked:
            one = self.trials[self._ranked.pop(0)]
            if one.state == "paused":
                return one
        return None

    def _as_they_will_be(self) -> Sequence[Candidate]:
        """The trials, with the looks that are under way."""
        if not self.fleet.under_way:
            return self.trials
        works = self.fleet.under_way
        return [
            one.ended(looks=works[one.number].upto) if one.number in works else one
            for one in self.trials
        ]

    def _propose(self) -> None:
        """Adds the next trial; what the one after it is told is settled before it is scored."""
        search, started = self.search, time.perf_counter()
        number = len(self.trials)
        shadow = self._told(number)
        search.observer.step(Step("proposing"))
        trial = next_trial(
            search.proposing,
            search.gradients,
            self.trials,
            self._prepared,
            shadow,
            self.proposer,
            search.observer.note,
        )
        self._prepared = None
        if self._shadow is None or self._estimates.affords():
            with self._estimates.spending():
                self._shadow = cast_shadow(
                    search.board, search.objectives, self.trials, self.shown
                )
        after = self._shadow
        self.trials.append(self._resolved(trial))
        if search.proposing.guesses and not search.constraints and self._guesses.affords():
            guessing = Guessing(search.board, search.objectives, self.references, search.rule)
            with self._guesses.spending():
                guess = guessing.next(search.proposing, self.trials, after)
            after = replace(after, guess=guess)
        search.place(self.trials[-1], self.references)
        # With what the next one is told, and its guess.
        spent = time.perf_counter() - started + trial.propose_seconds
        several = search.pool is not None
        lapsed = 0.0 if several else None
        self.trials[-1] = self.trials[-1].ended(propose_seconds=spent, wall_seconds=lapsed)
        search.ledger.put(self.trials[-1], kept_shadow(number + 1, after), soon=several)
        if several:
            self._read = number + 1, after

    def _told(self, number: int) -> Shadow | None:
        """What proposal `number` is told; read once."""
        if self._read is None or self._read[0] != number:
            found = stored_shadow(self.search.ledger, number)
            self._read = None if found is None else (number, found)
        return None if self._read is None else self._read[1]

    def _resolved(self, trial: Candidate) -> Candidate:
        """With its recipe hash; a recipe that cannot be merged fails when it is looked at."""
        try:
            return trial.ended(recipe_hash=self.search.executor.prepare(trial.data).hash)
        except MergeError as error:
            return trial.ended(error=str(error))

    def _ahead(self) -> "Future[Proposal] | None":
        search = self.search
        shadow = self._told(len(self.trials))
        if shadow is None:
            return None
        return search.proposing.ahead(self.trials, shadow, self.proposer)

    def _end(self, done: Done) -> None:
        """Judges a look that has ended."""
        search = self.search
        found = search.assessor.looked(done, self.references, self.trials)
        before = _lapsed_before(self.trials[found.number], alone=search.pool is None)
        found = self.trials[found.number] = search.lapsed(found, before)
        search.ledger.put(found, soon=search.pool is not None)
        search.log.add(self.trials)
        search.observer.ended(found)


def _lapsed_before(trial: Candidate, *, alone: bool) -> float | None:
    """The time that a trial has cost the search: its own seconds where one worker had it before.

    None where one worker has it still, and its own seconds go on to say it.
    """
    if trial.wall_seconds is not None or alone:
        return trial.wall_seconds
    return trial.propose_seconds + trial.build_seconds + trial.score_seconds
