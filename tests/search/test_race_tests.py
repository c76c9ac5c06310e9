"""The tests of a race: exact where items are right or wrong, and their error rates simulated."""

import numpy as np
import pytest
from scipy import stats

from search.race_tests import MARGIN, Difference, dominated, upper_bound, worse_p_value


def binary(lost: int, won: int, same: int) -> Difference:
    items = np.array([-1.0] * lost + [1.0] * won + [0.0] * same)
    return Difference(items, range(len(items)), True, MARGIN)


def test_right_and_wrong_items_are_mcnemar_exact() -> None:
    assert worse_p_value(binary(5, 0, 20)) == pytest.approx(0.5**5)
    assert worse_p_value(binary(8, 2, 90)) == pytest.approx(stats.binom.sf(7, 10, 0.5))
    assert worse_p_value(binary(0, 0, 50)) == 1.0
    assert worse_p_value(binary(2, 8, 90)) > 0.9


def test_the_bound_of_agresti_and_min() -> None:
    bound = upper_bound(binary(20, 4, 76), 0.05)
    mean, count = (4.5 - 20.5) / 102, 102
    error = np.sqrt(((4.5 + 20.5) / count - mean**2) / count)
    assert bound == pytest.approx(mean + stats.norm.isf(0.05) * error)
    assert upper_bound(binary(0, 0, 16), 0.00125) > MARGIN  # all alike on 16 items shows nothing


def test_other_numbers_are_a_paired_t_test_over_groups() -> None:
    items = np.random.default_rng(0).normal(-0.3, 1.0, 60)
    single = Difference(items, range(60), False, 0.01)
    assert worse_p_value(single) == pytest.approx(
        float(stats.ttest_1samp(items, 0.0, alternative="less").pvalue)
    )
    doubled = Difference(np.repeat(items, 2), np.repeat(np.arange(60), 2).tolist(), False, 0.01)
    assert worse_p_value(doubled) == pytest.approx(worse_p_value(single))
    assert upper_bound(doubled, 0.01) == pytest.approx(upper_bound(single, 0.01))


def test_dominated_needs_every_objective() -> None:
    bad, even = binary(60, 5, 35), binary(10, 10, 80)
    assert dominated([bad, bad], 0.00125)
    assert not dominated([bad, even], 0.00125)
    assert not dominated([], 0.05) and not dominated([binary(1, 0, 0)], 0.5)


@pytest.mark.parametrize("size", [16, 64, 128])
def test_as_good_a_candidate_is_seldom_dropped(size: int) -> None:
    """Equal truths: the share that is dropped at one look is at most alpha, by simulation."""
    rng, alpha, dropped = np.random.default_rng(size), 0.05, 0
    studies = 2000
    for _ in range(studies):
        right = rng.random((2, size)) < 0.6
        difference = right[0].astype(float) - right[1]
        one = Difference(difference, range(size), True, MARGIN)
        dropped += dominated([one], alpha)
    assert stats.binomtest(dropped, studies, alpha, alternative="greater").pvalue > 0.01
