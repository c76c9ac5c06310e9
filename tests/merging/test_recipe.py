"""Recipes are read, or refused in one message with its place."""

from pathlib import Path

import pytest
import yaml

from merging.document import Notice, parse_document, read_document
from merging.errors import MergeError, RecipeError
from merging.recipe import Conditional, ModelReference, Recipe, donor_of, models_of
from merging.recipe_reader import read_recipe

DATA = Path(__file__).parent.parent / "data" / "recipes"
DELLA = """\
merge_method: della
base_model: base
models:
  - model: expert
    parameters: {{weight: 1.0, density: {density}, epsilon: {epsilon}}}
"""


def read(text: str, *, strict: bool = True) -> tuple[Recipe, list[str]]:
    recipe, notices = read_recipe(parse_document(text, "r.yml"), strict=strict)
    return recipe, [str(notice) for notice in notices]


def refused(text: str, *, strict: bool = True, kind: type[MergeError] = RecipeError) -> str:
    with pytest.raises(kind) as caught:
        read(text, strict=strict)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def published(name: str, *, strict: bool) -> tuple[Recipe, tuple[Notice, ...]]:
    return read_recipe(read_document(DATA / name), strict=strict)


def test_dare_ties_is_read_and_what_does_nothing_is_told() -> None:
    recipe, notices = published("dare_ties_llama32.yml", strict=False)
    assert recipe.merge_method == "dare_ties"
    assert recipe.base_model == ModelReference("alpindale/Llama-3.2-3B")
    assert [source.parameters["density"] for source in recipe.models] == [0.35, 0.25, 0.25, 0.15]
    assert recipe.parameters == {"normalize": True, "int8_mask": True}
    told = {(notice.place.line, notice.message.split(":")[0]) for notice in notices}
    assert told == {
        (4, "models[0].parameters.weight"),
        (5, "models[0].parameters.density"),
        (22, "parameters.int8_mask"),
        (23, "parameters.interpolation_factor"),
    }


def test_a_made_up_parameter_is_refused_in_a_study() -> None:
    with pytest.raises(RecipeError, match=r":23:3 parameters.interpolation_factor: no merge"):
        published("dare_ties_llama32.yml", strict=True)


@pytest.mark.parametrize("strict", [True, False])
def test_della_with_epsilons_peak_at_densitys_low_is_legal(strict: bool) -> None:
    recipe, notices = published("della_nemo.yml", strict=strict)
    assert recipe.models[0].parameters["epsilon"] == (0.1, 0.1, 0.25, 0.1, 0.1)
    assert recipe.models[0].parameters["lambda"] == 0.85
    texts = [str(notice) for notice in notices]
    assert any(":13:7 models[0].parameters.lambda: 'lambda' counts in the top" in t for t in texts)
    assert len(texts) == 2


def test_linear_of_local_folders_has_nothing_to_tell() -> None:
    recipe, notices = published("linear_openrs.yml", strict=True)
    assert [source.parameters["weight"] for source in recipe.models] == [0.3, 0.7]
    assert notices == ()
    assert donor_of(recipe) == recipe.models[0].model


def test_slices_bases_seed_and_dtypes() -> None:
    recipe, notices = read(
        """\
merge_method: ties
base_model: base
slices:
  - sources:
      - {model: base, layer_range: [0, 4]}
      - {model: a@main, layer_range: [2, 6], parameters: {weight: 1}}
    parameters: {density: 0.5}
  - base_model: other
    sources:
      - {model: other, layer_range: [4, 4]}
      - {model: a@main, layer_range: [6, 6], parameters: {weight: {filter: mlp, value: 1e-3}}}
parameters:
dtype: torch.bfloat16
out_dtype: float16
eutectic: {mask_seed: 7}
name: anything
"""
    )
    assert (recipe.dtype, recipe.out_dtype, recipe.mask_seed) == ("bfloat16", "float16", 7)
    assert recipe.slices[0].sources[1].layer_range == (2, 6)
    assert recipe.slices[0].parameters == {"density": 0.5}
    assert recipe.slices[1].sources[1].parameters["weight"] == (Conditional("mlp", 0.001),)
    assert [str(model) for model in models_of(recipe)] == ["base", "a@main", "other"]
    assert notices == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "r.yml:1:1 expected a recipe"),
        ("recipe: {}", "r.yml:1:1 recipe: a study"),
        ("models: []", "r.yml:1:1 merge_method: expected a merge method (linear,"),
        ("merge_method: tie", "r.yml:1:15 merge_method: unknown merge_method 'tie'; did you mean"),
        (
            "merge_method: linear",
            "expected exactly one of `models`, `slices` and `modules`, got none",
        ),
        (
            "merge_method: linear\nmodels: [{model: a}]\nslices: [{sources: []}]",
            "got models and slices",
        ),
        ("merge_method: linear\nmodels: {a: b}", "r.yml:2:9 models: expected a list"),
        ("merge_method: linear\nmodels: [a]", "models[0]: expected keys and values, got 'a'"),
        ("merge_method: linear\nmodels: [{x: 1}]", "models[0].x: a model has no key 'x'"),
        ("merge_method: linear\nmodels: [{parameters: {}}]", "the key `model` is missing"),
        ("merge_method: linear\nmodels: [{model: 12}]", "got 12; quote it"),
        ("merge_method: linear\nmodels: [{model: a+b+c}]", "more than one '+'"),
        (
            "merge_method: linear\nmodels: [{model: a}]",
            "r.yml:2:10 models[0]: linear needs `weight`",
        ),
        (
            "merge_method: slerp\nbase_model: a\nmodels: [{model: b}]",
            "r.yml:1:15 merge_method: slerp needs `t`",
        ),
        (
            "merge_method: linear\nmodels: [{model: a, weight: 1}]",
            "r.yml:2:21 models[0].weight: 'weight' belongs under `parameters:`",
        ),
        (
            "merge_method: ties\nmodels: [{model: a, parameters: {weight: 1}}]",
            "r.yml:1:15 merge_method: ties needs `base_model`",
        ),
        (
            "merge_method: ties\nbase_model: a\nmodels: [{model: a}]",
            "only the base model is listed",
        ),
        (
            "merge_method: linear\nparameters: {weight: 1}\nmodels:\n- model: a\n- model: a",
            "r.yml:5:10 models[1].model: 'a' is listed twice, in line 4 and in line 5",
        ),
        (
            "merge_method: linear\nmodels: [{model: a}]\nparameters:\nweight: 1",
            "r.yml:4:1 weight: 'weight' belongs under `parameters:` (nothing is indented under",
        ),
        (
            "merge_method: linear\nmodels: [{model: a}]\nbase_modell: b",
            "did you mean 'base_model'",
        ),
        ("merge_method: linear\nmodels: [{model: a}]\ndtype: bf16", "did you mean 'bfloat16'"),
        ("merge_method: linear\nmodels: [{model: a}]\neutectic: {seed: 1}", "'mask_seed'"),
        (
            "merge_method: linear\nmodels: [{model: a}]\neutectic: {mask_seed: -1}",
            "r.yml:3:23 eutectic.mask_seed: expected a whole number from 0, got -1",
        ),
        (
            "merge_method: linear\nparameters: {weight: [1, 2, -1]}\nmodels:\n- model: a\n"
            "- {model: b, parameters: {weight: [-1, 5]}}",
            "linear: the weights 1, -1 add up to zero",
        ),
    ],
)
def test_a_fault_of_form_is_told_with_its_place(text: str, message: str) -> None:
    assert message in refused(text)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ("{model: a, layer_range: [0, 2]}", "slices[0].sources: the base model 'base' is not"),
        ("{model: base}, {model: a, layer_range: [0, 2]}", "layer_range: expected [first, end]"),
        ("{model: base, layer_range: [0, 2.0]}", "two whole numbers, end not in; got [0, 2.0]"),
        ("{model: base, layer_range: [3, 2]}", "expected 0 <= first <= end, got [3, 2]"),
        ("{model: base, layer_range: [0]}", "got [0]"),
        (
            "{model: base, layer_range: [0, 2]}, {model: a, layer_range: [0, 3]}",
            "slices[0].sources[1].layer_range: 3 layers, but the first source (line 3) has 2",
        ),
        (
            "{model: base, layer_range: [1, 1]}, {model: a, layer_range: [0, 0]}",
            "slices: no slice has a layer",
        ),
    ],
)
def test_a_fault_of_a_slice_is_told_with_its_place(sources: str, message: str) -> None:
    head = "merge_method: ties\nbase_model: base\n"
    tail = "parameters: {weight: 1}\n"
    assert message in refused(f"{head}slices: [{{sources: [{sources}]}}]\n{tail}")


@pytest.mark.parametrize(
    ("density", "message"),
    [
        ("1.4", "r.yml:5:40 models[0].parameters.density: expected a number in (0, 1], got 1.4"),
        ("0", "expected a number in (0, 1], got 0"),
        (".nan", "expected a number in (0, 1], got nan"),
        (".inf", "expected a number in (0, 1], got inf"),
        ("true", "expected a number in (0, 1], got True"),
        ("'0.5'", "got '0.5'; remove the quotes"),
        ("half", "expected a number in (0, 1], got 'half'"),
        ("[]", "an empty list; expected a number in (0, 1]"),
        ("[0.5, 2]", "models[0].parameters.density[1]: expected a number in (0, 1], got 2"),
        ("[0.5, [0.5]]", "density[1]: expected a number in (0, 1], got [0.5]"),
        ("{range: [0, 1]}", "a range; only the recipe of a study may have ranges"),
        ("{filter: mlp}", "the filter has no `value`"),
        ("{filter: 3, value: 0.5}", "density.filter: expected a text (quote it), got 3"),
        ("[{filter: mlp, value: 3}]", "density[0].value: expected a number in (0, 1], got 3"),
        ("[{filter: mlp, value: 0.5}, 0.5]", "expected {filter, value} like its neighbours"),
        ("[{filter: mlp, value: 0.5, valu: 1}]", "did you mean 'value'"),
        ("[{fliter: mlp, value: 0.5}]", "did you mean 'filter'"),
    ],
)
def test_a_value_out_of_range_or_form_is_told_with_its_place(density: str, message: str) -> None:
    assert message in refused(DELLA.format(density=density, epsilon=0.1))


@pytest.mark.parametrize(
    ("density", "epsilon", "fits"),
    [
        ("0.5", "0.4", True),
        ("0.5", "0.499", True),
        ("0.2", "0.2", False),
        ("0.9", "0.1", False),
        ("1.0", "0.3", True),
        ("[0.45, 0.55, 0.45]", "[0.1, 0.25, 0.1]", True),
        ("[0.2, 0.8, 0.2]", "0.15", True),
        ("[0.2, 0.9, 0.2]", "0.15", False),
        ("[0.2, 0.8]", "[0.1, 0.4, 0.1]", True),
        ("[0.2, 0.8]", "[0.1, 0.1, 0.1, 0.25]", False),
        ("{filter: mlp, value: 0.2}", "[{filter: mlp, value: 0.3}, {value: 0.1}]", False),
        ("{filter: mlp, value: 0.2}", "[{filter: attn, value: 0.3}, {value: 0.1}]", True),
        (
            "[{filter: mlp, value: 0.2}, {value: 0.5}]",
            "[{filter: mlp, value: 0.1}, {value: 0.3}]",
            True,
        ),
        (
            "[{filter: mlp, value: 0.2}, {value: 0.9}]",
            "[{filter: mlp, value: 0.1}, {value: 0.3}]",
            False,
        ),
    ],
)
def test_density_and_epsilon_go_together_at_every_depth(
    density: str, epsilon: str, fits: bool
) -> None:
    text = DELLA.format(density=density, epsilon=epsilon)
    if fits:
        assert read(text)[1] == []
    else:
        assert "0 < density - epsilon and density + epsilon < 1" in refused(text)


def test_an_inherited_epsilon_is_checked_against_the_default_density_too() -> None:
    text = "merge_method: della\nbase_model: b\nmodels: [{model: a, parameters: {weight: 1}}]\n"
    assert read(text + "parameters: {epsilon: 0.3}")[1] == []
    message = refused(text + "parameters: {epsilon: 0.3, density: 0.8}")
    assert message.startswith("r.yml:4:23 parameters.epsilon: expected 0 < density - epsilon")


def test_a_recipe_that_is_only_merged_warns_where_a_study_refuses() -> None:
    text = (
        "merge_method: linear\nnormalise: true\nmodels:\n- model: a\n  layer_range: [0, 1]\n"
        "  parameters: {weight: 1, wieght: 2, t: 0.5, density: 7}\n"
    )
    assert "did you mean 'normalize'" in refused(text)
    recipe, notices = read(text, strict=False)
    assert recipe.models[0].parameters == {"weight": 1.0, "t": 0.5, "density": 7.0}
    assert [notice.split(": ")[0] for notice in notices] == [
        "r.yml:2:1 normalise",
        "r.yml:5:3 models[0].layer_range",
        "r.yml:6:27 models[0].parameters.wieght",
        "r.yml:6:38 models[0].parameters.t",
        "r.yml:6:46 models[0].parameters.density",
    ]
    assert all("does nothing" in notice for notice in notices)


def test_a_filter_that_is_never_reached_is_told() -> None:
    text = "merge_method: linear\nmodels: [{model: a}]\nparameters:\n  weight:\n"
    text += "    - {filter: '*', value: 1}\n    - {filter: mlp, value: 2}\n"
    assert read(text)[1] == [
        "r.yml:6:7 parameters.weight[1]: never reached: entry [0] matches all"
    ]


@pytest.mark.parametrize(
    ("weights", "told"), [("", "lends config and tokenizer only"), ("weight: 1", "averages it in")]
)
def test_linear_with_an_unlisted_base_says_what_becomes_of_it(weights: str, told: str) -> None:
    own = "" if weights else ", parameters: {weight: 1}"
    text = f"merge_method: linear\nbase_model: b\nmodels: [{{model: a{own}}}]\n"
    assert told in read(text + f"parameters: {{{weights}}}")[1][0]


def test_a_document_filled_by_a_program_keeps_its_places() -> None:
    written = parse_document(DELLA.format(density="{range: [0, 2]}", epsilon=0.1), "s.yml")
    data = yaml.safe_load(DELLA.format(density=1.5, epsilon=0.1))
    with pytest.raises(RecipeError, match=r"^s.yml:5:40 models\[0\].parameters.density: expected"):
        read_recipe(written.with_data(data), strict=True)


def test_numbers_end_where_float32_does() -> None:
    text = "merge_method: linear\nmodels:\n  - {{model: a, parameters: {{weight: {}}}}}\n"
    recipe, _ = read_recipe(parse_document(text.format("3.4e+38"), "f.yml"), strict=True)
    assert recipe.models[0].parameters["weight"] == 3.4e38
    with pytest.raises(RecipeError, match="f.yml:3:37 .*3.5e.38; merges are computed in float32"):
        read_recipe(parse_document(text.format("3.5e+38"), "f.yml"), strict=True)
