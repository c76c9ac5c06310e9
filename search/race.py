"""Racing: who is scored on more items, who waits, who is out.

After every look a candidate is compared with at most eight members of the front on the items that
both were scored on, and dropped if it is shown to be dominated (`race_tests`). Whoever is left
waits for its next items; those go to the candidate whose upper bound gains most hypervolume. So a
race spends items on those that may still matter, and one that waits comes back when the front
turns out lower than it looked.

Everything here is a pure function of the board: the same ledger gives the same decisions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from .board import Board
from .front import pareto_front, reference_scale
from .objectives import Objective
from .race_tests import ALPHA, MARGIN, Difference, dominated

Numbers = NDArray[np.float64]

RIVALS = 8
"""Members of the front that a candidate is tested against."""
PROMOTED = 0.5
"""Share of the trials' items that goes to second and later looks; the rest to new trials."""
OPTIMISM = 1.0
"""Standard errors added to an estimate for its upper bound."""
CORNER = 0.1
"""The reference point of the hypervolume lies so far below the worst reference, of its scale."""


@dataclass(frozen=True, slots=True)
class Race:
    """The rules of one study's race, over its board."""

    board: Board
    objectives: Sequence[Objective]
    groups: Mapping[str, Sequence[int]]
    """Task to the group of each item of the search split, as numbers."""
    optimism: float = OPTIMISM
    promoted: float = PROMOTED

    def beaten_by(self, label: str, front: Sequence[str], looks: int) -> str:
        """The first member of the front that is shown to dominate a candidate; empty: none is.

        Args:
            label: The candidate.
            front: Labels of complete candidates, the most important first.
            looks: How many the candidate has in all, over which alpha is divided.
        """
        rivals = [one for one in front if one != label][:RIVALS]
        alpha = ALPHA / max(1, len(rivals) * looks)
        beats = (one for one in rivals if dominated(self._differences(label, one), alpha))
        return next(beats, "")

    def gains(
        self,
        waiting: Sequence[str],
        standing: Sequence[str],
        references: Sequence[str],
        known: Sequence[str],
    ) -> dict[str, float]:
        """Hypervolume that each waiting candidate gains at its upper bound, at least 0.

        Args:
            waiting: Labels of candidates scored on some items.
            standing: Labels of trials and references that keep every constraint, scored on all
                items.
            references: Labels of the references, whose scores set the scale.
            known: Labels of all trials of which anything is known.
        """
        up = [one.higher_is_better for one in self.objectives]
        signs = np.where(up, 1.0, -1.0)
        own = self._raw(references)
        scale = reference_scale(own, up)
        values, errors = self._values(known)
        at = {label: place for place, label in enumerate(known)}
        trials = values[[at[one] for one in standing if one in at]]
        others = self._raw([one for one in standing if one not in at])
        front = scale.of(np.vstack([others, trials])) + CORNER
        front = front[(front > 0).all(axis=1)]
        before, found = _volume(front), {}
        for label in waiting:
            value, error = values[at[label]], errors[at[label]]
            best = scale.of((value + signs * self.optimism * error)[None]) + CORNER
            gains = (best > 0).all() and not (front >= best).all(axis=1).any()
            gained = _volume(np.vstack([front, best])) - before if gains else 0.0
            found[label] = gained if gained > 1e-9 else 0.0
        return found

    def front(self, complete: Sequence[str]) -> list[str]:
        """The members of the front among complete candidates, by what each adds to its volume."""
        if not complete:
            return []
        up = [one.higher_is_better for one in self.objectives]
        values = self._raw(complete)
        _, first = np.unique(values, axis=0, return_index=True)  # of equals one is enough
        complete = [complete[place] for place in sorted(first.tolist())]
        values = values[np.sort(first)]
        members = pareto_front(values, up)
        chosen = values[members] * np.where(up, 1.0, -1.0)
        low, high = chosen.min(axis=0), chosen.max(axis=0)
        points = (chosen - low) / np.where(high > low, high - low, 1.0) + CORNER
        whole = _volume(points)
        added = [whole - _volume(np.delete(points, place, axis=0)) for place in range(len(points))]
        order = sorted(range(len(members)), key=lambda place: (-added[place], place))
        return [complete[members[place]] for place in order]

    def nominated(self, able: Sequence[str], known: Sequence[str]) -> list[str]:
        """The members of the front of some trials by posterior estimates.

        `known` are labels of all trials of which anything is known, those among them.
        """
        if not able:
            return []
        at = {label: place for place, label in enumerate(known)}
        values = self._values(known)[0][[at[one] for one in able]]
        members = pareto_front(values, [one.higher_is_better for one in self.objectives])
        return [able[place] for place in members]

    def _raw(self, labels: Sequence[str]) -> Numbers:
        """Estimates without their neighbours, shape (labels, objectives)."""
        found = [
            [self.board.objective(one, each).value for each in self.objectives] for one in labels
        ]
        return np.array(found).reshape(len(labels), len(self.objectives))

    def _values(self, labels: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Values and standard errors of the posteriors, shape (labels, objectives)."""
        columns = [self.board.posterior(labels, objective) for objective in self.objectives]
        shape = (len(self.objectives), len(labels))
        values = np.array([[one.value for one in column] for column in columns]).reshape(shape)
        errors = np.array([[one.variance for one in column] for column in columns]).reshape(shape)
        return values.T, np.sqrt(errors.T)

    def _differences(self, label: str, rival: str) -> list[Difference]:
        return [self._difference(label, rival, objective) for objective in self.objectives]

    def _difference(self, label: str, rival: str, objective: Objective) -> Difference:
        """On common items; several tasks stand one behind the other, each with its share."""
        sign = 1.0 if objective.higher_is_better else -1.0
        numbers: list[Numbers] = []
        groups: list[int] = []
        sizes: list[int] = []
        binary, scale, offset = True, 0.0, 0
        for part in objective.parts:
            mine, theirs = self.board.line(label, part), self.board.line(rival, part)
            both = np.flatnonzero(np.isfinite(mine) & np.isfinite(theirs)).tolist()
            numbers.append(sign * (mine[both] - theirs[both]))
            groups += [offset + self.groups[part[0]][index] for index in both]
            sizes.append(len(both))
            offset += len(mine)
            binary = binary and _shares(mine) and _shares(theirs)
            scale += abs(self.board.metric("base", part).value) / len(objective.parts)
        total, parts = sum(sizes), len(sizes)
        if binary and len(set(sizes)) <= 1:
            return Difference(np.concatenate(numbers), groups, True, MARGIN)
        # Each part's mean counts the same, however many items it has.
        weighted = [
            one * (total / (parts * size)) if size else one
            for one, size in zip(numbers, sizes, strict=True)
        ]
        margin = MARGIN if binary else MARGIN * scale
        return Difference(np.concatenate(weighted), groups, False, margin)


def _shares(line: Numbers) -> bool:
    """Whether the numbers are 0 and 1 only."""
    return bool(np.isin(line[np.isfinite(line)], (0.0, 1.0)).all())


def _volume(points: Numbers) -> float:
    return float(moocore.hypervolume(points, ref=0.0, maximise=True)) if len(points) else 0.0
