"""CMA-ES as a function of the trials: its state is told anew from them for every draw.

Hansen, The CMA Evolution Strategy, https://arxiv.org/abs/1604.00772, as the package `cmaes` has
it; started, as in Nomura et al., Warm starting CMA-ES, https://arxiv.org/abs/2012.06932, from
the trials before the first generation. (Optuna's own keeps its state pickled in the trials: it
would be read back from a file that may be a stranger's.)

A generation is told once enough of its trials have ended, the first ones by number. Only ranks
count: the feasible by score, then the others by how far they violate the constraints, failed
ones last. One objective, numbers only (whole
ones are rounded).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .coordinates import Coordinate
from .draws import Ask, Draw, Told
from .positions import unit_share

if TYPE_CHECKING:
    from cmaes import CMA  # type: ignore[import-untyped]
    from optuna.distributions import FloatDistribution, IntDistribution

    Axis = FloatDistribution | IntDistribution

_SPREAD = 1 / 6
"""The first standard deviation, in units of the ranges, where nothing says more."""
_BEST = 3
"""At least this many of the trials before the first generation say where to start."""


@dataclass(frozen=True, slots=True)
class CmaOptions:
    """What may be asked of it, by the names of Optuna's `CmaEsSampler`.

    `x0` (coordinate name to value) and `sigma0` (in units of the ranges) say where to start; with
    either, the trials before the first generation do not.
    """

    x0: Mapping[str, Coordinate] | None = None
    sigma0: float | None = None
    popsize: int | None = None
    lr_adapt: bool = False


def draw_cma(ask: Ask, seed: int, options: CmaOptions = CmaOptions()) -> Draw:  # noqa: B008
    """The next member of the current generation."""
    from optuna.distributions import FloatDistribution, IntDistribution

    axes = {
        name: one
        for name, one in ask.coordinates.distributions().items()
        if isinstance(one, FloatDistribution | IntDistribution)
    }
    ended = [one for one in ask.told if not one.pending]
    ranks = _ranks(ended, ask.higher_is_better[0])
    before = [one for one in ended if not one.kept and one.scores is not None]
    optimizer = _start(axes, before, ranks, seed, options)
    while True:
        members = [one for one in ended if one.kept.get("generation") == optimizer.generation]
        members = members[: optimizer.population_size]
        if len(members) < optimizer.population_size:
            break
        optimizer.tell([(_position(axes, one.coordinates), ranks[one.number]) for one in members])
    return Draw(_coordinates(axes, optimizer.ask()), {"generation": optimizer.generation})


def _start(
    axes: Mapping[str, "Axis"],
    before: Sequence[Told],
    ranks: Mapping[int, float],
    seed: int,
    options: CmaOptions,
) -> "CMA":
    """The optimizer before its first generation, in a unit cube."""
    from cmaes import CMA, get_warm_start_mgd

    size = len(axes)
    mean, spread, covariance = np.full(size, 0.5), _SPREAD, None
    if options.x0 is not None or options.sigma0 is not None:
        mean = mean if options.x0 is None else _position(axes, options.x0)
        spread = options.sigma0 or _SPREAD
    elif len(before) >= _BEST:
        source = [(_position(axes, one.coordinates), ranks[one.number]) for one in before]
        share = max(0.1, (_BEST + 0.5) / len(source)) if len(source) > _BEST else 1.0
        mean, spread, covariance = get_warm_start_mgd(source, gamma=min(share, 1.0))
    return CMA(
        mean=np.clip(mean, 0.0, 1.0),
        sigma=max(float(spread), 1e-6),
        cov=covariance,
        bounds=np.tile([0.0, 1.0], (size, 1)),
        n_max_resampling=10 * size,
        seed=seed,
        population_size=options.popsize,
        lr_adapt=options.lr_adapt,
    )


def _ranks(ended: Sequence[Told], higher_is_better: bool) -> dict[int, float]:
    """Trial number to rank, 0 the best; equal trials share one."""

    def order(one: Told) -> tuple[float, float]:
        if one.scores is None:
            return math.inf, 0.0
        violated = sum(max(value, 0.0) for value in one.violations)
        return violated, 0.0 if violated else (-1.0 if higher_is_better else 1.0) * one.scores[0]

    places = {place: rank for rank, place in enumerate(sorted({order(one) for one in ended}))}
    return {one.number: float(places[order(one)]) for one in ended}


def _position(
    axes: Mapping[str, "Axis"], coordinates: Mapping[str, Coordinate]
) -> NDArray[np.float64]:
    """A point in the unit cube, logarithmic ranges on their scale."""
    return np.array([unit_share(one, float(coordinates[name])) for name, one in axes.items()])


def _coordinates(axes: Mapping[str, "Axis"], point: NDArray[np.float64]) -> dict[str, Coordinate]:
    """The coordinates at a point of the unit cube, on their grids: `_position` undone."""
    result: dict[str, Coordinate] = {}
    for (name, one), share in zip(axes.items(), point.tolist(), strict=True):
        value = _scaled(one, one.low) + share * _width(one)
        value = math.exp(value) if one.log else value
        if one.step is not None:
            value = one.low + round((value - one.low) / one.step) * one.step
        value = min(max(value, one.low), one.high)
        result[name] = int(value) if isinstance(one.low, int) else value
    return result


def _scaled(one: "Axis", value: float) -> float:
    return math.log(value) if one.log else value


def _width(one: "Axis") -> float:
    return _scaled(one, one.high) - _scaled(one, one.low)
