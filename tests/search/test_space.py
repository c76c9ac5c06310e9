"""Ranges of a recipe: found, refused with their place, filled, read back, written as slices."""

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.document import Document
from merging.errors import RecipeError
from merging.plan import TensorJob
from search.errors import SpaceError
from search.space import Space, changes, describe, space_from
from search.space_blocks import gradient, runs

MakeSpace = Callable[..., Space]

DESIGN = """
  merge_method: dare_ties
  base_model: zoo/base
  models:
    - model: zoo/math
      parameters:
        weight: {range: [0.0, 1.0], anchors: 5, start: 0.5}
        density: {range: [0.1, 0.9]}
    - model: zoo/code
      parameters:
        weight:
          - {filter: self_attn, value: {range: [0.0, 1.0]}}
          - {filter: mlp, value: {range: [0.0, 1.0]}}
          - {value: {range: [0.0, 1.0]}}
        density: {range: [0.1, 0.9], blocks: 4}
  parameters: {normalize: true, lambda: {range: [0.5, 1.5]}}
  dtype: bfloat16
"""

SHORT = """
  merge_method: ties
  base_model: base
  models:
    - model: math
      parameters: {weight: 1.0, density: @}
    - model: code
      parameters: {weight: 0.5, density: 0.5}
"""

METHODS = """
  merge_method: {choice: [della, ties, task_arithmetic, linear]}
  base_model: base
  models:
    - {model: base, parameters: {weight: {range: [0.1, 1]}}}
    - model: math
      parameters: {weight: {range: [0.1, 1]}, density: {range: [0.4, 0.6]}, epsilon: 0.1}
    - model: code
      parameters: {weight: {range: [0.1, 1]}, density: 0.5}
  parameters: {normalize: {choice: [true, false]}, lambda: {range: [0.5, 2], log: true}}
"""

SLICED = """
  merge_method: ties
  base_model: base
  parameters:
    lambda: [0.5, 1.0]
    density: {range: [0.1, 1.0]}
  slices:
    - sources:
        - {model: base, layer_range: [0, 4]}
        - {model: math, layer_range: [0, 4], parameters: {weight: {range: [0, 1], blocks: 2}}}
        - model: code
          layer_range: [0, 4]
          parameters: {weight: {range: [0, 1], anchors: layers}}
    - sources:
        - {model: base, layer_range: [4, 9]}
        - {model: math, layer_range: [4, 9], parameters: {weight: {range: [0, 1], blocks: 3}}}
        - {model: code, layer_range: [4, 9], parameters: {weight: [0.1, {range: [0, 1]}, 0.3]}}
      parameters:
        lambda: {filter: mlp, value: {range: [1, 2], blocks: 2}}
"""

RECIPES = {"design": (DESIGN, 10), "methods": (METHODS, 4), "sliced": (SLICED, 9)}


def any_values(space: Space, draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
    """A point of a space whose dimensions do not bound each other."""
    values: dict[str, Any] = {}
    method = draw(st.sampled_from(space.methods))
    for one in space.active(method):
        own = one.range
        choices = st.sampled_from(own.choices) if own.choices else st.floats(own.low, own.high)
        values[one.name] = draw(choices)
    return {**values, "merge_method": method} if len(space.methods) > 1 else values


def test_the_example_of_the_design_has_these_dimensions(make_space: MakeSpace) -> None:
    space = make_space(DESIGN, layers=10)
    assert [one.name for one in space.dimensions] == [
        *(f"math.weight@{anchor}" for anchor in range(5)),
        "math.density",
        "code.weight.self_attn",
        "code.weight.mlp",
        "code.weight.rest",
        *(f"code.density#{block}" for block in range(4)),
        "lambda",
    ]
    assert space.started and not space.conditional
    assert space.start["math.weight@3"] == 0.5 and space.start["lambda"] == 1.0
    assert [one.model for one in space.dimensions][-2:] == ["code", None]


def test_filling_puts_numbers_in_the_place_of_ranges_and_nothing_else(
    make_space: MakeSpace,
) -> None:
    space = make_space(SHORT.replace("@", "{range: [0.1, 0.9], anchors: 3}"))
    before = copy.deepcopy(space.template)
    filled = space.fill({"math.density@0": 0.1, "math.density@1": 0.25, "math.density@2": 0.9})
    assert filled["models"][0]["parameters"] == {"weight": 1.0, "density": [0.1, 0.25, 0.9]}
    filled["models"][0]["parameters"] = space.template["models"][0]["parameters"]
    assert filled == space.template == before
    assert filled["models"][1] is not space.template["models"][1]


@pytest.mark.parametrize("name", RECIPES)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_reading_undoes_filling(make_space: MakeSpace, name: str, data: st.DataObject) -> None:
    text, layers = RECIPES[name]
    space = make_space(text, layers=layers)
    values = any_values(space, data.draw)
    read = space.read(space.fill(values))
    assert list(read) == [one.name for one in space.active(space.method(values))]
    for key, value in values.items():
        between = name == "design" and key.startswith("math.weight@")  # anchors beside blocks
        expected = pytest.approx(value, abs=1e-9) if between else value
        assert read[key] == expected


def test_numbers_of_six_digits_come_back_exactly_even_between_layers(
    make_space: MakeSpace,
) -> None:
    space = make_space(DESIGN, layers=10)
    values = {**space.start, "math.weight@1": 0.123456, "math.weight@2": 0.654321}
    assert space.read(space.fill(values)) == values


def test_reading_says_what_is_no_filling(make_space: MakeSpace) -> None:
    space = make_space(SHORT.replace("@", "{range: [0.1, 0.9]}"))
    filled = space.fill(space.start)
    for change, message in (
        ({"merge_method": "dare_ties"}, "merge_method: expected one of ties, got 'dare_ties'"),
        ({"dtype": "float32"}, "dtype is not part of it"),
        ({"base_model": "other"}, "base_model: expected 'base', got 'other'"),
        ({"models": filled["models"][:1]}, "models: expected"),
        ({"models": []}, r"models\[0\] is missing"),
    ):
        with pytest.raises(SpaceError, match=message):
            space.read({**filled, **change})
    filled["models"][0]["parameters"]["density"] = 0.95
    with pytest.raises(
        SpaceError, match=r"math.density: expected a number from 0.1 to 0.9, got 0.95"
    ):
        space.read(filled)


@pytest.mark.parametrize("layers", [4, 5, 7, 24])
def test_blocks_written_as_slices_plan_the_merge_that_values_a_layer_would(
    make_space: MakeSpace, jobs_of: Callable[..., tuple[TensorJob, ...]], layers: int
) -> None:
    text = """
  merge_method: dare_ties
  base_model: base
  models:
    - model: math
      parameters:
        weight: {range: [0, 1], anchors: 3}
        density: {range: [0.1, 1], blocks: 3}
    - model: code
      parameters:
        weight: [{filter: mlp, value: {range: [0, 1], blocks: 2}}, {value: 0.3}]
        density: [0.2, 0.9, 0.4]
  parameters:
    lambda: [{filter: mlp, value: [0.5, 1.5]}, {value: {range: [1, 2]}}]
    rescale: false
"""
    space = make_space(text, layers=layers)
    numbers = [0.1 + 0.07 * index for index in range(len(space.dimensions))]
    values = {
        one.name: one.range.low + share * (one.range.high - one.range.low)
        for one, share in zip(space.dimensions, numbers, strict=True)
    }

    def along(name: str, count: int) -> list[float]:
        blocks = [
            (values[f"{name}#{index}"], span) for index, span in enumerate(runs(layers, count))
        ]
        return [value for value, (start, stop) in blocks for _ in range(start, stop)]

    models_form = copy.deepcopy(dict(space.template))
    math_own, code_own = (one["parameters"] for one in models_form["models"])
    math_own["weight"] = [values[f"math.weight@{index}"] for index in range(3)]
    math_own["density"] = along("math.density", 3)
    code_own["weight"][0]["value"] = along("code.weight.mlp", 2)
    models_form["parameters"]["lambda"][1]["value"] = values["lambda.rest"]

    filled = space.fill(values)
    assert (
        "models" not in filled
        and filled["slices"][-1]["sources"][0]["layer_range"] == [layers] * 2
    )
    assert_same_plan(jobs_of(filled, layers), jobs_of(models_form, layers))


def test_blocks_of_one_slice_cut_that_slice_only(
    make_space: MakeSpace, jobs_of: Callable[..., tuple[TensorJob, ...]]
) -> None:
    space = make_space(SLICED, layers=9)
    values = {one.name: 0.25 + 0.05 * at for at, one in enumerate(space.dimensions)}
    values |= {name: 1.0 + values[name] / 2 for name in values if name.startswith("slice1.lambda")}
    filled = space.fill(values)
    ranges = [one["sources"][0]["layer_range"] for one in filled["slices"]]
    assert ranges == [[0, 2], [2, 4], [4, 6], [6, 7], [7, 8], [8, 9], [9, 9]]
    jobs = {job.name: job for job in jobs_of(filled, 9)}
    ups = [jobs[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in range(9)]
    lambdas = [values["slice1.lambda.mlp#0"]] * 3 + [values["slice1.lambda.mlp#1"]] * 2
    assert [job.parameters["lambda"] for job in ups] == pytest.approx(
        [*gradient([0.5, 1.0], 4), *lambdas], abs=1e-12
    )
    queries = [jobs[f"model.layers.{layer}.self_attn.q_proj.weight"] for layer in range(9)]
    assert [job.parameters["lambda"] for job in queries] == pytest.approx(
        [*gradient([0.5, 1.0], 4), *gradient([0.5, 1.0], 5)], abs=1e-12
    )
    after = jobs["model.norm.weight"]
    assert after.parameters["lambda"] == 0.5
    assert after.sources[0].parameters["weight"] == values["slice1.math.weight#0"]
    assert after.sources[1].parameters["weight"] == 0.1
    assert ups[3].sources[1].parameters["weight"] == values["slice0.code.weight@3"]
    assert ups[0].sources[0].parameters["density"] == values["density"]


def assert_same_plan(got: tuple[TensorJob, ...], expected: tuple[TensorJob, ...]) -> None:
    assert [job.name for job in got] == [job.name for job in expected]
    for one, other in zip(got, expected, strict=True):
        assert one.parameters == pytest.approx(dict(other.parameters), abs=1e-12)
        assert [s.model for s in one.sources] == [s.model for s in other.sources]
        for ours, theirs in zip(one.sources, other.sources, strict=True):
            assert ours.name == theirs.name
            assert ours.parameters == pytest.approx(dict(theirs.parameters), abs=1e-12), one.name
        assert (one.base is None) == (other.base is None)


def test_runs_are_even_and_the_earlier_ones_larger() -> None:
    assert runs(10, 4) == [(0, 3), (3, 6), (6, 8), (8, 10)]
    assert runs(3, 3) == [(0, 1), (1, 2), (2, 3)]


def test_a_range_counts_for_the_methods_that_read_it(make_space: MakeSpace) -> None:
    space = make_space(METHODS)
    assert space.conditional
    names = {method: [one.name for one in space.active(method)] for method in space.methods}
    ours = ["merge_method", "math.weight", "math.density", "code.weight", "normalize", "lambda"]
    assert names["della"] == names["ties"] == ours
    assert names["task_arithmetic"] == [name for name in ours if name != "math.density"]
    assert names["linear"] == [
        "merge_method", "base.weight", "math.weight", "code.weight", "normalize",
    ]  # fmt: skip
    values = {"merge_method": "linear", "base.weight": 0.1, "math.weight": 0.5, "code.weight": 1.0}
    filled = space.fill({**values, "normalize": False})
    assert filled["parameters"] == {"normalize": False}
    assert [one["parameters"] for one in filled["models"]] == [
        {"weight": 0.1}, {"weight": 0.5}, {"weight": 1.0},
    ]  # fmt: skip
    with pytest.raises(SpaceError, match="linear does not read lambda"):
        space.fill({**values, "normalize": True, "lambda": 1.0})
    with pytest.raises(SpaceError, match="linear needs a value for normalize"):
        space.fill(values)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.05, "math.density: expected a number from 0.1 to 0.9, got 0.05"),
        (0.15, "math.density: expected a number from 0.1 to 0.9 in steps of 0.2, got 0.15"),
        (True, "math.density: expected a number from 0.1 to 0.9, got True"),
        (math.nan, "math.density: expected a number from 0.1 to 0.9, got nan"),
        ("0.3", "math.density: expected a number from 0.1 to 0.9, got '0.3'"),
    ],
)
def test_nothing_is_clamped(make_space: MakeSpace, value: Any, message: str) -> None:
    space = make_space(SHORT.replace("@", "{range: [0.1, 0.9], step: 0.2}"))
    assert space.contains({"math.density": 0.3}) and not space.contains({"math.density": value})
    with pytest.raises(SpaceError, match=message.replace("[", r"\[")):
        space.fill({"math.density": value})


FAULTS = """
{range: ^[0.9, 0.1]}                        | density.range: expected low below high, got [0.9,
{range: ^[0.1]}                             | density.range: expected [low, high], got [0.1]
{range: ^[-1.0e+308, 1.0e+308]}             | expected a range that floats can span
{range: [0.1, ^.inf]}                       | density.range[1]: expected a finite number, got inf
{range: [^true, 0.9]}                       | density.range[0]: expected a finite number, got True
{range: [0.1, ^1.5]}                        | range[1]: ties: expected a number in (0, 1], got 1.5
{range: [^0.0, 1]}                          | range[0]: ties: expected a number in (0, 1], got 0
{range: [0.1, 1], ^lgo: true}               | unknown key 'lgo' in a range, did you mean 'log'?
{^rnge: [0.1, 1]}                           | unknown key 'rnge' in a range, did you mean 'range'?
{range: [0.1, 1], log: ^1}                  | density.log: expected true or false, got 1
{range: [0.1, 1], log: true, step: ^0.1}    | has log or step, not both
{range: [0.1, 1], step: ^0.2}               | do not end at 1; the last one is 0.9
{range: [0.1, 1], step: ^0}                 | expected a step above 0, at most 0.9, got 0
{range: [0.1, 1], step: ^1.0e-9}            | at most 1000000 steps
{range: [0.1, 1], start: ^0}                | expected a number from 0.1 to 1, got 0
{range: [0.1, 1], anchors: 3, start: ^[1]}  | expected one value or 3, got 1
{range: [0.1, 1], anchors: ^0}              | from 1 to 6 (the layers), got 0
{range: [0.1, 1], anchors: ^7}              | from 1 to 6 (the layers), got 7
{range: [0.1, 1], anchors: ^many}           | expected a number, auto or layers, got 'many'
{range: [0.1, 1], blocks: ^true}            | blocks: expected a number, got True
{range: [0.1, 1], blocks: ^layers}          | blocks: expected a number, got 'layers'
{range: [0.1, 1], anchors: 2, blocks: ^2}   | has anchors or blocks, not both
{choice: ^[]}                               | expected a list of at least one value, got []
{choice: [0.5, ^0.5]}                       | 0.5 stands twice in the choice
{choice: [0.5, ^1.5]}                       | choice[1]: ties: expected a number in (0, 1], got 1.5
{choice: [0.5, ^high]}                      | expected a number in (0, 1], got 'high'
{choice: [0.5, 1], start: ^0.7}             | expected one of [0.5, 1], got 0.7
^{choice: [0.5, 1], log: true}              | 'log' does not go with a choice
[{filter: mlp, value: {range: ^[1, 0.5]}}]  | density[0].value.range: expected low below high
[0.5, ^{choice: [1]}]                       | density[1]: a gradient takes numbers; use a range
[0.5, {range: [0.1, 1], anchors: ^2}]       | write one range for all of the gradient
"""


@pytest.mark.parametrize("line", FAULTS.strip().splitlines())
def test_every_fault_of_a_range_has_its_place(recipe: Callable[..., Document], line: str) -> None:
    density, message = (part.strip() for part in line.split("|"))
    before = "      parameters: {weight: 1.0, density: "
    text = SHORT.lstrip("\n").replace("@", density.replace("^", ""))
    with pytest.raises(RecipeError) as caught:
        space_from(recipe(text), layers=6)
    column = len(before) + density.index("^") + 1
    assert str(caught.value).startswith(f"study.yaml:6:{column} recipe.models[0].parameters.")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("@", "0.5", "study.yaml:2:3 recipe: nothing to search: write {range: [low, high]}"),
        (
            "weight: 0.5",
            "wieght: {range: [0, 1]}",
            "8:20 recipe.models[1].parameters.wieght: ties",
        ),
        ("weight: 0.5", "lambda: {range: [0, 1]}", "read from the top-level `parameters` only"),
        ("weight: 0.5", "epsilon: {range: [0, 1]}", "ties has no parameter 'epsilon'"),
        ("model: math", "model: base", "ties does not read the density of the base model"),
        ("ties", "tise", "2:17 recipe.merge_method: unknown merge_method 'tise'; did you mean"),
        ("ties", "{choice: [ties, tise]}", "merge_method.choice[1]: unknown merge_method 'tise'"),
        ("ties", "{range: [0, 1]}", "expected {choice: [...]} of merge methods, got a range"),
        ("merge_method: ties", "dtype: float32", "the recipe has no merge_method"),
        ("base_model: base", "base_model: {choice: [a, b]}", "may stand in parameters and merge_"),
        ("base_model: base", "dtpe: bfloat16", "recipe.dtpe: a recipe has no key 'dtpe', did you"),
        ("weight: 1.0", "weight: heavy", "6:28 recipe.models[0].parameters.weight: expected a fi"),
        (
            "base_model: base",
            "parameters: {normalize: {range: [0, 1]}}",
            "{choice: [true, false]}",
        ),
        ("base_model: base", "parameters: {int8_mask: {choice: [true]}}", "changes no value"),
    ],
)
def test_faults_of_the_recipe_around_have_theirs(
    recipe: Callable[..., Document], before: str, after: str, message: str
) -> None:
    text = SHORT.lstrip("\n")
    text = text.replace(before, after).replace("@", "{range: [0.1, 1]}")
    with pytest.raises(RecipeError) as caught:
        space_from(recipe(text), layers=6)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["  - 1\n", "  models: 3\n  merge_method: ties\n", "  null\n"])
def test_what_is_no_recipe_is_refused(recipe: Callable[..., Document], text: str) -> None:
    with pytest.raises(RecipeError, match=r"study.yaml:2:"):
        space_from(recipe(text), layers=6)


def test_values_along_depth_need_slices_of_one_length(recipe: Callable[..., Document]) -> None:
    text = SLICED.replace("density: {range: [0.1, 1.0]}", "density: {range: [0.1, 1], blocks: 2}")
    with pytest.raises(RecipeError, match="the slices differ in length; put this range into each"):
        space_from(recipe(text), layers=9)


def test_models_of_one_name_get_more_of_their_path(make_space: MakeSpace) -> None:
    text = """
  merge_method: linear
  models:
    - {model: ours/math, parameters: {weight: {range: [0, 1]}}}
    - {model: theirs/math@v2, parameters: {weight: {range: [0, 1]}}}
    - {model: base+lora/code, parameters: {weight: [{filter: a, value: {range: [0, 1]}},
                                                    {filter: a, value: {range: [0, 2]}}]}}
"""
    names = [one.name for one in make_space(text).dimensions]
    assert names == ["ours/math.weight", "theirs/math.weight", "code.weight.a", "code.weight.a~2"]


def test_the_start_is_the_users_or_the_middle_on_its_scale(make_space: MakeSpace) -> None:
    text = METHODS.replace("choice: [true, false]", "choice: [true, false], start: false")
    space = make_space(
        text.replace("{choice: [della, ties,", "{start: ties, choice: [della, ties,")
    )
    assert space.started and list(space.starts)[0] == "ties"
    assert space.start == {
        "merge_method": "ties", "math.weight": 0.55, "math.density": 0.5, "code.weight": 0.55,
        "normalize": False, "lambda": 1.0,
    }  # fmt: skip
    assert not make_space(METHODS).started
    grid = make_space(SHORT.replace("@", "{range: [0.1, 0.6], step: 0.1}"))
    assert grid.start["math.density"] in (0.3, 0.4)
    given = make_space(SHORT.replace("@", "{range: [0.1, 1], blocks: 2, start: [0.2, 1]}"))
    assert given.start == {"math.density#0": 0.2, "math.density#1": 1}


def test_a_description_names_every_change(make_space: MakeSpace) -> None:
    before = make_space(SHORT.replace("@", "{range: [0.1, 0.9], start: 0.3}"))
    now = make_space(SHORT.replace("@", "{range: [0.1, 0.8]}").replace("0.5", "0.6", 1))
    assert changes(describe(before), describe(now)) == [
        '- models[0].parameters.density: {"range": [0.1, 0.9]}',
        "- models[1].parameters.weight: 0.5",
        '+ models[0].parameters.density: {"range": [0.1, 0.8]}',
        "+ models[1].parameters.weight: 0.6",
    ]
    again = make_space(SHORT.replace("@", "{start: 0.4, range: [0.1, 0.9]}"))
    assert before.identity == again.identity  # where a search starts is no part of its space
    assert json.loads(json.dumps(before.identity)) == before.identity


@pytest.mark.parametrize("name", RECIPES)
def test_a_space_goes_to_another_process_and_comes_back_equal(
    make_space: MakeSpace, name: str
) -> None:
    text, layers = RECIPES[name]
    space = make_space(text, layers=layers)
    assert pickle.loads(pickle.dumps(space)) == space


def test_optuna_knows_the_dimensions_as_recipe_values(make_space: MakeSpace) -> None:
    found = make_space(METHODS).distributions()
    assert found["normalize"].choices == (True, False)  # type: ignore[attr-defined]
    assert found["lambda"].log and found["lambda"].high == 2.0  # type: ignore[attr-defined]
    grid = make_space(SHORT.replace("@", "{range: [0.1, 0.7], step: 0.2}")).distributions()
    assert grid["math.density"].step == 0.2  # type: ignore[attr-defined]


@given(count=st.integers(1, 8), more=st.integers(0, 40))
def test_anchors_of_a_coarse_gradient_are_a_fine_one(count: int, more: int) -> None:
    coarse = [math.sin(3.0 * index) for index in range(count)]
    fine = gradient(coarse, 2 * count - 1) if count > 1 else coarse
    layers = 2 * count + more
    assert gradient(fine, layers) == pytest.approx(gradient(coarse, layers), abs=1e-12)


LINEAR = """\
  merge_method: linear
  models:
    - {{model: a, parameters: {{weight: {}}}}}
    - {{model: b, parameters: {{weight: 0.5}}}}
"""
BASED = """\
  merge_method: linear
  slices:
    - base_model: base
      sources:
        - {model: base, layer_range: [0, 3], parameters: {weight: {range: [0.0, 1.0]}}}
        - {model: alpha, layer_range: [0, 3], parameters: {weight: 0.5}}
"""


def test_the_binary_noise_of_a_step_is_taken_away(recipe: Callable[..., Document]) -> None:
    text = LINEAR.format("{range: [1.261, 1.337], step: 0.07600000000000007}")
    (one,) = space_from(recipe(text), layers=3).dimensions
    found = one.distribution()
    assert (found.low, found.high, found.step) == (1.261, 1.337, 0.076)
    with pytest.raises(RecipeError, match="does not divide the range exactly"):
        third = LINEAR.format("{range: [0.0, 1.0], step: 0.3333333333333333}")
        space_from(recipe(third), layers=3)


def test_the_base_of_a_slice_has_a_label(recipe: Callable[..., Document]) -> None:
    (one,) = space_from(recipe(BASED), layers=3).dimensions
    assert one.name == "slice0.base.weight"
