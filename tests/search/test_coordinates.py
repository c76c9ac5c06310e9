"""Coordinates: whatever a sampler draws is a legal recipe, and every point has its coordinates."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from merging.document import Document
from merging.errors import RecipeError
from merging.methods.table import METHODS
from merging.plan import TensorJob
from merging.recipe_reader import read_recipe
from search.coordinates import Coordinates
from search.errors import SpaceError
from search.space import Space, space_from
from search.weight_simplex import Simplex

MakeSpace = Callable[..., Space]

DELLA = """
  merge_method: della_linear
  base_model: base
  models:
    - model: math
      parameters: {weight: 1.0, density: DENSITY, epsilon: EPSILON}
    - model: code
      parameters: {weight: 0.5}
"""

BOUNDED = {
    "both plain": ("{range: [0.05, 1.0]}", "{range: [0.0, 0.4]}"),
    "epsilon from above 0": ("{range: [0.05, 0.95]}", "{range: [0.1, 0.3]}"),
    "fixed epsilon": ("{range: [0.1, 0.9], anchors: 4}", "0.15"),
    "default epsilon": ("{range: [0.1, 0.9], blocks: 2}", "~"),
    "fixed density": ("0.3", "{range: [0.0, 0.49]}"),
    "default density": ("~", "{range: [0.0, 0.49]}"),
    "density that bends": ("[0.2, 0.9, 1.0]", "{range: [0.0, 0.49], anchors: 4}"),
    "logarithmic": ("{range: [0.01, 1.0], log: true}", "{range: [0.001, 0.4], log: true}"),
    "grids": ("{range: [0.1, 0.9], step: 0.1}", "{range: [0.05, 0.45], step: 0.05}"),
    "choices": ("{choice: [0.4, 0.6, 1.0]}", "{choice: [0.1, 0.3]}"),
    "choice of epsilon": ("{range: [0.1, 0.9]}", "{choice: [0.01, 0.2]}"),
    "choice of density": ("{choice: [0.2, 0.5, 1.0]}", "{range: [0.1, 0.49]}"),
    "same anchors": ("{range: [0.1, 1.0], anchors: 3}", "{range: [0, 0.49], anchors: 3}"),
    "other anchors": ("{range: [0.1, 1.0], anchors: 5}", "{range: [0.05, 0.49], anchors: 3}"),
    "anchors and blocks": ("{range: [0.1, 1.0], blocks: 3}", "{range: [0, 0.49], anchors: 4}"),
    "blocks and anchors": ("{range: [0.1, 1.0], anchors: 4}", "{range: [0, 0.49], blocks: 3}"),
    "parts of gradients": ("[0.3, {range: [0.1, 1]}, 0.6]", "[{range: [0, 0.49]}, 0.05]"),
    "more knots than layers": (
        "[0.3, 0.4, 0.5, 0.6, 0.5, 0.4, 0.3, {range: [0.1, 1]}, 0.5]",
        "{range: [0, 0.49], blocks: 3}",
    ),
    "more knots of epsilon": (
        "{range: [0.1, 1], blocks: 2}",
        "[0.1, 0.1, {range: [0, 0.3]}, 0.1, 0.1, {range: [0, 0.3]}, 0.1, 0.1, 0.1]",
    ),
    "filters": (
        "[{filter: mlp, value: {range: [0.1, 0.9]}}, {value: 0.4}]",
        "[{filter: attn, value: {range: [0, 0.49]}}, {filter: mlp, value: 0.2}, {value: 0.1}]",
    ),
}


def draws(distributions: Mapping[str, BaseDistribution]) -> st.SearchStrategy[dict[str, Any]]:
    """Anything that a sampler could draw."""
    each: dict[str, st.SearchStrategy[Any]] = {}
    for name, one in distributions.items():
        if isinstance(one, CategoricalDistribution):
            each[name] = st.sampled_from(one.choices)
        elif isinstance(one, FloatDistribution) and one.step is not None:
            size = round((one.high - one.low) / one.step)
            steps = st.integers(0, size)
            each[name] = steps.map(lambda at, one=one: one.low + at * one.step)
        elif isinstance(one, FloatDistribution):
            each[name] = st.floats(one.low, one.high)
    return st.fixed_dictionaries(each)


def bounded(make_space: MakeSpace, name: str, layers: int = 6) -> Space:
    density, epsilon = BOUNDED[name]
    return make_space(DELLA.replace("DENSITY", density).replace("EPSILON", epsilon), layers=layers)


def assert_valid(space: Space, values: Mapping[str, Any]) -> None:
    assert space.fault(values) is None
    read_recipe(Document("filled.yaml", space.fill(values), {}, {}), strict=True)


@pytest.mark.parametrize("name", BOUNDED)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_draw_is_a_recipe_that_can_be_merged(
    make_space: MakeSpace,
    jobs_of: Callable[..., tuple[TensorJob, ...]],
    name: str,
    data: st.DataObject,
) -> None:
    space = bounded(make_space, name)
    coordinates = Coordinates(space)
    values = coordinates.decode(data.draw(draws(coordinates.distributions())))
    assert_valid(space, values)
    for job in jobs_of(space.fill(values), 6):
        assert [METHODS[job.method].conflict(one.parameters) for one in job.sources] == [None] * 2


@pytest.mark.parametrize("name", BOUNDED)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_coordinates_of_a_point_lead_back_to_it(
    make_space: MakeSpace, name: str, data: st.DataObject
) -> None:
    coordinates = Coordinates(bounded(make_space, name))
    distributions = coordinates.distributions()
    values = coordinates.decode(data.draw(draws(distributions)))
    found = coordinates.encode(values)
    assert found is not None and list(found) == list(distributions)
    for key, one in distributions.items():
        assert one._contains(one.to_internal_repr(found[key])), (key, found[key])
    assert coordinates.decode(found) == pytest.approx(values, rel=3e-6, abs=1e-9)


@pytest.mark.parametrize("name", BOUNDED)
def test_the_start_is_inside(make_space: MakeSpace, name: str) -> None:
    space = bounded(make_space, name)
    assert_valid(space, space.start)
    assert Coordinates(space).encode(space.start) is not None


def test_the_range_of_epsilon_is_used_up_to_its_own_bound_and_the_densitys(
    make_space: MakeSpace,
) -> None:
    coordinates = Coordinates(bounded(make_space, "both plain"))

    def epsilon(density: float, drawn: float) -> float:
        return float(
            coordinates.decode({"math.density": density, "math.epsilon": drawn})["math.epsilon"]
        )

    assert epsilon(0.5, 0.4) == 0.4  # its own range
    assert epsilon(0.1, 0.4) == pytest.approx(0.1, rel=2e-6) and epsilon(0.1, 0.4) < 0.1
    assert epsilon(0.9, 0.4) == pytest.approx(0.1, rel=1e-5) and epsilon(0.9, 0.4) < 0.1
    assert epsilon(1.0, 0.4) == 0.4  # a density of 1 keeps everything
    assert epsilon(0.1, 0.2) == pytest.approx(0.05, rel=1e-5) and epsilon(0.1, 0.0) == 0.0


@pytest.mark.parametrize(
    ("density", "epsilon", "blamed"),
    [
        ("{range: [0.9, 1.0]}", "0.15", "density"),
        ("{choice: [0.1, 0.5]}", "{range: [0.2, 0.4]}", "epsilon"),
        ("0.9", "{range: [0.2, 0.4]}", "epsilon"),
        ("{range: [0.12, 0.14], step: 0.01}", "0.15", "density"),
        ("[1.0, 0.5]", "{range: [0.1, 0.4]}", "epsilon"),
    ],
)
def test_ranges_that_never_go_together_are_refused(
    recipe: Callable[..., Document], density: str, epsilon: str, blamed: str
) -> None:
    text = DELLA.replace("DENSITY", density).replace("EPSILON", epsilon)
    with pytest.raises(RecipeError) as caught:
        space_from(recipe(text), layers=6)
    assert "leaves no room for" in str(caught.value)
    assert f"parameters.{blamed}: " in str(caught.value)


def test_a_start_that_does_not_go_together_is_refused(recipe: Callable[..., Document]) -> None:
    ranges = "{range: [0.1, 0.9], start: 0.2}", "{range: [0, 0.49], start: 0.3}"
    text = DELLA.replace("DENSITY", ranges[0]).replace("EPSILON", ranges[1])
    with pytest.raises(RecipeError, match="cannot start here: .*epsilon 0.3 .* density 0.2"):
        space_from(recipe(text), layers=6)


def test_only_methods_with_epsilon_bound_the_density(make_space: MakeSpace) -> None:
    text = DELLA.replace("DENSITY", "{range: [0.1, 0.9]}").replace("EPSILON", "0.3")
    text = text.replace("della_linear", "{choice: [della_linear, dare_linear]}")
    coordinates = Coordinates(make_space(text))
    for method, low, high in (("dare_linear", 0.1, 0.9), ("della_linear", 0.3, 0.7)):
        ends = [
            coordinates.decode({"merge_method": method, "math.density": drawn})["math.density"]
            for drawn in (0.1, 0.9)
        ]
        assert ends == pytest.approx([low, high], rel=1e-5)


WEIGHTS = """
  merge_method: METHOD
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, HIGH] EXTRA}}}
    - {model: code, parameters: {weight: {range: [0, HIGH] EXTRA}}}
    - {model: prose, parameters: {weight: {range: [0, HIGH] EXTRA}}}
  parameters: {normalize: NORMALIZE}
"""


def weights(
    make_space: MakeSpace,
    method: str = "ties",
    high: str = "1",
    extra: str = "",
    normalize: str = "true",
) -> Coordinates:
    text = WEIGHTS.replace("METHOD", method).replace("HIGH", high)
    text = text.replace(" EXTRA", extra).replace("NORMALIZE", normalize)
    return Coordinates(make_space(text))


@pytest.mark.parametrize("high", ["1", "0.4", "3"])
@pytest.mark.parametrize("extra", ["", ", anchors: 2", ", blocks: 3"])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_normalized_weights_are_shares(
    make_space: MakeSpace, high: str, extra: str, data: st.DataObject
) -> None:
    coordinates = weights(make_space, high=high, extra=extra)
    distributions = coordinates.distributions()
    count = int(extra[-1]) if extra else 1
    assert len(distributions) == 2 * count
    values = coordinates.decode(data.draw(draws(distributions)))
    assert_valid(coordinates.space, values)
    for simplex in coordinates.simplexes:
        total = sum(float(values[name]) for name in simplex.names)
        assert total == pytest.approx(min(float(high), 1.0), rel=1e-5)
    found = coordinates.encode(values)
    assert found is not None
    assert coordinates.decode(found) == pytest.approx(values, abs=1e-5)


@given(
    given=st.lists(st.floats(0.0, 1.0, allow_subnormal=False), min_size=2, max_size=6),
    scale=st.floats(0.01, 1.0),
)
def test_weights_of_any_scale_have_the_coordinates_of_their_ratio(
    given: list[float], scale: float
) -> None:
    names = tuple(f"w{index}" for index in range(len(given)))
    simplex = Simplex(names, names[:-1], 1.0)
    found = simplex.uniform(given)
    if sum(given) == 0:
        assert found is None
        return
    assert found is not None and all(0.0 <= one <= 1.0 for one in found)
    ratio = [one / sum(given) for one in given]
    assert simplex.weights(found) == pytest.approx(ratio, abs=1e-7)
    again = simplex.uniform([scale * one for one in given])
    assert again is not None
    assert simplex.weights(again) == pytest.approx(ratio, abs=1e-7)


def test_shares_are_uniform_on_the_simplex() -> None:
    simplex = Simplex(("a", "b", "c"), ("u", "v"), 1.0)
    steps = [(index + 0.5) / 60 for index in range(60)]
    points = [simplex.weights([u, v]) for u in steps for v in steps]
    for corner in range(3):
        # the share of the triangle where one weight is over 1/2, and the mean
        assert sum(one[corner] > 0.5 for one in points) / len(points) == pytest.approx(
            0.25, abs=0.01
        )
        assert sum(one[corner] for one in points) / len(points) == pytest.approx(1 / 3, abs=0.005)


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        ({"normalize": "false"}, "", ""),
        ({"normalize": "{choice: [true, false]}"}, "", ""),
        ({"method": "task_arithmetic", "normalize": "~"}, "", ""),
        ({"method": "{choice: [ties, task_arithmetic]}", "normalize": "~"}, "", ""),
        ({"extra": ", step: 0.1"}, "", ""),
        ({}, "[0, 1]", "[0.1, 1]"),
        ({}, "[0, 1]", "[0, 2]"),
        ({}, "{weight: {range: [0, 1]}}", "{weight: 0.5}"),
        ({}, "{weight: {range: [0, 1]}}", "{weight: {range: [0, 1], anchors: 2}}"),
        ({}, "{weight: {range: [0, 1]}}", "{weight: {filter: mlp, value: {range: [0, 1]}}}"),
    ],
)
def test_other_weights_stay_numbers_of_their_own(
    make_space: MakeSpace, changes: dict[str, str], before: str, after: str
) -> None:
    own = {"method": "ties", "extra": "", "normalize": "true", **changes}
    text = WEIGHTS.replace("METHOD", own["method"]).replace("NORMALIZE", own["normalize"])
    text = text.replace(" EXTRA", own["extra"]).replace("HIGH", "1").replace(before, after, 1)
    coordinates = Coordinates(make_space(text))
    assert not coordinates.simplexes
    names = [one.name for one in coordinates.space.dimensions]
    assert list(coordinates.distributions()) == names


def test_points_without_coordinates(make_space: MakeSpace) -> None:
    coordinates = weights(make_space)
    nothing = {f"{name}.weight": 0.0 for name in ("math", "code", "prose")}
    assert coordinates.encode(nothing) is None
    with pytest.raises(SpaceError, match="math.weight: expected a number from 0 to 1, got 2"):
        coordinates.encode({**nothing, "math.weight": 2.0})
    with pytest.raises(SpaceError, match="'share of code.weight' is missing"):
        coordinates.decode({"share of math.weight": 0.5})


def test_numbers_have_six_digits_inside_their_range(make_space: MakeSpace) -> None:
    text = WEIGHTS.replace("METHOD", "ties").replace(" EXTRA", "").replace("HIGH", "0.12345678")
    coordinates = Coordinates(make_space(text.replace("NORMALIZE", "false")))
    drawn = dict.fromkeys(coordinates.distributions(), math.pi / 100)
    assert set(coordinates.decode(drawn).values()) == {0.0314159}
    assert set(coordinates.decode(dict.fromkeys(drawn, 0.12345678)).values()) == {0.12345678}


@pytest.mark.parametrize(
    ("method", "dimensions"),
    [("nuslerp", 1), ("multislerp", 1), ("linear", 1), ("task_arithmetic", 2)],
)
def test_weights_of_which_only_the_ratio_counts_are_one_number_less(
    make_space, method: str, dimensions: int
) -> None:
    text = f"""
  merge_method: {method}
  models:
    - {{model: math, parameters: {{weight: {{range: [0, 1]}}}}}}
    - {{model: code, parameters: {{weight: {{range: [0, 1]}}}}}}
"""
    based = text if method == "linear" else f"{text}  base_model: base\n"
    assert len(Coordinates(make_space(based)).distributions()) == dimensions
