"""Trials in order: the warm starts that lie inside the space, then what the sampler proposes.

What trial n may know is fixed here: results up to n-2, and that n-1 is under way.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from .coordinates import Coordinates
from .ledger import Candidate
from .objectives import Objective
from .proposals import Finished, Proposal, ProposalRequest, Proposer
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

    def ahead(self, trials: Sequence[Candidate], proposer: Proposer) -> "Future[Proposal] | None":
        """Begins to propose the trial after the last one, which is still being scored."""
        if len(trials) < len(self.warm_starts):
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
            assert start.values is not None  # those without values are references
            return self._trial(number, f"warm start: {start.name}", start.values)
        future = prepared or proposer.submit(self._request(trials))
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
            "trial", number, name, data, "", values=dict(values), sampler=self.sampler
        )

    def _request(self, trials: Sequence[Candidate]) -> ProposalRequest:
        return ProposalRequest(
            seed=self.seed,
            number=len(trials),
            sampler=self.sampler,
            distributions=self.coordinates.distributions(),
            directions=tuple(one.higher_is_better for one in self.objectives),
            history=tuple(self._finished(trial) for trial in trials[:-1]),
            pending=tuple(self._finished(trial) for trial in trials[-1:]),
        )

    def _finished(self, trial: Candidate) -> Finished:
        raise NotImplementedError


def with_mask_seed(data: Mapping[str, Any], mask_seed: int) -> dict[str, Any]:
    """The recipe with `eutectic: {mask_seed}` unless it has one."""
    own = dict(data.get("eutectic") or {})
    return {**data, "eutectic": {"mask_seed": mask_seed, **own}}
