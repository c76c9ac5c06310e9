"""Trials in order: the warm starts that lie inside the space, then what the sampler proposes.

What trial n may know is fixed here: what its shadow says of those up to n-2, and that n-1 is
under way.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from .coordinates import Coordinates
from .errors import SearchError
from .ledger import Candidate
from .objectives import Objective
from .proposals import Finished, Pending, Proposal, ProposalRequest, Proposer
from .sampler_spec import SamplerSpec
from .shadow import Shadow
from .space import Space
from .warm_start import WarmStart


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

    def ahead(
        self, trials: Sequence[Candidate], shadow: Shadow, proposer: Proposer
    ) -> "Future[Proposal] | None":
        """Begins to propose the trial after the last one, which is still being scored."""
        if len(trials) < len(self.warm_starts):
            return None
        return proposer.submit(self._request(trials, shadow))

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
        future = prepared
        if future is None:
            if shadow is None:
                raise SearchError(f"what proposal {number} is told is not in the ledger")
            future = proposer.submit(self._request(trials, shadow))
        proposal = future.result()
        trial = self._trial(number, proposal.sampler, proposal.values)
        return trial.ended(
            watermark=number - 2,
            coordinates=dict(proposal.coordinates),
            system_attrs=dict(proposal.system_attrs),
        )

    def _trial(self, number: int, name: str, values: Mapping[str, Any]) -> Candidate:
        data = with_mask_seed(self.space.fill(values), self.mask_seed)
        return Candidate(
            "trial", number, name, data, "", values=dict(values), sampler=str(self.sampler)
        )

    def _request(self, trials: Sequence[Candidate], shadow: Shadow) -> ProposalRequest:
        *ended, last = trials if trials else [None]
        return ProposalRequest(
            seed=self.seed,
            number=len(trials),
            sampler=self.sampler,
            coordinates=self.coordinates,
            higher_is_better=tuple(one.higher_is_better for one in self.objectives),
            finished=tuple(_finished(one, shadow) for one in ended if one is not None),
            pending=() if last is None else (_pending(last),),
            trials=self.trials,
            warps=shadow.warps,
        )


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
