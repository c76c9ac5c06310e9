"""When a trial is a guess, and what that rests on: the board, the shadow, the stage of the search.

With constraints nothing is guessed: whether a point keeps them is for the sampler to learn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .board import Board
from .guesses import EVERY, Known, guess
from .ledger import SCORED, Candidate, label
from .objectives import Objective
from .proposals import seed_of
from .sampler import STARTUP
from .shadow import Guess, Shadow
from .space_parts import Values
from .trials import Proposing
from .winner import WinnerRule, frozen_scales

Numbers = NDArray[np.float64]

_DRAW = 10_000
"""In the place of a sampler's attempt, where a seed is made."""


@dataclass(frozen=True, slots=True)
class Guessing:
    """The guesses of one search; without a `rule` only the front of several objectives counts."""

    board: Board
    objectives: Sequence[Objective]
    references: Sequence[Candidate]
    rule: WinnerRule | None = None

    def next(
        self, proposing: Proposing, trials: Sequence[Candidate], shadow: Shadow
    ) -> Guess | None:
        """What the trial after `trials` is if it is a guess, by what its shadow says."""
        number, first = len(trials), proposing.first_proposed
        several = len(self.objectives) > 1
        every = EVERY if several else 1
        by_rule = several and (number - first) // every % 2 == 1
        if number < max(first, STARTUP) or (number - first) % every != every - 1:
            return None
        labels = [label(one) for one in trials[:-1] if one.state in SCORED]
        able = [
            one
            for one in trials[:-1]
            if one.state in ("complete", "paused") and shadow.scores.get(one.number)
        ]
        at = proposing.told(trials, shadow)
        known = [one for one in at.finished if one.number in {each.number for each in able}]
        if not known:
            return None
        failed = {one.number for one in trials if one.state == "failed"}

        def predicted(points: Sequence[Values]) -> Numbers:
            return self._predicted(proposing, labels, points, at.stage)

        if not np.isfinite(predicted([known[0].values])).any():
            return None
        found = guess(
            at.coordinates,
            Known(
                values=[one.values for one in known],
                scores=np.array([one.scores for one in known], dtype=np.float64),
                references=np.array(
                    [one.scores for one in self.references if one.scores is not None],
                    dtype=np.float64,
                ),
                higher_is_better=[one.higher_is_better for one in self.objectives],
                predicted=predicted,
                utility=self._utility() if by_rule else None,
                failed=[one.values for one in at.finished if one.number in failed],
            ),
            [*(one.values for one in at.finished), *(one.values for one in at.pending)],
            seed_of(proposing.seed, number, _DRAW),
        )
        return None if found is None else Guess(found, at.stage)

    def _utility(self) -> Callable[[Numbers], Numbers] | None:
        """Objective values, shape (points, objectives), to utilities by the winner rule."""
        rule = self.rule
        if rule is None:
            return None
        names = [one.name for one in self.objectives]
        scales = frozen_scales(self.references, self.objectives)

        def utility(values: Numbers) -> Numbers:
            known = np.isfinite(values).all(axis=1)
            found = np.full(len(values), np.nan)
            found[known] = [
                rule.utility(scales, dict(zip(names, row, strict=True)))
                for row in values[known].tolist()
            ]
            return found

        return utility

    def _predicted(
        self, proposing: Proposing, labels: Sequence[str], points: Sequence[Values], stage: int
    ) -> Numbers:
        """Objective values at points of a stage's space; NaN where nothing is known."""
        result = np.full((len(points), len(self.objectives)), np.nan)
        places = [proposing.place(one, stage) for one in points]
        placed = [n for n, one in enumerate(places) if one is not None]
        if not placed:
            return result
        at = np.array([places[n] for n in placed])
        for column, objective in enumerate(self.objectives):
            found = self.board.elsewhere(labels, objective, at)
            if found is not None:
                result[placed, column] = found[0]
        return result
