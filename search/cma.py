"""CMA-ES as a function of the trials: its state is told anew from them for every proposal.

Hansen, The CMA Evolution Strategy, https://arxiv.org/abs/1604.00772, as `cmaes` has it; started, as in Nomura et
al., Warm starting CMA-ES, https://arxiv.org/abs/2012.06932, from the trials before the first generation. A
generation is told as soon as it has its number of ended trials; trials that end later are not used. Only ranks
count: the feasible by score, then the others by how far they violate the constraints, failed ones last.

One objective, numbers only. Nothing is stored but the generation of each trial.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState

if TYPE_CHECKING:
    from cmaes import CMA
    from optuna.study import Study
    from optuna.trial import FrozenTrial

TAG = "eutectic:cma:generation"
_SPREAD = 1 / 6
"""First standard deviation, in units of the range."""
_BEST = 3
"""At least this many of the trials before the first generation say where to start."""


class ReplayedCma(BaseSampler):
    """CMA-ES for one proposal; a fresh one for each."""

    def __init__(self, seed: int) -> None:
        """Takes the seed of the proposal."""
        self._seed = seed
        self._random = RandomSampler(seed=seed)
        self._space: dict[str, FloatDistribution] = {}

    def use(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Takes the coordinates, all numbers, that every trial has."""
        for name, one in distributions.items():
            if isinstance(one, FloatDistribution):
                self._space[name] = one

    def infer_relative_search_space(
        self, study: "Study", trial: "FrozenTrial"
    ) -> dict[str, BaseDistribution]:
        """Everything: the space is fixed."""
        return dict(self._space)

    def sample_relative(
        self, study: "Study", trial: "FrozenTrial", search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The next member of the current generation."""
        ended = [
            one
            for one in study.get_trials(deepcopy=False)
            if one.state in (TrialState.COMPLETE, TrialState.FAIL)
        ]
        ranks = _ranks(ended, study.direction)
        optimizer = self._started([one for one in ended if TAG not in one.system_attrs], ranks)
        while len(told := _members(ended, optimizer.generation)) >= optimizer.population_size:
            members = told[: optimizer.population_size]
            optimizer.tell([(self._position(one), ranks[one.number]) for one in members])
        study._storage.set_trial_system_attr(trial._trial_id, TAG, optimizer.generation)
        return self._values(optimizer.ask())
