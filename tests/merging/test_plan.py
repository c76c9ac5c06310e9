"""Recipes over checkpoints' headers: jobs, resolved numbers, faults before any work, hashes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from merging.checkpoint import Checkpoint, TensorInfo
from merging.document import parse_document
from merging.errors import MergeError, RecipeError, SourceError, UnsupportedError
from merging.plan import TensorJob, plan_notices, plan_recipe, recipe_hash
from merging.recipe import ModelReference, Recipe, models_of
from merging.recipe_reader import read_recipe
from merging.references import parse_reference


@dataclass(frozen=True, slots=True)
class Headers:
    """A checkpoint of which only the headers are there, all that a plan reads."""

    config: Mapping[str, object]
    tensors: Mapping[str, TensorInfo]
    folder: Path = Path("nowhere")
    content_hash: str = "0"

    def tensor(self, name: str) -> object:
        """No plan reads a weight."""
        raise AssertionError(name)


PARTS = {
    "self_attn.q_proj.weight": (8, 8),
    "mlp.up_proj.weight": (16, 8),
    "input_layernorm.weight": (8,),
}


def llama(layers: int = 4, *, width: int = 8, vocabulary: int = 10, tied: bool = False) -> Headers:
    """A small llama's headers; a tied head is not stored."""
    shapes: dict[str, tuple[int, ...]] = {
        f"model.layers.{index}.{part}": tuple(size * width // 8 for size in shape)
        for index in range(layers)
        for part, shape in PARTS.items()
    }
    shapes["model.embed_tokens.weight"] = (vocabulary, width)
    shapes["model.norm.weight"] = (width,)
    if not tied:
        shapes["lm_head.weight"] = (vocabulary, width)
    tensors = {name: TensorInfo(shape, "bfloat16") for name, shape in shapes.items()}
    return Headers({"num_hidden_layers": layers, "tie_word_embeddings": tied}, tensors)


def edited(headers: Headers, **changes: TensorInfo | None) -> Headers:
    """The same headers with tensors changed, added or (None) taken away; `__` stands for a dot."""
    named = {name.replace("__", "."): info for name, info in changes.items()}
    tensors = {name: info for name, info in headers.tensors.items() if name not in named}
    return replace(headers, tensors=tensors | {k: v for k, v in named.items() if v is not None})


def plan(text: str, **models: Headers) -> tuple[TensorJob, ...]:
    """The jobs of a recipe; a model that is not given is a llama of four layers."""
    document = parse_document(text, "r.yml")
    recipe, _ = read_recipe(document, strict=True)
    return plan_recipe(recipe, opened(recipe, models), document=document)


def opened(recipe: Recipe, models: Mapping[str, Headers]) -> dict[ModelReference, Checkpoint]:
    return {model: models.get(str(model), llama()) for model in models_of(recipe)}  # type: ignore[misc]


def refused(kind: type[MergeError], text: str, **models: Headers) -> str:
    with pytest.raises(kind) as caught:
        plan(text, **models)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


def by_name(jobs: tuple[TensorJob, ...]) -> dict[str, TensorJob]:
    named = {job.name: job for job in jobs}
    assert len(named) == len(jobs)
    return named


def weight(job: TensorJob, index: int = 0) -> object:
    return job.sources[index].parameters["weight"]


TIES = """\
merge_method: ties
base_model: base
models:
  - {model: a, parameters: {weight: [0.0, 0.3, 0.9], density: 0.5}}
  - {model: b, parameters: {weight: 1}}
"""
LINEAR = "merge_method: linear\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}\n"


def test_jobs_come_in_the_order_of_the_model() -> None:
    jobs = plan(TIES, **{name: llama(11) for name in ("base", "a", "b")})
    assert jobs[0].name == "model.embed_tokens.weight"
    assert [job.name for job in jobs[-2:]] == ["lm_head.weight", "model.norm.weight"]
    assert [job.layer for job in jobs[1:-2]] == [index for index in range(11) for _ in PARTS]


def test_task_vectors_have_a_base_and_experts_in_order() -> None:
    for listed in ("", "  - {model: base, parameters: {weight: 9}}\n"):
        job = plan(TIES + listed)[5]
        assert job.base is not None and str(job.base.model) == "base"
        assert [str(source.model) for source in job.sources] == ["a", "b"]
        assert job.base.parameters == {}


def test_gradients_run_over_the_layers_and_outside_takes_the_first_value() -> None:
    jobs = plan(TIES, base=llama(5), a=llama(5), b=llama(5))
    for job in jobs:
        expected = {None: 0.0, 0: 0.0, 1: 0.15, 2: 0.3, 3: 0.6, 4: 0.9}[job.layer]
        assert weight(job) == pytest.approx(expected)
        assert weight(job, 1) == 1.0


def test_a_slice_of_one_layer_stands_at_depth_1() -> None:
    jobs = plan(TIES, base=llama(1), a=llama(1), b=llama(1))
    assert {weight(job) for job in jobs if job.layer == 0} == {0.9}
    assert {weight(job) for job in jobs if job.layer is None} == {0.0}


def test_defaults_are_filled_in_and_what_does_nothing_is_left_out() -> None:
    job = plan(TIES + "parameters: {int8_mask: true, lambda: 0.5}\n")[0]
    assert job.parameters == {"lambda": 0.5, "normalize": True, "rescale": False}
    assert job.sources[1].parameters == {"weight": 1.0, "density": 1.0}


def test_precedence_is_source_then_slice_then_recipe_with_filters_falling_through() -> None:
    jobs = by_name(
        plan(
            """\
merge_method: dare_ties
base_model: base
slices:
  - sources:
      - {model: base, layer_range: [0, 4]}
      - model: a
        layer_range: [0, 4]
        parameters: {weight: {filter: q_proj, value: 0.1}}
    parameters: {weight: {filter: mlp, value: 0.2}, density: 0.7, lambda: 2}
parameters: {weight: [0.3, 0.6], density: 0.5, normalize: {filter: norm, value: true}, lambda: 3}
"""
        )
    )
    layer = "model.layers.2."
    assert weight(jobs[layer + "self_attn.q_proj.weight"]) == 0.1
    assert weight(jobs[layer + "mlp.up_proj.weight"]) == 0.2
    assert weight(jobs[layer + "input_layernorm.weight"]) == pytest.approx(0.5)
    assert weight(jobs["lm_head.weight"]) == 0.3
    assert {job.sources[0].parameters["density"] for job in jobs.values()} == {0.7}
    assert {job.parameters["lambda"] for job in jobs.values()} == {2.0}
    assert jobs[layer + "input_layernorm.weight"].parameters["normalize"] is True
    assert jobs[layer + "mlp.up_proj.weight"].parameters["normalize"] is False


SLICES = """\
merge_method: linear
slices:
  - sources:
      - {model: a, layer_range: [0, 2], parameters: {weight: [1, 2]}}
      - {model: b, layer_range: [1, 3], parameters: {weight: 3}}
  - sources: [{model: c, layer_range: [3, 4], parameters: {weight: [4, 5]}}]
  - sources: [{model: b, layer_range: [0, 0], parameters: {weight: [6, 7]}}]
"""


def test_slices_renumber_layers_and_the_ends_choose_embedding_and_head() -> None:
    jobs = by_name(plan(SLICES))
    assert len(jobs) == 3 * len(PARTS) + 3
    read = {
        name: [
            (str(source.model), source.name, source.parameters["weight"]) for source in job.sources
        ]
        for name, job in jobs.items()
    }
    part = "mlp.up_proj.weight"
    assert read["model.embed_tokens.weight"] == [
        ("a", "model.embed_tokens.weight", 1.0),
        ("b", "model.embed_tokens.weight", 3.0),
    ]
    assert read[f"model.layers.1.{part}"] == [
        ("a", f"model.layers.1.{part}", 2.0),
        ("b", f"model.layers.2.{part}", 3.0),
    ]
    assert read[f"model.layers.2.{part}"] == [("c", f"model.layers.3.{part}", 5.0)]
    assert read["lm_head.weight"] == [("b", "lm_head.weight", 6.0)]
    assert read["model.norm.weight"] == [("b", "model.norm.weight", 6.0)]


@pytest.mark.parametrize(
    ("listed", "top", "models"),
    [
        ("", "", ["a", "b"]),
        ("", "parameters: {weight: 2}\n", ["a", "b", "base"]),
        (", {model: base, parameters: {weight: 0}}", "", ["a", "b", "base"]),
    ],
)
def test_linear_averages_a_base_that_has_a_weight(
    listed: str, top: str, models: list[str]
) -> None:
    one, two = (f"{{model: {name}, parameters: {{weight: 1}}}}" for name in "ab")
    text = f"merge_method: linear\nbase_model: base\nmodels: [{one}, {two}{listed}]\n"
    job = plan(text + top)[0]
    assert [str(source.model) for source in job.sources] == models
    assert job.base is None


@pytest.mark.parametrize(
    ("lines", "dtype"),
    [
        ("", "bfloat16"),
        ("dtype: float32\n", "float32"),
        ("dtype: float32\nout_dtype: float16\n", "float16"),
        ("out_dtype: float16\n", "float16"),
    ],
)
def test_the_dtype_is_out_dtype_else_dtype_else_what_the_base_stores(
    lines: str, dtype: str
) -> None:
    assert {job.dtype for job in plan(LINEAR + lines)} == {dtype}


def test_stored_dtypes_are_kept_tensor_by_tensor() -> None:
    mixed = edited(llama(), model__norm__weight=TensorInfo((8,), "float32"))
    jobs = by_name(plan(LINEAR, a=mixed))
    assert jobs["model.norm.weight"].dtype == "float32"
    assert jobs["lm_head.weight"].dtype == "bfloat16"


def test_another_shape_names_models_tensor_and_both_shapes() -> None:
    name = "model__layers__2__mlp__up_proj__weight"
    message = refused(
        SourceError, TIES, b=edited(llama(), **{name: TensorInfo((16, 9), "bfloat16")})
    )
    assert message == (
        "r.yml:5:5 models[1]: 'model.layers.2.mlp.up_proj.weight' has the shape [16, 9] in 'b', "
        "[16, 8] in 'base'; models of one architecture and size can be merged"
    )
    wide = refused(SourceError, TIES, a=llama(width=16))
    assert "has the shape [10, 16] in 'a', [10, 8] in 'base' (and 14 more tensors differ)" in wide


def test_another_depth_names_both_numbers() -> None:
    message = refused(SourceError, TIES, a=llama(6))
    assert message.startswith(
        "r.yml:4:5 models[0]: model 'a' has 6 layers (model.layers), 'base' has 4"
    )


def test_another_vocabulary_names_both_sizes_and_the_line_that_mends_it() -> None:
    message = refused(SourceError, TIES, a=llama(vocabulary=12))
    assert "the vocabularies differ: 12 and 10 tokens" in message
    assert "`tokenizer: {source: union}`" in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model__norm__weight": None},
            "model 'a' lacks the tensor 'model.norm.weight', which 'base'",
        ),
        (
            {f"model__layers__{i}__mlp__up_proj__weight": None for i in range(4)},
            "lacks the tensor 'model.layers.0.mlp.up_proj.weight' and 3 more tensors",
        ),
        (
            {"model__layers__1__mlp__up_proj__bias": TensorInfo((16,), "bfloat16")},
            "model 'a' has the tensor 'model.layers.1.mlp.up_proj.bias', which 'base' lacks",
        ),
    ],
)
def test_another_architecture_names_the_tensor(
    changes: dict[str, TensorInfo | None], message: str
) -> None:
    assert message in refused(SourceError, TIES, a=edited(llama(), **changes))


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float64", "uint8"])
def test_weights_that_cannot_be_merged_are_named(dtype: str) -> None:
    odd = edited(llama(), model__norm__weight=TensorInfo((8,), dtype))
    assert f"stores 'model.norm.weight' as {dtype}" in refused(UnsupportedError, TIES, b=odd)


def test_buffers_are_left_out_and_extra_heads_are_told() -> None:
    buffered = edited(
        llama(),
        model__layers__0__self_attn__rotary_emb__inv_freq=TensorInfo((4,), "float32"),
        score__weight=TensorInfo((1, 8), "bfloat16"),
    )
    names = {job.name for job in plan(TIES)}
    assert {job.name for job in plan(TIES, a=buffered)} == names
    recipe, _ = read_recipe(parse_document(TIES, "r.yml"), strict=True)
    told = plan_notices(recipe, opened(recipe, {"a": buffered}))
    assert told == ("'score.weight' is not in 'base'; it is left out",)
    assert "score.weight" in {
        job.name for job in plan(TIES, base=buffered, a=buffered, b=buffered)
    }


def test_a_head_that_an_expert_ties_is_read_from_its_embedding() -> None:
    job = by_name(plan(TIES, a=llama(tied=True)))["lm_head.weight"]
    assert [source.name for source in job.sources] == [
        "model.embed_tokens.weight",
        "lm_head.weight",
    ]
    message = refused(SourceError, TIES, base=llama(tied=True), a=llama(tied=True))
    assert "model 'b' has the tensor 'lm_head.weight', which 'base' lacks" in message


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[2, 5]", "layer_range: [2, 5] is beyond the 4 layers of 'a'"),
        ("[4, 4]", None),
    ],
)
def test_layer_ranges_stay_within_a_model(layers: str, message: str | None) -> None:
    text = f"""\
merge_method: linear
parameters: {{weight: 1}}
slices:
  - {{sources: [{{model: b, layer_range: [0, 2]}}]}}
  - {{sources: [{{model: a, layer_range: {layers}}}]}}
"""
    if message is None:
        assert len(plan(text)) == 2 * len(PARTS) + 3
    else:
        assert message in refused(SourceError, text)


def test_a_tensor_that_no_filter_gives_a_weight_is_named() -> None:
    text = TIES.replace("weight: 1}", "weight: [{filter: layers, value: 1}]}")
    message = refused(RecipeError, text)
    assert message == (
        "r.yml:5:37 models[1].parameters.weight: no filter gives 'weight' to the tensor "
        "'model.embed_tokens.weight' of 'b'; end the list with an entry that has no filter"
    )


def test_a_tensor_that_no_filter_gives_a_global_number_is_named() -> None:
    text = """\
merge_method: slerp
base_model: base
models:
  - model: a
parameters: {t: [{filter: layers, value: 1}]}
"""
    assert refused(RecipeError, text) == (
        "r.yml:5:17 parameters.t: no filter gives 't' to the tensor 'model.embed_tokens.weight'; "
        "end the list with an entry that has no filter"
    )


def test_numbers_that_meet_only_in_some_tensor_are_checked_there() -> None:
    text = """\
merge_method: della
base_model: base
models:
  - model: a
    parameters:
      weight: 1
      density: [{filter: up_proj, value: 0.2}, {value: 0.5}]
      epsilon: [{filter: mlp, value: 0.3}, {value: 0.1}]
"""
    message = refused(RecipeError, text)
    assert message.startswith(
        "r.yml:8:16 models[0].parameters.epsilon: tensor 'model.layers.0.mlp."
    )
    assert "got density 0.2 and epsilon 0.3" in message


def test_weights_that_cancel_in_some_layer_are_refused() -> None:
    text = LINEAR.replace("{model: b}", "{model: b, parameters: {weight: [1, -3]}}")
    message = refused(RecipeError, text, a=llama(5), b=llama(5))
    assert "tensor 'model.layers.2." in message and "add up to zero" in message


def hashed(
    text: str, seed: int = 0, content: Callable[[str], str] = str, **models: Headers
) -> str:
    jobs = plan(text, **models)
    references = {parse_reference(name) for name in ("base", "a", "b", "c")}
    return recipe_hash(jobs, {one: content(str(one)) for one in references}, seed)


def test_the_hash_is_of_values_not_of_spelling() -> None:
    spelt = TIES.replace("weight: 1}", "weight: [1, 1, 1]}") + "parameters: {lambda: 1.0}\n"
    assert hashed(spelt) == hashed(TIES)
    assert len(hashed(TIES)) == 64
    assert hashed(TIES.replace("0.5", "0.5000000000000001")) != hashed(TIES)
    assert hashed(TIES + "dtype: float32\n") != hashed(TIES)


def test_the_hash_of_one_slice_is_that_of_the_models_form() -> None:
    sliced = """\
merge_method: linear
parameters: {weight: 1}
slices: [{sources: [{model: a, layer_range: [0, 4]}, {model: b, layer_range: [0, 4]}]}]
"""
    assert hashed(sliced) == hashed(LINEAR)


def test_the_hash_knows_models_by_their_content() -> None:
    same = {"a": "x", "b": "y", "base": "z", "c": "y"}
    renamed = TIES.replace("model: b,", "model: c,")
    assert hashed(renamed, content=same.__getitem__) == hashed(TIES, content=same.__getitem__)
    assert hashed(renamed) != hashed(TIES)


def test_the_mask_seed_counts_for_random_methods_only() -> None:
    dare = TIES.replace("ties", "dare_ties")
    assert hashed(TIES, 1) == hashed(TIES, 2)
    assert hashed(dare, 1) != hashed(dare, 2)


def test_the_mask_seed_counts_where_a_mask_leaves_something_out() -> None:
    whole = TIES.replace("ties", "dare_ties").replace("density: 0.5", "density: 1")
    assert whole != TIES.replace("ties", "dare_ties")
    assert hashed(whole, 1) == hashed(whole, 2)
    some = whole.replace("density: 1", "density: [1, 0.9]")
    assert hashed(some, 1) != hashed(some, 2)


def test_a_real_family_is_planned_like_its_headers(pico_family, open_family) -> None:
    checkpoints = open_family(pico_family)
    text = """\
merge_method: dare_ties
base_model: base
models: [{model: alpha, parameters: {weight: [0, 1]}}, {model: beta, parameters: {weight: 1}}]
parameters: {density: 0.5}
"""
    recipe, _ = read_recipe(parse_document(text, "r.yml"), strict=True)
    jobs = plan_recipe(recipe, checkpoints)
    assert {job.name for job in jobs} == set(checkpoints[ModelReference("base")].tensors)
    assert {weight(job) for job in jobs if job.layer == 1} == {0.5}
    hashes = {model: checkpoint.content_hash for model, checkpoint in checkpoints.items()}
    assert recipe_hash(jobs, hashes, 0) == recipe_hash(tuple(reversed(jobs)), hashes, 0)
