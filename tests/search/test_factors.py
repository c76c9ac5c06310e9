"""Margins over a space: a world with few skills is known again; who has no place says nothing."""

import numpy as np
import pytest

from search.accuracy import accuracy
from search.factors import MOST, fitted
from search.kernel import climbed, matern
from search.unit_points import near, spread_out


def world(seed: int, count: int, items: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of candidates, true margins, and which were seen: 16 items, every sixth all."""
    rng = np.random.default_rng(seed)
    places = rng.random((count, 3))
    skills = np.column_stack([np.sin(3 * places[:, 0]), places[:, 1] ** 2])
    loadings = rng.normal(1.0, 0.6, (items, 2))
    margins = rng.normal(-0.5, 1.0, items) + skills @ loadings.T
    margins += 0.2 * rng.standard_normal(margins.shape)
    seen = np.zeros(margins.shape, dtype=bool)
    seen[:, :16] = True
    seen[::6] = True
    return places, margins, seen


def hidden(margins: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.where(seen, margins, np.nan)


def error(found: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt(((found - true) ** 2).mean()))


def test_unseen_items_are_known_by_the_skills_they_ask() -> None:
    places, margins, seen = world(0, 48)
    known, numbers = hidden(margins, seen), np.where(seen, margins > 0, np.nan)
    values, variances = accuracy(numbers, known, places).of_candidates()
    truth = (margins > 0).mean(axis=1)
    raw = np.nanmean(numbers, axis=1)
    some = ~seen.all(axis=1)
    assert error(values[some], truth[some]) < 0.4 * error(raw[some], truth[some])
    within = np.abs(values - truth)[some] < 2 * np.sqrt(variances[some])
    assert within.mean() > 0.85


def test_who_was_scored_on_everything_has_its_own_accuracy() -> None:
    places, margins, seen = world(1, 30)
    numbers = np.where(seen, margins > 0, np.nan)
    values, variances = accuracy(numbers, hidden(margins, seen), places).of_candidates()
    whole = seen.all(axis=1)
    assert values[whole] == pytest.approx((margins > 0).mean(axis=1)[whole])
    assert variances[whole] == pytest.approx(np.zeros(int(whole.sum())))
    assert (variances[~whole] > 0).all()


def test_points_that_were_never_tried_are_predicted() -> None:
    places, margins, seen = world(2, 120)
    told, asked = slice(0, 60), slice(60, 120)
    numbers = np.where(seen, margins > 0, np.nan)
    known = accuracy(numbers[told], hidden(margins, seen)[told], places[told])
    values, _ = known.at(places[asked])
    truth = (margins > 0).mean(axis=1)[asked]
    assert np.corrcoef(values, truth)[0, 1] > 0.95
    assert error(values, truth) < 0.35 * truth.std() + 0.02


def test_one_without_a_place_says_nothing_of_points_and_is_estimated_itself() -> None:
    places, margins, seen = world(3, 40)
    places[5] = np.nan
    numbers = np.where(seen, margins > 0, np.nan)
    known = accuracy(numbers, hidden(margins, seen), places)
    assert not known.factors.placed[5] and known.factors.placed.sum() == 39
    values, _ = known.of_candidates()
    assert abs(values[5] - (margins[5] > 0).mean()) < 0.15
    assert np.isfinite(known.at(np.full((1, 3), 0.5))[0]).all()


def test_merges_that_collapsed_say_little_of_the_others() -> None:
    places, margins, seen = world(6, 48)
    margins[7:11] = 100 * np.random.default_rng(6).standard_normal((4, 60))
    numbers = np.where(seen, margins > 0, np.nan)
    values, _ = accuracy(numbers, hidden(margins, seen), places).of_candidates()
    truth, raw = (margins > 0).mean(axis=1), np.nanmean(numbers, axis=1)
    some = ~seen.all(axis=1)
    some[7:11] = False
    assert error(values[some], truth[some]) < 0.7 * error(raw[some], truth[some])


@pytest.mark.parametrize(("items", "spread"), [(3, 1.0), (20, 0.0)])
def test_few_items_or_none_that_differ_are_no_fault(items: int, spread: float) -> None:
    rng = np.random.default_rng(7)
    margins = 1.0 + spread * rng.standard_normal((30, items))
    known = accuracy((margins > 0).astype(float), margins, rng.random((30, 2)))
    for one in (*known.of_candidates(), *known.at(rng.random((4, 2)))):
        assert np.isfinite(one).all()


def test_of_many_candidates_all_are_estimated() -> None:
    places, margins, seen = world(4, MOST + 40)
    known = accuracy(np.where(seen, margins > 0, np.nan), hidden(margins, seen), places)
    assert len(known.factors.members) == MOST
    assert set(np.flatnonzero(seen.all(axis=1))) <= set(known.factors.members.tolist())
    values, _ = known.of_candidates()
    assert error(values, (margins > 0).mean(axis=1)) < 0.06


def test_the_same_again_is_the_same_to_the_bit() -> None:
    places, margins, seen = world(5, 30)
    first, second = (fitted(hidden(margins, seen), places) for _ in range(2))
    for name in ("members", "table", "noise", "lengths", "inverse"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_an_axis_that_does_not_matter_gets_a_long_length() -> None:
    places, margins, seen = world(6, 60)
    lengths = fitted(hidden(margins, seen), places).lengths
    assert lengths[2] > lengths[0] and lengths[2] > lengths[1]


def test_the_kernel_in_closed_form() -> None:
    """Rasmussen and Williams 2006, 4.17, at distance 1 in one axis of two."""
    found = matern(np.array([[0.0, 0.3]]), np.array([[0.0, 0.3], [1.0, 0.3]]), np.array([0.5, 2]))
    root = np.sqrt(5) * 2 / np.sqrt(2)
    assert found[0].tolist() == pytest.approx([1, (1 + root + root**2 / 3) * np.exp(-root)])


def test_lengths_climb_to_the_top_and_no_step_without_a_gain() -> None:
    def likelihood(lengths: np.ndarray, other: float) -> float:
        return -float(((np.log(lengths) - np.log([0.3, 2.0])) ** 2).sum()) - (other - 1) ** 2

    lengths, other = climbed(likelihood, 2, (0.0, 1.0))
    assert lengths.tolist() == [0.3, 2.0] and other == 1.0
    even, _ = climbed(likelihood, 2, (0.0, 1.0), gain=10.0)
    assert even.tolist() == [0.8, 0.8]


def test_points_fill_the_cube_and_stay_inside() -> None:
    points = spread_out(3, 64, 1)
    assert points.shape == (64, 3) and np.allclose(points.mean(axis=0), 0.5, atol=0.02)
    moved = near(np.array([[0.0, 1.0, 0.5]]), 200, 0.2, 7)
    assert moved.shape == (200, 3) and moved.min() >= 0 and moved.max() <= 1
    assert np.array_equal(moved, near(np.array([[0.0, 1.0, 0.5]]), 200, 0.2, 7))
