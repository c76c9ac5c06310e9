"""Points that gradients found, as trials after the warm starts, for as long as they are trusted.

What trial n is depends on what its shadow says (`shadow`), as every proposal does: the answer is
the same whether it is asked for while trial n-1 is being scored, or after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .ledger import Candidate
from .objectives import Objective
from .predictions import trusted
from .space_parts import Values
from .warm_start import WarmStart

Scores = Mapping[int, tuple[float, ...] | None]
"""Trial number to its scores as a proposal is told of them; None: it failed."""


@dataclass(frozen=True, slots=True)
class GradientStart:
    """A point to score, the utilities predicted of it (higher is better), and what it cost.

    `start.name` is the trial's whole name. `items` and `seconds` are charged to the trial: the
    first one carries the cost of the whole phase.
    """

    start: WarmStart
    predicted: tuple[float, ...]
    items: int = 0
    seconds: float = 0.0
    stage: int = 0
    """Of `anchors: auto`: the space that the point is one of."""

    @property
    def values(self) -> Values:
        """The point."""
        return self.start.values


def next_start(
    starts: Sequence[GradientStart],
    first: int,
    trials: Sequence[Candidate],
    scores: Scores,
    objectives: Sequence[Objective],
) -> GradientStart | None:
    """What the trial after `trials` starts from; None where nothing is left, or trusted.

    Args:
        starts: In order.
        first: The number of the first of them: of warm starts before.
        trials: Every trial so far; their results are not looked at.
        scores: What the trial's shadow says of them.
        objectives: Of the study.
    """
    index = len(trials) - first
    if not 0 <= index < len(starts):
        return None
    taken = [one.name for one in trials[first:]]
    if taken != [one.start.name for one in starts[:index]]:
        return None  # they were dropped before
    followed, _ = standing(starts, trials, scores, objectives)
    return starts[index] if followed else None


def standing(
    starts: Sequence[GradientStart],
    trials: Sequence[Candidate],
    scores: Scores,
    objectives: Sequence[Objective],
) -> tuple[bool, float | None]:
    """Whether predictions are still followed, and their rank correlation with the scores."""
    known = {one.start.name: one.predicted for one in starts}
    pairs = [
        (known[one.name], turned(own, objectives))
        for one in trials
        if one.name in known and (own := scores.get(one.number)) is not None
    ]
    return trusted([ours for ours, _ in pairs], [theirs for _, theirs in pairs])


def turned(scores: Sequence[float], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Scores of which higher is better."""
    pairs = zip(scores, objectives, strict=True)
    return tuple(score if one.higher_is_better else -score for score, one in pairs)
