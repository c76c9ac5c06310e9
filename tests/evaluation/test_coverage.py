"""A thousand simulated studies of each kind: how often the truth lies where it is said to lie.

The product draws 2,000 resamples, these tests 400: fewer make an end noisier, which costs coverage
a little and gives none away. `scripts/bench_statistics.py` has the same over a wide grid, and
docs/statistics.md what it printed.
"""

import numpy as np
import pytest
from scipy import stats
from simulated import (
    Design,
    Simulation,
    accuracy,
    bits_difference,
    bits_per_byte,
    covers,
    difference,
    undercovers,
    utility,
)

STUDIES = 1000
RESAMPLES = 400

COVERED: dict[str, tuple[Simulation, float]] = {
    "accuracy, 30 groups of 5": (accuracy(Design(30, "5"), 0.8), 1.15),
    "accuracy, 40 uneven groups in 3 strata": (accuracy(Design(40, "uneven", 3), 0.8), 1.15),
    "difference, 30 items": (difference(Design(30), 0.8, 0.2), 1.25),
    "bits per byte, 30 texts": (bits_per_byte(Design(30), 0.5), 1.15),
    "bits per byte of two systems, 40 texts": (bits_difference(Design(40), 0.5, 0.02), 1.15),
    "utility of two tasks, 30 groups of 5": (
        utility(Design(30, "5"), (0.7, 0.5), (-0.05, 0.25), (0.5, 0.45)),
        1.25,
    ),
}
"""The simulation, and how wide its mean interval may be, beside 2 x 1.96 true deviations."""

NOTHING_GAINED: dict[str, Simulation] = {
    "difference": difference(Design(40), 0.7, 0.0),
    "utility": utility(Design(30, "5"), (0.7, 0.5), (0.0, 0.0), (0.5, 0.45)),
}


@pytest.mark.parametrize("name", COVERED)
def test_intervals_cover_the_truth_as_often_as_they_say(name: str) -> None:
    simulation, widest = COVERED[name]
    found = [simulation.study(seed, RESAMPLES) for seed in range(STUDIES)]
    inside = sum(covers(one, simulation.truth) for one in found)
    assert not undercovers(inside, STUDIES), f"{inside} of {STUDIES}"
    ends = np.array([[one.low, one.high] for one in found], dtype=np.float64)
    width = float((ends[:, 1] - ends[:, 0]).mean())
    assert width < widest * 2 * 1.96 * np.std([one.value for one in found])


@pytest.mark.parametrize("name", NOTHING_GAINED)
def test_claims_are_wrong_as_seldom_as_they_say(name: str) -> None:
    """Two equal systems: 0 lies outside one time in twenty, and below every second of them."""
    simulation = NOTHING_GAINED[name]
    assert simulation.truth == 0
    found = [simulation.study(seed, RESAMPLES) for seed in range(STUDIES, 2 * STUDIES)]
    better = sum(one.low is not None and one.low > 0 for one in found)
    other = better + sum(one.high is not None and one.high < 0 for one in found)
    for wrong, level in ((other, 0.05), (better, 0.025)):
        assert stats.binomtest(wrong, STUDIES, level, alternative="greater").pvalue >= 0.01
