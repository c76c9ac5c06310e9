"""`eutectic: {exact: true}` and `exact=True`: mergekit's side of every difference that has one."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from merging.checkpoint import TensorInfo
from merging.differences import DIFFERENCES
from merging.document import parse_document
from merging.errors import MergeError, RecipeError, SourceError
from merging.merge import merge_tensor
from merging.plan import TensorJob, TensorSource, plan_recipe, recipe_hash
from merging.recipe import ModelReference, Recipe, models_of
from merging.recipe_reader import read_recipe
from merging.recipe_writer import recipe_yaml

TIES = """\
merge_method: ties
base_model: base
models:
  - {{model: a, parameters: {{weight: {weight}, density: {density}}}}}
  - {{model: b, parameters: {{weight: 0.5}}}}
"""
LINEAR = """\
merge_method: linear
models:
  - {model: a, parameters: {weight: 1}}
  - {model: b, parameters: {weight: -1}}
"""


class Stored:
    """A checkpoint of two layers, norm and head in one dtype."""

    def __init__(self, dtype: str = "bfloat16") -> None:
        self.config = {"num_hidden_layers": 2}
        names = [f"model.layers.{index}.mlp.up_proj.weight" for index in range(2)]
        names += ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
        self.tensors = {name: TensorInfo((4, 4), dtype) for name in names}
        self.folder, self.content_hash = Path("nowhere"), dtype


def read(text: str, *, exact: bool = True, strict: bool = False) -> tuple[Recipe, list[str]]:
    document = parse_document(text, "r.yml", exact=exact)
    recipe, notices = read_recipe(document, strict=strict, exact=exact)
    return recipe, [str(one) for one in notices]


def plan(recipe: Recipe, **dtypes: str) -> tuple[TensorJob, ...]:
    models = {one: Stored(dtypes.get(str(one), "bfloat16")) for one in models_of(recipe)}
    return plan_recipe(recipe, models)  # type: ignore[arg-type]


def refused(text: str, *, exact: bool) -> str:
    with pytest.raises(MergeError) as caught:
        plan(read(text, exact=exact)[0])
    return str(caught.value)


def test_the_table_names_modules_and_no_difference_twice() -> None:
    assert len({one.id for one in DIFFERENCES}) == len(DIFFERENCES)
    for one in DIFFERENCES:
        importlib.import_module(one.where)
        assert one.exact.startswith(("yes", "no: ")), one.id
        assert "|" not in one.what + one.mergekit + one.eutectic + one.exact


def test_a_recipe_says_that_it_is_exact_and_is_printed_so() -> None:
    text = TIES.format(weight=1, density=0.5) + "eutectic: {exact: true, mask_seed: 3}\n"
    recipe, notices = read(text, exact=False)
    assert recipe.exact and not notices
    again, _ = read(recipe_yaml(recipe), exact=False)
    assert again == recipe
    assert "exact" not in recipe_yaml(replace(recipe, exact=False))
    with pytest.raises(RecipeError, match=r"eutectic\.exact: expected true or false, got 'yep'"):
        read(text.replace("true", "yep"), exact=False)
    with pytest.raises(RecipeError, match="did you mean 'exact'"):
        read(text.replace("exact", "exakt"), exact=False)


def test_exact_jobs_have_a_dtype_for_their_steps_and_a_hash_of_their_own() -> None:
    recipe, _ = read(TIES.format(weight=1, density=0.5))
    jobs, plain = plan(recipe), plan(replace(recipe, exact=False))
    assert {job.stepwise for job in jobs} == {"bfloat16"}
    assert [replace(job, stepwise=None) for job in jobs] == list(plain)
    hashes = {model: str(model) for model in models_of(recipe)}
    assert recipe_hash(jobs, hashes, 0) != recipe_hash(plain, hashes, 0)


@pytest.mark.parametrize(
    ("method", "dtype", "out_dtype", "stored", "expected"),
    [
        ("ties", None, None, "bfloat16", ("bfloat16", "bfloat16")),
        ("ties", None, None, "float16", ("float32", "float32")),  # the base is bfloat16
        ("ties", "float16", None, "float32", ("float16", "float16")),
        ("ties", "float32", "bfloat16", "bfloat16", ("bfloat16", "float32")),
        ("ramplus_tl", "bfloat16", None, "bfloat16", ("float32", "bfloat16")),
        ("ramplus_tl", "bfloat16", "float16", "bfloat16", ("float16", "bfloat16")),
    ],
)
def test_dtypes_of_steps_and_output(method, dtype, out_dtype, stored, expected) -> None:
    recipe, _ = read(TIES.format(weight=1, density=0.5))
    recipe = replace(recipe, merge_method=method, dtype=dtype, out_dtype=out_dtype)
    jobs = plan(recipe, a=stored, b=stored)
    assert {(job.dtype, job.stepwise) for job in jobs} == {expected}


@pytest.mark.parametrize("density", ["0", "1.5", "-0.5"])
def test_densities_beyond_their_range(density: str) -> None:
    text = TIES.format(weight=1, density=density)
    assert "expected a number in (0, 1]" in refused(text, exact=False)
    recipe, notices = read(text)
    assert not notices
    assert plan(recipe)[0].sources[0].parameters["density"] == float(density)


def test_what_fails_in_mergekit_fails_before_any_work() -> None:
    dare = TIES.format(weight=1, density=-0.5).replace("ties", "dare_ties")
    assert "expected a density from 0, as mergekit does, got -0.5" in refused(dare, exact=True)
    della = TIES.format(weight=1, density=0.9).replace("ties", "della")
    assert "density + epsilon < 1" in refused(della, exact=True)
    plan(read(TIES.format(weight=1, density=0).replace("ties", "della"))[0])


def test_weights_that_cancel_are_told_and_taken() -> None:
    assert "add up to zero" in refused(LINEAR, exact=False)
    recipe, notices = read(LINEAR)
    assert len(notices) == 1 and "which gives NaN" in notices[0]
    job = plan(recipe)[0]
    made = merge_tensor(job, lambda model, _: torch.ones(4, 4, dtype=torch.bfloat16), 0)
    assert made.isnan().all()


def test_unknown_keys_are_told_even_in_a_study() -> None:
    text = LINEAR.replace("-1", "1") + "normalise: true\n"
    with pytest.raises(RecipeError, match="normalise"):
        read(text, exact=False, strict=True)
    _, notices = read(text, strict=True)
    assert len(notices) == 1 and notices[0].startswith("r.yml:5:1 normalise: a recipe has no key")
    assert notices[0].endswith("it does nothing")


def test_the_last_of_equal_keys_counts() -> None:
    text = LINEAR.replace("-1", "1") + "dtype: float32\ndtype: float16\n"
    assert "given twice" in refused(text, exact=False)
    recipe, notices = read(text)
    assert recipe.dtype == "float16"
    assert notices == [
        "r.yml:6:1 the key `dtype` is given twice, in line 5 and in line 6; the last one counts"
    ]


@pytest.mark.parametrize(
    ("written", "value", "told"),
    [("010", 8.0, True), ("1:30", 90.0, True), ("0x1F", 31.0, True), ("'0.25'", 0.25, False),
     ("yes", 1.0, False), ("[yes, '0.5']", (1.0, 0.5), False), ("1e-3", 0.001, False)],
)  # fmt: skip
def test_numbers_as_mergekit_reads_them(written: str, value: object, told: bool) -> None:
    text = TIES.format(weight=written, density=1)
    if written != "1e-3":
        assert refused(text, exact=False)
    recipe, notices = read(text)
    assert recipe.models[0].parameters["weight"] == value
    assert len(notices) == told


def test_quoted_truth_values_and_words_that_are_none() -> None:
    text = TIES.format(weight=1, density=1) + "parameters: {normalize: 'off'}\n"
    assert read(text)[0].parameters["normalize"] is False
    assert "expected true or false" in refused(text.replace("off", "2"), exact=True)
    assert "expected a finite number" in refused(TIES.format(weight="x", density=1), exact=True)
    assert refused(TIES.format(weight=".nan", density=1), exact=True)


def test_empty_gradients_and_empty_parameters() -> None:
    text = TIES.format(weight="[]", density=1) + "parameters: {weight: 0.25}\n"
    assert "an empty list" in refused(text, exact=False)
    jobs = plan(read(text)[0])
    assert jobs[0].sources[0].parameters["weight"] == 0.25
    empty = text.replace("[]", "")
    read(empty, exact=False)
    assert "got nothing" in refused(empty, exact=True)


def test_a_base_that_linear_gets_no_weight_for() -> None:
    text = LINEAR.replace("-1", "1") + "base_model: base\n"
    plan(read(text, exact=False)[0])
    assert "wants a weight for it" in refused(text, exact=True)


SLICES = """\
merge_method: linear
slices:
  - sources:
      - {model: a, layer_range: [0, 1]}
  - sources:
      - {model: a, layer_range: [1, 2]}
      - {model: b, layer_range: [1, 2]}
parameters: {weight: 1}
"""


BASE_LAST = """\
merge_method: ties
base_model: base
slices:
  - sources: [{{model: base, layer_range: [0, 1]}}, {{model: b, layer_range: [0, 1]}}]
  - sources:
      - {{model: {first}, layer_range: [1, 2]}}
      - {{model: {last}, layer_range: [1, 2]}}
      - {{model: base, layer_range: [1, 2]}}
parameters: {{weight: 1}}
"""


def test_tensors_after_the_layers_lose_sources() -> None:
    def sources(exact: bool) -> dict[str, int]:
        return {job.name: len(job.sources) for job in plan(read(SLICES, exact=exact)[0])}

    everyone, fewer = sources(False), sources(True)
    assert everyone["lm_head.weight"] == everyone["model.norm.weight"] == 2
    assert fewer["lm_head.weight"] == fewer["model.norm.weight"] == 1
    assert fewer["model.layers.1.mlp.up_proj.weight"] == 2
    text = BASE_LAST.format(first="b", last="c")
    plan(read(text, exact=False)[0])
    with pytest.raises(SourceError, match="list the base model first"):
        plan(read(text)[0])


def test_integers_that_differ_are_refused() -> None:
    sources = tuple(TensorSource(ModelReference(name), "n", {"weight": 1.0}) for name in "ab")
    job = TensorJob("n", "linear", None, sources, {}, None, "bfloat16", "bfloat16")
    tensors = {"a": torch.tensor([1, 2]), "b": torch.tensor([1, 2])}
    made = merge_tensor(job, lambda model, _: tensors[model.path], 0)
    assert torch.equal(made, tensors["a"]) and made is not tensors["a"]
    tensors["b"] = torch.tensor([1, 3])
    with pytest.raises(MergeError, match="n: the models hold other integers here"):
        merge_tensor(job, lambda model, _: tensors[model.path], 0)


def test_a_place_for_the_result_is_filled_with_values_of_the_jobs_dtype() -> None:
    sources = (TensorSource(ModelReference("a"), "n", {"weight": 0.3}),)
    base = TensorSource(ModelReference("base"), "n", {})
    job = TensorJob("n", "task_arithmetic", base, sources, {}, None, "bfloat16", "float32")
    tensors = {"a": torch.full((3,), 3.0), "base": torch.zeros(3)}
    out = torch.zeros(3)
    made = merge_tensor(job, lambda model, _: tensors[model.path], 0, out=out)
    assert made is out and out.tolist() == [230 / 256] * 3
    none = replace(job, sources=())
    assert not merge_tensor(none, lambda model, _: tensors[model.path], 0).any()
