"""When a search with `anchors: auto` goes on with more anchors.

A stage is used up when its last max(8, 2 x dimensions) proposals raised the hypervolume of the
front (of one objective: the best value) by no more than a hundredth, or when four in a row were
recipes that had been tried. It also ends when its share of the trial budget is spent: every stage
whose window the budget holds gets its window, and what is left is shared out by dimensions. So a
search that keeps finding a little with few anchors comes to more of them all the same, and one of
few trials stays where few trials can tell something. A stage that is used up makes room whatever
is left: nothing is lost by going on, every trial counts in the next stage too.

The stage of proposal n is a function of the trials it may see: ended ones up to n - 2, and that
n - 1 is under way. It never falls. Not here: stages themselves, and what samplers are told.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TypeVar

from .front import hypervolume
from .ledger import Candidate
from .proposals import Finished, Pending, ProposalRequest
from .sampler_spec import SamplerSpec
from .stages import Stages, stage_of

GAIN = 0.01
"""A rise by this share of the hypervolume, or less, in a whole window is none."""
SHORTEST = 8
"""Proposals in the shortest window."""
REPEATED = 4
"""So many proposals in a row that repeat earlier recipes use up a stage."""


_Known = TypeVar("_Known", Finished, Pending)


@dataclass(frozen=True, slots=True)
class Refinement:
    """The stages of a search and what decides over them, besides the trials.

    `samplers` has one for each stage. `references` are the objectives of the reference models,
    the scale of the hypervolume (see `front`); none: the trials are their own. `trials` is the
    budget, None where it is not known; `first` the number of warm starts, which belong to no
    stage's share.
    """

    stages: Stages
    samplers: tuple[str | SamplerSpec, ...]
    higher_is_better: tuple[bool, ...]
    first: int
    trials: int | None
    references: tuple[tuple[float, ...], ...] = ()

    def stage(self, trials: Sequence[Candidate], told: Sequence[Finished]) -> int:
        """The stage of the next proposal.

        Args:
            trials: All of them in order of number; of the last only the stage counts.
            told: What proposals are told of all but the last.
        """
        now = max((stage_of(one.system_attrs) for one in trials), default=0)
        if now + 1 == len(self.stages.coordinates):
            return now
        ended = trials[:-1]
        mine = [one for one in ended[self.first :] if stage_of(one.system_attrs) == now]
        over = (
            len(trials) >= self.deadlines()[now]
            or self._stagnant(told, len(mine), now)
            or _repeats(ended, len(mine))
        )
        return now + over

    def refined(self, request: ProposalRequest, trials: Sequence[Candidate]) -> ProposalRequest:
        """What is asked in the stage that these trials have come to; all of them count in it."""
        stage = self.stage(trials, request.finished)
        return replace(
            request,
            stage=stage,
            sampler=self.samplers[stage],
            coordinates=self.stages.coordinates[stage],
            finished=tuple(self._lifted(request.finished, stage)),
            pending=tuple(self._lifted(request.pending, stage)),
        )

    def _lifted(self, known: Iterable[_Known], to: int) -> Iterator[_Known]:
        for one in known:
            values = self.stages.told(one.values, stage_of(one.system_attrs), to)
            if values is not None:
                yield replace(one, values=values)

    def window(self, stage: int) -> int:
        """So many proposals without a gain use up a stage."""
        return max(SHORTEST, 2 * self.stages.sizes[stage])

    def deadlines(self) -> tuple[float, ...]:
        """For each stage the number of the trial at which it ends at the latest."""
        never = (float("inf"),) * len(self.stages.coordinates)
        if self.trials is None:
            return never
        budget, sizes = self.trials - self.first, self.stages.sizes
        windows = list(accumulate(self.window(stage) for stage in range(len(sizes))))
        planned = sum(needed <= budget for needed in windows)
        rest = budget - windows[planned - 1] if planned else 0
        spent = zip(windows, accumulate(sizes), range(planned - 1), strict=False)
        share = rest / max(sum(sizes[:planned]), 1)
        ends = tuple(self.first + needed + int(share * size) for needed, size, _ in spent)
        return ends + never[len(ends) :]

    def _stagnant(self, ended: Sequence[Finished], mine: int, stage: int) -> bool:
        window = self.window(stage)
        if mine < window:
            return False
        scored = [one.scores for one in ended if one.scores is not None]
        references = self.references or scored
        if not references:
            return True
        before, now = (
            hypervolume(_kept(seen), self.higher_is_better, references)
            for seen in (ended[:-window], ended)
        )
        return now - before <= GAIN * now


def _kept(ended: Sequence[Finished]) -> list[tuple[float, ...]]:
    """The scores of what may win."""
    return [
        one.scores
        for one in ended
        if one.scores is not None and all(violated <= 0 for violated in one.violations)
    ]


def _repeats(ended: Sequence[Candidate], mine: int) -> bool:
    """Whether the last of this stage's proposals all repeat earlier recipes."""
    if mine < REPEATED:
        return False
    known = {one.recipe_hash for one in ended[:-REPEATED]} - {""}
    return all(one.recipe_hash in known for one in ended[-REPEATED:])
