"""Points of a space as vectors, so that their distance says something."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .coordinates import Coordinate, Coordinates
from .space_parts import Values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution


def position(coordinates: Coordinates, values: Values) -> NDArray[np.float64] | None:
    """A point in the unit cube; None where it has no coordinates (all weights 0).

    Numbers by their share of the range, logarithmic ranges on their scale; a choice has an axis
    for each of its values, and two choices are one apart. What a point's merge method does not
    read is in the middle.
    """
    drawn = coordinates.encode(values)
    if drawn is None:
        return None
    return np.array(
        [
            share
            for name, one in coordinates.distributions().items()
            for share in _axes(one, drawn, name)
        ]
    )


def _axes(one: "BaseDistribution", drawn: Mapping[str, Coordinate], name: str) -> list[float]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, CategoricalDistribution):
        return [math.sqrt(0.5) * (drawn.get(name) == choice) for choice in one.choices]
    assert isinstance(one, FloatDistribution | IntDistribution)
    if name not in drawn:
        return [0.5]
    return [unit_share(one, float(drawn[name]))]


def unit_share(one: "FloatDistribution | IntDistribution", value: float) -> float:
    """Where a value lies in its range, from 0 to 1; on their scale in logarithmic ranges."""
    low, high = float(one.low), float(one.high)
    if one.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / (high - low) if high > low else 0.5
