"""Points of a space from the unit cube: many at once, for who looks for the best of a model.

An axis for each coordinate that samplers draw, in the order of the recipe. Every point is legal,
steps, choices, simplexes and bounds included (`coordinates`).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from .coordinates import Coordinate, Coordinates
from .errors import SpaceError
from .positions import unit_share
from .space_parts import Values
from .space_ranges import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Numbers = NDArray[np.float64]


def spread_out(axes: int, count: int, seed: int) -> Numbers:
    """Points that fill the cube evenly (scrambled Sobol), shape (count, axes); 2^n of them."""
    from scipy.stats.qmc import Sobol

    found: Numbers = Sobol(axes, scramble=True, rng=seed).random_base2(count.bit_length() - 1)
    return found


def near(points: Numbers, count: int, reach: float, seed: int) -> Numbers:
    """So many points around each, normally distributed, inside the cube."""
    rng = np.random.default_rng(seed)
    moved = np.repeat(points, count, axis=0)
    # Half of the coordinates stay on average: some matter alone.
    steps = rng.normal(0.0, reach, moved.shape) * rng.integers(0, 2, moved.shape)
    return np.clip(moved + steps, 0.0, 1.0)


def values_at(coordinates: Coordinates, points: Numbers) -> Iterator[dict[str, Value] | None]:
    """The point of the space at each; None where its parts do not go together."""
    distributions = coordinates.distributions()
    for point in points.tolist():
        drawn = {
            name: _taken(one, share)
            for (name, one), share in zip(distributions.items(), point, strict=True)
        }
        try:
            yield coordinates.decode(drawn)
        except SpaceError:
            yield None


def shares_of(coordinates: Coordinates, values: Sequence[Values]) -> Numbers:
    """Where points lie on the axes, those left out that lie nowhere; shape (points, axes)."""
    distributions = coordinates.distributions()
    found = []
    for one in values:
        drawn = coordinates.encode(one)
        if drawn is not None:
            found.append([_share(each, drawn, name) for name, each in distributions.items()])
    return np.array(found, dtype=np.float64).reshape(len(found), len(distributions))


def _taken(one: "BaseDistribution", share: float) -> Coordinate:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, CategoricalDistribution):
        place = min(int(share * len(one.choices)), len(one.choices) - 1)
        return cast(Coordinate, one.choices[place])
    assert isinstance(one, FloatDistribution | IntDistribution)
    low, high = float(one.low), float(one.high)
    if one.log:
        found = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        return min(max(found, low), high)
    return low + share * (high - low)


def _share(one: "BaseDistribution", drawn: Mapping[str, Coordinate], name: str) -> float:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if name not in drawn:
        return 0.5
    if isinstance(one, CategoricalDistribution):
        return (one.choices.index(drawn[name]) + 0.5) / len(one.choices)
    assert isinstance(one, FloatDistribution | IntDistribution)
    return unit_share(one, float(drawn[name]))
