"""The trials of a race: what each is scored on next, and what is known of those that wait.

Between the loop, which spends the budget, and the rules in `race`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .blocks import Block, fresh_round, looks
from .board import Board, Part
from .ledger import SCORED, Candidate, label
from .race import Race
from .winner import MAX_FINALISTS

Look = Mapping[str, Sequence[Block]]
"""Task to the blocks that are scored between two looks."""


@dataclass(frozen=True, slots=True)
class Racing:
    """Who is scored next; `seed` chooses the rounds; not `enabled`: each on everything at once."""

    board: Board
    race: Race
    constrained: Sequence[Part]
    """What each constraint bounds."""
    seed: int
    enabled: bool = True
    _looks: dict[tuple[int | None, tuple[bool, ...]], list[Look]] = field(
        default_factory=dict, init=False, compare=False
    )

    def looks(self, trial: Candidate) -> list[Look]:
        """Everything a trial may be scored on, look by look.

        A task that is not raced comes as a whole at the first look; one that ends early is left
        out of later ones.
        """
        return self._begun_with(fresh_round(self.seed, trial.number))

    def _begun_with(self, fresh: int | None) -> list[Look]:
        raced = tuple(self.enabled and self.board.raced(task) for task in self.board.splits)
        if (fresh, raced) not in self._looks:
            self._looks[fresh, raced] = self._steps(fresh, raced)
        return self._looks[fresh, raced]

    def _steps(self, fresh: int | None, raced: Sequence[bool]) -> list[Look]:
        steps: list[dict[str, Sequence[Block]]] = []
        for (task, indices), is_raced in zip(self.board.splits.items(), raced, strict=True):
            found = looks(indices, fresh)
            if not is_raced:
                found = [[block for step in found for block in step]]
            for number, step in enumerate(found):
                if number == len(steps):
                    steps.append({})
                steps[number][task] = step
        return list(steps)

    def cost(self, look: Look) -> int:
        """Items of a look."""
        return sum(len(block) for blocks in look.values() for block in blocks)

    def beaten_by(self, trial: Candidate, others: Sequence[Candidate]) -> str:
        """The member of the front that shows a trial need not be scored further; empty: none.

        `others` are references and trials; those that are complete and keep every constraint
        count.
        """
        complete = [label(one) for one in others if _stands(one)]
        looks = len(self.looks(trial))
        return self.race.beaten_by(label(trial), self.race.front(complete), looks)

    def is_due(self, trials: Sequence[Candidate]) -> bool:
        """Whether one that waits comes before a new trial: by the share of items spent on such."""
        first = later = 0
        alike = Counter((fresh_round(self.seed, one.number), one.looks) for one in trials)
        for (fresh, seen), count in alike.items():
            costs = [self.cost(look) for look in self._begun_with(fresh)[:seen]]
            first += count * sum(costs[:1])
            later += count * sum(costs[1:])
        return later < self.race.promoted * (first + later)

    def is_settled(self, trials: Sequence[Candidate]) -> bool:
        """Whether as many members of the front as can be finalists were scored on everything."""
        able = [one for one in trials if one.state in ("complete", "paused")]
        known = [label(one) for one in trials if one.state in SCORED]
        nominated = set(self.race.nominated([label(one) for one in able], known))
        done = [one for one in able if one.scores is not None and label(one) in nominated]
        return len(done) >= MAX_FINALISTS

    def next(
        self, trials: Sequence[Candidate], references: Sequence[Candidate]
    ) -> Candidate | None:
        """The waiting trial that gains most at its upper bound, None where nobody gains."""
        return next(iter(self.ranked(trials, references)), None)

    def ranked(
        self, trials: Sequence[Candidate], references: Sequence[Candidate]
    ) -> list[Candidate]:
        """The waiting trials that gain at their upper bound, the largest gain first."""
        waiting = [one for one in trials if one.state == "paused" and self._may_be_feasible(one)]
        if not waiting:
            return []
        known = [one for one in trials if one.state in SCORED]
        gains = self.race.gains(
            [label(one) for one in waiting],
            [label(one) for one in (*references, *known) if _stands(one)],
            [label(one) for one in references if one.scores is not None],
            [label(one) for one in known],
        )
        able = [one for one in waiting if gains[label(one)] > 0.0]
        return sorted(able, key=lambda one: (gains[label(one)], one.number), reverse=True)

    def _may_be_feasible(self, trial: Candidate) -> bool:
        """Whether its upper bound keeps every constraint."""
        reach = 2 * self.race.optimism
        return all(
            violated <= reach * self.board.metric(label(trial), part).variance ** 0.5
            for violated, part in zip(trial.violations, self.constrained, strict=False)
        )


def _stands(one: Candidate) -> bool:
    """Whether a candidate may be on the front: scored on everything, every constraint kept."""
    return one.scores is not None and all(value <= 0 for value in one.violations)
