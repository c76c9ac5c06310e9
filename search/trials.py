"""Trials in order: the warm starts that lie inside the space, then what the sampler proposes.

What trial n may know is fixed here: what its shadow says of those up to n-2, and that n-1 is
under way.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coordinates import Coordinates
from .errors import SearchError
from .gradient_starts import GradientStart, next_start
from .ledger import Candidate
from .objectives import Objective
from .positions import position
from .proposals import Finished, Pending, Proposal, ProposalRequest, Proposer
from .refinement import Refinement
from .sampler_spec import SamplerSpec
from .shadow import Guess, Shadow
from .space import Space
from .space_parts import Values
from .stages import STAGE, stage_of
from .warm_start import WarmStart

GUESS = "best guess"
"""The name of a trial that is where the estimates are best, see `guesses`."""


@dataclass(frozen=True, slots=True)
class Proposing:
    """Where trials come from. `mask_seed` goes into every recipe that does not name its own."""

    space: Space
    coordinates: Coordinates
    warm_starts: Sequence[WarmStart]
    sampler: str | SamplerSpec
    seed: int
    mask_seed: int
    objectives: Sequence[Objective]
    trials: int | None
    """The budget of trials, which sets the size of generations."""
    gradient_starts: Sequence[GradientStart] = ()
    """Scored after the warm starts, for as long as their predictions are trusted."""
    guesses: bool = False
    """Whether some trials are guesses in the place of the sampler's proposals."""
    refinement: Refinement | None = None
    """With `anchors: auto`; `space`, `coordinates` and `sampler` are those of its first stage."""

    def compared_with(self, references: Sequence[Candidate]) -> "Proposing":
        """The same, told of the scored references, which are a scale and no trials."""
        if self.refinement is None:
            return self
        scores = tuple(one.scores for one in references if one.scores is not None)
        return replace(self, refinement=replace(self.refinement, references=scores))

    def position(self, trial: Candidate) -> NDArray[np.float64] | None:
        """Where a trial lies in the unit cube, of the finest stage if there are several."""
        return self.place(trial.values or {}, stage_of(trial.system_attrs))

    def place(self, values: Values, stage: int) -> NDArray[np.float64] | None:
        """Where a point of a stage lies in the same cube."""
        if self.refinement is None:
            return position(self.coordinates, values)
        stages = self.refinement.stages
        last = len(stages.coordinates) - 1
        told = stages.told(values, stage, last)
        return None if told is None else position(stages.coordinates[last], told)

    @property
    def first_proposed(self) -> int:
        """The number of the first trial that is neither a warm start nor from a gradient."""
        return len(self.warm_starts) + len(self.gradient_starts)

    def ahead(
        self, trials: Sequence[Candidate], shadow: Shadow, proposer: Proposer
    ) -> "Future[Proposal] | None":
        """Begins to propose the trial after the last one, which is still being scored."""
        if len(trials) < len(self.warm_starts) or self._found(trials, shadow) is not None:
            return None
        if self.guesses and shadow.guess is not None:
            return None
        return proposer.submit(self.told(trials, shadow))

    def next(
        self,
        trials: Sequence[Candidate],
        prepared: "Future[Proposal] | None",
        shadow: Shadow | None,
        proposer: Proposer,
    ) -> Candidate:
        """The next trial, not yet scored; its recipe hash is still to be filled in.

        `shadow` is what its proposal is told; warm starts need none.
        """
        number = len(trials)
        if number < len(self.warm_starts):
            start = self.warm_starts[number]
            return self._trial(number, f"warm start: {start.name}", start.values)
        if (found := self._found(trials, shadow)) is not None:
            return self.from_gradient(number, found)
        if self.guesses and shadow is not None and shadow.guess is not None:
            return self._guessed(number, shadow.guess)
        future = prepared
        if future is None:
            if shadow is None:
                raise SearchError(f"what proposal {number} is told is not in the ledger")
            future = proposer.submit(self.told(trials, shadow))
        proposal = future.result()
        stage = stage_of(proposal.system_attrs)
        trial = self._trial(number, proposal.sampler, proposal.values, stage)
        return trial.ended(
            sampler=proposal.sampler,
            watermark=number - 2 if shadow is None else max(shadow.scores, default=-1),
            coordinates=dict(proposal.coordinates),
            system_attrs=dict(proposal.system_attrs),
        )

    def from_gradient(self, number: int, found: GradientStart) -> Candidate:
        """The trial that scores a point which gradients found, charged with what that cost."""
        trial = self._trial(number, found.start.name, found.values, found.stage)
        return trial.ended(
            watermark=number - 2,
            items=found.items,
            propose_seconds=found.seconds,
            system_attrs={STAGE: found.stage} if found.stage else None,
        )

    def _guessed(self, number: int, guess: Guess) -> Candidate:
        """The trial that scores a guess."""
        trial = self._trial(number, GUESS, guess.values, guess.stage)
        stage = {STAGE: guess.stage} if guess.stage else None
        return trial.ended(watermark=number - 2, system_attrs=stage)

    def dropped(self, trials: Sequence[Candidate], shadow: Shadow | None) -> bool:
        """Whether the next trial is the first that is not from a gradient though one is left."""
        first = len(self.warm_starts)
        taken, named = trials[first:], [one.start.name for one in self.gradient_starts]
        return (
            first <= len(trials) < first + len(named)
            and [one.name for one in taken] == named[: len(taken)]
            and self._found(trials, shadow) is None
        )

    def _found(self, trials: Sequence[Candidate], shadow: Shadow | None) -> GradientStart | None:
        scores = {} if shadow is None else shadow.scores
        first = len(self.warm_starts)
        return next_start(self.gradient_starts, first, trials, scores, self.objectives)

    def _trial(
        self, number: int, name: str, values: Mapping[str, Any], stage: int = 0
    ) -> Candidate:
        space = self.refinement.stages.spaces[stage] if self.refinement else self.space
        data = with_mask_seed(space.fill(values), self.mask_seed)
        return Candidate(
            "trial", number, name, data, "", values=dict(values), sampler=str(self.sampler)
        )

    def told(self, trials: Sequence[Candidate], shadow: Shadow) -> ProposalRequest:
        """What the proposal after `trials` is told: those that its shadow lacks are under way."""
        ended = [one for one in trials[:-1] if one.number in shadow.scores]
        pending = [one for one in trials if one is trials[-1] or one.number not in shadow.scores]
        request = ProposalRequest(
            seed=self.seed,
            number=len(trials),
            sampler=self.sampler,
            coordinates=self.coordinates,
            higher_is_better=tuple(one.higher_is_better for one in self.objectives),
            finished=tuple(_finished(one, shadow) for one in ended),
            pending=tuple(map(_pending, pending)),
            trials=self.trials,
            warps=shadow.warps,
        )
        return request if self.refinement is None else self.refinement.refined(request, trials)


def _finished(trial: Candidate, shadow: Shadow) -> Finished:
    return Finished(
        trial.number,
        trial.values or {},
        shadow.scores.get(trial.number),
        shadow.violations.get(trial.number, ()),
        trial.system_attrs or {},
    )


def _pending(trial: Candidate) -> Pending:
    return Pending(trial.number, trial.values or {}, trial.system_attrs or {})


def with_mask_seed(data: Mapping[str, Any], mask_seed: int) -> dict[str, Any]:
    """The recipe with `eutectic: {mask_seed}` unless it has one."""
    own = dict(data.get("eutectic") or {})
    return {**data, "eutectic": {"mask_seed": mask_seed, **own}}
