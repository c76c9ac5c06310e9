"""The point that the estimates put highest of all that were not tried: a trial of its own.

A sampler spreads its proposals. What is known of candidates, item by item, also says what points
between them are worth (`Board.elsewhere`), better than scores of single trials do. So a trial is
where that is best: the highest value of one objective; of several, in turn, the largest gain in
hypervolume over the front of the estimates, and the highest utility by the study's winner rule.
Where none is predicted to be a gain the sampler proposes. Looked for among points that fill the
space, then around the best of them and of the trials; not where a failed trial is the nearest, for
estimates know nothing of failures.

Like all that proposal n is told, a guess is made when trial n-1 begins, and kept in its shadow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray

from .coordinates import Coordinates
from .front import Scale, reference_scale
from .race import CORNER
from .space_parts import Values
from .space_ranges import Value
from .unit_points import near, shares_of, spread_out, values_at

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

EVERY = 2
"""With several objectives one of so many proposals is a guess; with one all that gain are."""
_SPREAD = 512
_AROUND = 16
"""Points around each of the best."""
_BEST = 8
_REACHES = (0.15, 0.05)
"""How far around the best, in units of a range."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of trials that may win, and how points are judged by it."""

    values: Sequence[Values]
    """Of the trials, points of the space whose coordinates are searched."""
    scores: Numbers
    """Their estimates, shape (trials, objectives)."""
    references: Numbers
    """Of reference models, shape (models, objectives)."""
    higher_is_better: Sequence[bool]
    predicted: Callable[[Sequence[Values]], Numbers]
    """Points to objective values, shape (points, objectives); NaN of one that lies nowhere."""
    utility: Callable[[Numbers], Numbers] | None = None
    """What values are worth by the winner rule, shape (points,); None: their hypervolume."""
    failed: Sequence[Values] = ()
    """Points that could not be merged or scored: nothing is predicted of that."""


def guess(
    coordinates: Coordinates, known: Known, tried: Sequence[Values], seed: int
) -> dict[str, Value] | None:
    """The point that is predicted best; None where none is predicted to be a gain.

    Args:
        coordinates: Of the space.
        known: Of the trials.
        tried: Points that are out of the question.
        seed: The same seed gives the same point.
    """
    worth = _worth(known)
    merged = [coordinates.rounded(one) for one in tried]  # weights of a simplex in any scale
    axes = len(coordinates.distributions())
    points = spread_out(axes, _SPREAD, seed)
    order = np.argsort(-worth(known.scores), kind="stable")[:_BEST]
    starts = shares_of(coordinates, [known.values[place] for place in order])
    best: tuple[float, dict[str, Value] | None] = (0.0, None)
    for turn, reach in enumerate((*_REACHES, None)):
        found = [one for one in values_at(coordinates, points) if one is not None]
        gains = worth(known.predicted(found))
        gains[_hopeless(coordinates, known, found)] = -np.inf
        order = np.argsort(-gains, kind="stable")
        for place in order.tolist():
            if coordinates.rounded(found[place]) not in merged:
                best = max(best, (float(gains[place]), found[place]), key=lambda one: one[0])
                break
        if reach is not None:
            ahead = shares_of(coordinates, [found[place] for place in order[:_BEST]])
            points = near(np.vstack([ahead, starts]), _AROUND, reach, seed + 1 + turn)
    return best[1]


def _hopeless(coordinates: Coordinates, known: Known, points: Sequence[Values]) -> Mask:
    """Which points have a failed trial for their nearest, shape (points,)."""
    from scipy.spatial.distance import cdist

    failed = shares_of(coordinates, known.failed)
    if not len(failed):
        return np.zeros(len(points), dtype=np.bool_)
    at, scored = shares_of(coordinates, points), shares_of(coordinates, known.values)
    nearest = cdist(at, scored).min(axis=1, initial=np.inf)
    return np.asarray(cdist(at, failed).min(axis=1) < nearest, dtype=np.bool_)


def _worth(known: Known) -> Callable[[Numbers], Numbers]:
    """What values gain over the best that is known, NaN as nothing; of several hypervolume."""
    if known.utility is not None:
        useful = known.utility
        most = float(useful(known.scores).max())
        return lambda scores: np.nan_to_num(useful(scores) - most, nan=-np.inf)
    scale = reference_scale(known.references, known.higher_is_better)
    before = scale.of(known.scores) + CORNER
    if before.shape[1] == 1:
        highest = float(before.max())

        def value(scores: Numbers) -> Numbers:
            return np.nan_to_num(scale.of(scores)[:, 0] + CORNER - highest, nan=-np.inf)

        return value
    front = before[(before > 0).all(axis=1)]
    front = front[moocore.is_nondominated(front, maximise=True)] if len(front) else front

    def volume(scores: Numbers) -> Numbers:
        return _gained(front, scale, scores)

    return volume


def _gained(front: Numbers, scale: Scale, scores: Numbers) -> Numbers:
    """Hypervolume that each adds to a front: of its own box what the front leaves."""
    points = scale.of(scores) + CORNER
    gains = np.zeros(len(points))
    for place in np.flatnonzero((points > 0).all(axis=1)).tolist():
        point = points[place]
        if not (front >= point).all(axis=1).any():
            inside = np.minimum(front, point)
            taken = moocore.hypervolume(inside, ref=0.0, maximise=True) if len(front) else 0.0
            gains[place] = float(point.prod()) - float(taken)
    return gains
