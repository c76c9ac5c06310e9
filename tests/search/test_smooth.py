"""Estimates with what their neighbours say: closed forms, and less error than without."""

import numpy as np
import pytest

from search.smooth import LEAST, Estimate, smoothed, towards_mean


def test_towards_the_mean_by_the_share_of_noise() -> None:
    raw = [Estimate(value, 0.5) for value in (-1.0, 0.0, 1.0)]  # spread 1, half of it noise
    found = towards_mean(raw)
    assert [one.value for one in found] == pytest.approx([-0.5, 0.0, 0.5])
    assert [one.variance for one in found] == pytest.approx([0.25] * 3)
    sure = towards_mean([Estimate(value, 0.0) for value in (-1.0, 0.0, 1.0)])
    assert [one.value for one in sure] == [-1.0, 0.0, 1.0]
    assert towards_mean(raw[:2]) == raw[:2]
    equal = [Estimate(0.3, 0.1)] * 4
    assert [one.value for one in towards_mean(equal)] == pytest.approx([0.3] * 4)


def noisy(
    seed: int, count: int, noise: float
) -> tuple[list[Estimate], list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    points = rng.random((count, 3))
    truth = np.sin(3 * points[:, 0]) + points[:, 1] ** 2
    values = truth + np.sqrt(noise) * rng.standard_normal(count)
    return [Estimate(float(one), noise) for one in values], list(points), truth


def test_neighbours_take_most_of_the_noise() -> None:
    before, after, within = [], [], []
    for seed in range(10):
        raw, places, truth = noisy(seed, 60, 0.04)
        found = smoothed(raw, places)
        errors = np.array([one.value for one in found]) - truth
        before.append(np.mean((np.array([one.value for one in raw]) - truth) ** 2))
        after.append(np.mean(errors**2))
        within.append(np.mean(np.abs(errors) < 2 * np.sqrt([one.variance for one in found])))
    assert np.mean(after) < 0.4 * np.mean(before)
    assert 0.85 < np.mean(within) <= 1.0


def test_what_is_known_exactly_stays() -> None:
    raw, places, truth = noisy(0, 30, 0.0)
    found = smoothed(raw, places)
    assert np.allclose([one.value for one in found], truth, atol=0.02)
    assert max(one.variance for one in found) < 0.02


def test_who_has_no_place_or_too_few_neighbours_goes_to_the_mean() -> None:
    raw, places, _ = noisy(1, 30, 0.04)
    alone = [*places[:-1], None]
    assert smoothed(raw, alone)[-1] == towards_mean(raw)[-1]
    few = LEAST - 1
    assert smoothed(raw[:few], places[:few]) == towards_mean(raw[:few])
    flat = [Estimate(0.5, 0.01)] * 20
    assert [one.value for one in smoothed(flat, places[:20])] == pytest.approx([0.5] * 20)


def test_the_same_again_is_the_same() -> None:
    raw, places, _ = noisy(2, 40, 0.02)
    assert smoothed(raw, places) == smoothed(raw, places)
    order = np.random.default_rng(0).permutation(40)
    moved = smoothed([raw[n] for n in order], [places[n] for n in order])
    assert np.allclose([one.value for one in moved],
                       [smoothed(raw, places)[n].value for n in order], atol=1e-9)  # fmt: skip


def test_of_many_those_scored_on_most_tell_the_others_not_the_luckiest() -> None:
    """Who was lucky with 16 items has a small variance too, and would say that all are good."""
    rng = np.random.default_rng(3)
    points = rng.random((400, 3))
    truth = 0.7 + 0.2 * np.sin(3 * points[:, 0]) * points[:, 1]
    items = np.where(np.arange(400) % 20 == 0, 400, 16)
    shares = rng.binomial(items, truth) / items
    noise = (shares * (1 - shares) * items + 16 * 0.2) / (items + 16) / items
    raw = [Estimate(*one) for one in zip(shares.tolist(), noise.tolist(), strict=True)]
    errors = (
        np.array([one.value for one in smoothed(raw, list(points), None, list(items))]) - truth
    )
    assert abs(errors.mean()) < 0.025
    assert np.mean(errors**2) < 0.2 * np.mean((shares - truth) ** 2)
