"""Trials in order: the warm starts that lie inside the space, then what the sampler proposes.

What trial n may know is fixed here: results up to n-2, and that n-1 is under way.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from .coordinates import Coordinates
from .gradient_starts import GradientStart, next_start
from .ledger import Candidate
from .objectives import Objective
from .proposals import Finished, Pending, Proposal, ProposalRequest, Proposer, Warp
from .space import Space
from .warm_start import WarmStart


@dataclass(frozen=True, slots=True)
class Proposing:
    """Where trials come from. `mask_seed` goes into every recipe that does not name its own."""

    space: Space
    coordinates: Coordinates
    warm_starts: Sequence[WarmStart]
    sampler: str
    seed: int
    mask_seed: int
    objectives: Sequence[Objective]
    trials: int | None
    """The budget of trials, which sets the size of generations."""
    gradient_starts: Sequence[GradientStart] = ()
    """Scored after the warm starts, for as long as their predictions are trusted."""

    def ahead(self, trials: Sequence[Candidate], proposer: Proposer) -> "Future[Proposal] | None":
        """Begins to propose the trial after the last one, which is still being scored."""
        if len(trials) < len(self.warm_starts) or self._found(trials) is not None:
            return None
        return proposer.submit(self._request(trials))

    def next(
        self,
        trials: Sequence[Candidate],
        prepared: "Future[Proposal] | None",
        proposer: Proposer,
    ) -> Candidate:
        """The next trial, not yet scored; its recipe hash is still to be filled in."""
        number = len(trials)
        if number < len(self.warm_starts):
            start = self.warm_starts[number]
            return self._trial(number, f"warm start: {start.name}", start.values)
        if (found := self._found(trials)) is not None:
            return self.from_gradient(number, found)
        future = prepared or proposer.submit(self._request(trials))
        proposal = future.result()
        trial = self._trial(number, proposal.sampler, proposal.values)
        return trial.ended(
            watermark=number - 2,
            coordinates=dict(proposal.coordinates),
            system_attrs=dict(proposal.system_attrs),
        )

    def from_gradient(self, number: int, found: GradientStart) -> Candidate:
        """The trial that scores a point which gradients found, charged with what that cost."""
        trial = self._trial(number, found.start.name, found.values)
        return trial.ended(watermark=number - 2, items=found.items, propose_seconds=found.seconds)

    def dropped(self, trials: Sequence[Candidate]) -> bool:
        """Whether the next trial is the first that is not from a gradient though one is left."""
        first = len(self.warm_starts)
        taken, named = trials[first:], [one.start.name for one in self.gradient_starts]
        return (
            first <= len(trials) < first + len(named)
            and [one.name for one in taken] == named[: len(taken)]
            and self._found(trials) is None
        )

    def _found(self, trials: Sequence[Candidate]) -> GradientStart | None:
        return next_start(self.gradient_starts, len(self.warm_starts), trials, self.objectives)

    def _trial(self, number: int, name: str, values: Mapping[str, Any]) -> Candidate:
        data = with_mask_seed(self.space.fill(values), self.mask_seed)
        return Candidate(
            "trial", number, name, data, "", values=dict(values), sampler=self.sampler
        )

    def _request(self, trials: Sequence[Candidate]) -> ProposalRequest:
        *ended, last = trials if trials else [None]
        return ProposalRequest(
            seed=self.seed,
            number=len(trials),
            sampler=self.sampler,
            coordinates=self.coordinates,
            higher_is_better=tuple(one.higher_is_better for one in self.objectives),
            finished=tuple(_finished(one) for one in ended if one is not None),
            pending=() if last is None else (_pending(last),),
            trials=self.trials,
            warps=tuple(_warp(one) for one in self.objectives),
        )


def _finished(trial: Candidate) -> Finished:
    return Finished(
        trial.number,
        trial.values or {},
        trial.scores,
        trial.violations,
        trial.system_attrs or {},
    )


def _pending(trial: Candidate) -> Pending:
    return Pending(trial.number, trial.values or {}, trial.system_attrs or {})


def _warp(objective: Objective) -> Warp:
    """Shares are shown to models as log odds; other metrics as they are."""
    return Warp(logit=objective.metric in SHARES)


SHARES = frozenset({"acc", "acc_norm", "exact_match"})
"""Metrics that are a share of items, in [0, 1]."""


def with_mask_seed(data: Mapping[str, Any], mask_seed: int) -> dict[str, Any]:
    """The recipe with `eutectic: {mask_seed}` unless it has one."""
    own = dict(data.get("eutectic") or {})
    return {**data, "eutectic": {"mask_seed": mask_seed, **own}}
