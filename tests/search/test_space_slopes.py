"""The chain rule: what the plan does when a dimension moves, at other points than it was taken."""

import random

import pytest

from merging.schedule import depth, interpolate
from merging.sloped import Slope
from search.space_slopes import LAMBDA, moved_dimensions, scaled, shares_at, stretch, unscaled

RECIPES = {
    "anchors and blocks": """\
  merge_method: dare_ties
  base_model: base
  models:
    - model: math
      parameters: {weight: {range: [0.0, 1.0], anchors: 3}, density: {range: [0.2, 0.8]}}
    - model: code
      parameters: {weight: {range: [0.1, 0.9], blocks: 2}, density: 0.5}
  parameters: {normalize: true, lambda: {range: [0.5, 1.5], log: true}}
  dtype: float32
""",
    "filters": """\
  merge_method: linear
  models:
    - model: math
      parameters:
        weight:
          - {filter: self_attn, value: {range: [0.0, 1.0], anchors: 2}}
          - {value: {range: [0.1, 1.0]}}
    - {model: code, parameters: {weight: {range: [0.2, 1.0]}}}
  dtype: float32
""",
}


def numbers(jobs):
    found = {}
    for job in jobs:
        for index, source in enumerate(job.sources):
            found[job.name, index] = source.parameters["weight"]
        if "lambda" in job.parameters:
            found[job.name, LAMBDA] = job.parameters["lambda"]
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_shares_say_what_every_tensor_does_at_any_point(make_space, jobs_of, name) -> None:
    space = make_space(RECIPES[name])
    plan = lambda data: jobs_of(data, 6)  # noqa: E731
    shares = shares_at(space, space.start, plan)
    moved = moved_dimensions(space, space.methods[0])
    assert list(shares.of) == [one.name for one in moved]
    assert not any("density" in one for one in shares.of)
    draw = random.Random(1)
    for _ in range(3):
        at = {
            **space.start,
            **{one.name: draw.uniform(one.range.low, one.range.high) for one in moved},
        }
        before = numbers(plan(space.fill(space.start)))
        after = numbers(plan(space.fill(at)))
        for place, number in after.items():
            told = before[place] + sum(
                own.get(place, 0.0) * (at[one] - space.start[one])
                for one, own in shares.of.items()
            )
            assert told == pytest.approx(number, abs=1e-12)


def test_anchors_are_hat_functions(make_space, jobs_of) -> None:
    space = make_space(RECIPES["anchors and blocks"])
    shares = shares_at(space, space.start, lambda data: jobs_of(data, 6))
    for layer in range(6):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        for anchor in range(3):
            hat = interpolate(tuple(float(anchor == k) for k in range(3)), depth(layer, 6))
            found = shares.of[f"math.weight@{anchor}"].get((name, 0), 0.0)
            assert found == pytest.approx(hat, abs=1e-12)
        assert shares.of["lambda"][name, LAMBDA] == pytest.approx(1.0)
        block = 0 if layer < 3 else 1
        assert shares.of[f"code.weight#{block}"][name, 1] == pytest.approx(1.0)
        assert (name, 1) not in shares.of[f"code.weight#{1 - block}"]


def test_slopes_are_added_up_by_shares(make_space, jobs_of) -> None:
    space = make_space(RECIPES["filters"])
    jobs = jobs_of(space.fill(space.start), 6)
    shares = shares_at(space, space.start, lambda data: jobs_of(data, 6))
    slopes = [Slope(job.name, (2.0, 3.0), 0.0) for job in jobs]
    found = shares.chained(slopes)
    attention = [job for job in jobs if "self_attn" in job.name]
    assert found["code.weight"] == pytest.approx(3.0 * len(jobs))
    assert found["math.weight.rest"] == pytest.approx(2.0 * (len(jobs) - len(attention)))
    halves = found["math.weight.self_attn@0"], found["math.weight.self_attn@1"]
    assert halves == pytest.approx((len(attention), len(attention)))


def test_the_unit_cube_follows_logarithms_and_grids(make_space) -> None:
    space = make_space(RECIPES["anchors and blocks"])
    own = {one.name: one.range for one in space.dimensions}["lambda"]
    assert unscaled(own, 0.5) == pytest.approx((0.5 * 1.5) ** 0.5, rel=1e-5)
    assert scaled(own, unscaled(own, 0.3)) == pytest.approx(0.3, abs=1e-5)
    assert unscaled(own, 7.0) == 1.5 and unscaled(own, -1.0) == 0.5
    step = 1e-4
    rate = (unscaled(own, 0.4 + step) - unscaled(own, 0.4 - step)) / (2 * step)
    assert stretch(own, unscaled(own, 0.4)) == pytest.approx(rate, rel=1e-2)
    grid = make_space(
        "  merge_method: linear\n  models:\n"
        "    - {model: math, parameters: {weight: {range: [0.0, 1.0], step: 0.1}}}\n"
        "    - {model: code, parameters: {weight: 0.5}}\n"
    )
    assert unscaled(grid.dimensions[0].range, 0.33) == 0.3
