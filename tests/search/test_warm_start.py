"""What a search starts from: references beside the space, warm starts exactly inside it."""

from collections.abc import Callable

import pytest

from merging.document import Document
from merging.errors import MergeError
from merging.methods.formula import Formula, Numbers, TaskVectors, WeightedMean
from merging.methods.table import METHODS
from merging.plan import TensorJob
from merging.recipe import models_of
from merging.recipe_reader import read_recipe
from search.coordinates import Coordinates
from search.space import Space
from search.warm_start import references, warm_starts

MakeSpace = Callable[..., Space]
Jobs = Callable[..., tuple[TensorJob, ...]]

WIDE = """
  merge_method: {choice: [task_arithmetic, ties, dare_linear]}
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1], start: 0.3}, density: {range: [0.1, 1]}}}
    - {model: code, parameters: {weight: {range: [0, 1]}, density: {range: [0.1, 1]}}}
    - {model: prose, parameters: {weight: {range: [0, 1]}, density: {range: [0.1, 1]}}}
  parameters: {normalize: {choice: [true, false]}, lambda: {range: [0.1, 2]}}
  dtype: bfloat16
"""
NARROW = """
  merge_method: dare_ties
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1]}, density: {range: [0.1, 0.9]}}}
    - {model: code, parameters: {weight: {range: [0, 0.8]}, density: 0.6}}
"""


def formulas(job: TensorJob) -> Formula:
    numbers = Numbers(tuple(one.parameters for one in job.sources), job.parameters)
    return METHODS[job.method].merge(numbers)


def test_a_wide_space_holds_every_form(make_space: MakeSpace, jobs_of: Jobs) -> None:
    space = make_space(WIDE)
    found = {one.name: one for one in warm_starts(space)}
    assert list(found) == [
        "own recipe", "uniform", "math", "code", "prose", "task arithmetic 0.3",
        "task arithmetic 0.5", "ties 0.2", "ties 0.5", "dare 0.5",
    ]  # fmt: skip
    own, even = found["own recipe"], {}
    assert own.values["math.weight"] == 0.3
    for name, one in found.items():
        assert space.fill(one.values) == one.data
        assert Coordinates(space).encode(one.values) is not None
        even[name] = formulas(jobs_of(one.data, 6)[0])
    for name, weights in (
        ("uniform", [1 / 3] * 3),
        ("math", [1, 0, 0]),
        ("code", [0, 1, 0]),
        ("task arithmetic 0.3", [0.3] * 3),
        ("task arithmetic 0.5", [0.5] * 3),
        ("dare 0.5", [1 / 3] * 3),
    ):
        assert effective(even[name]) == pytest.approx(weights)
    assert {one.density for one in sparsities(even["uniform"])} == {1.0}
    assert {one.density for one in sparsities(even["ties 0.2"])} == {0.2}
    assert [one.rule for one in sparsities(even["dare 0.5"])] == ["random"] * 3
    ties = even["ties 0.5"]
    assert isinstance(ties, TaskVectors) and ties.elect and ties.normalize and ties.scale == 1.0


def effective(formula: Formula) -> list[float]:
    """What each delta is multiplied by, without sign election."""
    assert isinstance(formula, TaskVectors) and not formula.elect
    total = sum(formula.weights) if formula.normalize else 1.0
    return [formula.scale * weight / total for weight in formula.weights]


def sparsities(formula: Formula) -> tuple:  # type: ignore[type-arg]
    assert isinstance(formula, TaskVectors)
    return formula.sparsities


def test_where_exact_forms_lie_outside_the_users_own_numbers_stand(make_space: MakeSpace) -> None:
    space = make_space(NARROW)
    found = {one.name: one.values for one in warm_starts(space)}
    assert found == {
        "equal weights": {"math.weight": 0.5, "math.density": 0.5, "code.weight": 0.5},
        "math alone": {"math.weight": 1.0, "math.density": 0.5, "code.weight": 0.0},
        "code alone": {"math.weight": 0.0, "math.density": 0.5, "code.weight": 0.5},
    }


RANGES = {
    "weight": "{range: [0, 1]}", "density": "{range: [0.2, 1]}", "gamma": "{range: [0, 0.1]}",
    "lambda": "{range: [0.1, 2]}", "t": "{range: [0, 1]}", "scale": "{range: [0.5, 1.5]}",
    "select_topk": "{range: [0.1, 1]}", "r": "{range: [0, 1]}", "tol": "{range: [1e-6, 1e-3]}",
    "max_iter": "{range: [2, 12], step: 2}", "filter_wise": "{choice: [true, false]}",
    "normalize": "true", "epsilon": "{range: [0, 1e-4]}",
}  # fmt: skip


def space_of(method: str) -> str:
    """A recipe with a range for every parameter of a method that is worth one."""
    own, shared = (
        ", ".join(f"{one.name}: {RANGES[one.name]}" for one in METHODS[method].parameters
                  if one.scope == scope and one.name in RANGES
                  and (one.name != "epsilon" or scope == "global"))
        for scope in ("model", "global")
    )  # fmt: skip
    names = ("math", "code", "prose")[: METHODS[method].experts[1]]
    models = "".join(f"    - {{model: {name}, parameters: {{{own}}}}}\n" for name in names)
    return (
        f"  merge_method: {method}\n  base_model: base\n  models:\n{models}"
        f"  parameters: {{{shared}}}\n  dtype: bfloat16\n"
    )


@pytest.mark.parametrize("method", [name for name in METHODS if name != "arcee_fusion"])
def test_warm_starts_of_every_method_lie_inside(
    make_space: MakeSpace, jobs_of: Jobs, method: str
) -> None:
    space = make_space(space_of(method))
    found = warm_starts(space)
    parameters = {one.name for one in METHODS[method].parameters}
    least = 4 if "weight" in parameters and METHODS[method].experts[1] is None else 1
    assert len({one.name for one in found}) == len(found) >= least
    for one in found:
        assert space.contains(one.values)
        jobs_of(one.data, 6)
    places = [Coordinates(space).rounded(one.values) for one in found]
    assert all(place not in places[:index] for index, place in enumerate(places))


def test_slerp_starts_from_its_ends_and_its_middle(make_space: MakeSpace) -> None:
    found = {one.name: one.values for one in warm_starts(make_space(space_of("slerp")))}
    assert found == {"halfway": {"t": 0.5}, "math": {"t": 1.0}}


def test_a_method_without_numbers_has_nothing_to_search(make_space: MakeSpace) -> None:
    with pytest.raises(MergeError, match="nothing to search"):
        make_space(space_of("arcee_fusion"))


def test_whole_numbers_are_searched_in_whole_steps(make_space: MakeSpace) -> None:
    text = space_of("karcher").replace(", step: 2", "")
    with pytest.raises(MergeError, match="max_iter is a whole number; give whole ends, step: 1"):
        make_space(text)


def test_references_are_whole_models(make_space: MakeSpace, jobs_of: Jobs) -> None:
    found = references(make_space(WIDE))
    assert [(one.name, one.role) for one in found] == [
        ("base", "base"), ("math", "parent"), ("code", "parent"), ("prose", "parent"),
        ("uniform", "uniform"),
    ]  # fmt: skip
    for one in found:
        recipe, notices = read_recipe(Document("reference", one.data, {}, {}), strict=True)
        assert recipe.dtype == "bfloat16" and not notices
    parent, uniform = (formulas(jobs_of(found[index].data, 6)[0]) for index in (1, 4))
    assert parent == WeightedMean((1.0,), 1.0)
    assert uniform == WeightedMean((1.0, 1.0, 1.0), 3.0)


def test_references_speak_as_the_recipe_does(make_space: MakeSpace, jobs_of: Jobs) -> None:
    found = references(make_space(WIDE + "  tokenizer: {source: math, tokens: {range: {}}}\n"))
    weights = {}
    for one in found:
        recipe, notices = read_recipe(Document("reference", one.data, {}, {}), strict=True)
        assert recipe.tokenizer is not None and not notices
        assert [str(model) for model in models_of(recipe)] == ["base", "math", "code", "prose"]
        weights[one.name] = [source.parameters["weight"] for source in recipe.models]
    assert weights == {
        "base": [1, 0, 0, 0], "math": [0, 1, 0, 0], "code": [0, 0, 1, 0], "prose": [0, 0, 0, 1],
        "uniform": [0, 1, 1, 1],
    }  # fmt: skip
    assert formulas(jobs_of(found[1].data, 6)[0]) == WeightedMean((0.0, 1.0, 0.0, 0.0), 1.0)


def test_without_a_base_the_first_model_stands_in(make_space: MakeSpace) -> None:
    text = """
  merge_method: linear
  models:
    - {model: a/base, parameters: {weight: {range: [0, 1]}}}
    - {model: b/uniform, parameters: {weight: {range: [0, 1]}}}
"""
    space = make_space(text)
    found = references(space)
    assert [one.name for one in found] == ["base", "a/base", "b/uniform", "uniform"]
    assert found[0].data == found[1].data
    assert [one.name for one in warm_starts(space)] == ["uniform", "a/base", "b/uniform"]


def test_slices_start_from_the_same_forms(make_space: MakeSpace) -> None:
    text = """
  merge_method: ties
  base_model: base
  parameters: {density: {range: [0.2, 1]}, lambda: 1.0, normalize: true}
  slices:
    - sources:
        - {model: base, layer_range: [0, 2]}
        - {model: math, layer_range: [0, 2], parameters: {weight: {range: [0, 1]}}}
        - {model: code, layer_range: [0, 2], parameters: {weight: {range: [0, 1]}}}
    - sources:
        - {model: base, layer_range: [2, 6]}
        - {model: math, layer_range: [2, 6], parameters: {weight: {range: [0, 1], blocks: 2}}}
        - {model: code, layer_range: [2, 6], parameters: {weight: {range: [0, 1], blocks: 2}}}
"""
    space = make_space(text)
    found = {one.name: one.values for one in warm_starts(space)}
    assert list(found) == ["equal weights", "math", "code", "ties 0.2", "ties 0.5"]
    assert found["math"]["slice1.math.weight#1"] == 1.0 and found["math"]["density"] == 1.0
    assert found["math"]["slice0.code.weight"] == 0.0 and found["ties 0.2"]["density"] == 0.2
