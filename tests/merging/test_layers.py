"""Layers found from tensor names alone."""

import pytest

from merging.errors import SourceError
from merging.layers import is_embedding, kind_of, layer_layout, layer_of, rename_layer

LLAMA = [
    "model.embed_tokens.weight",
    *(f"model.layers.{i}.{part}.weight" for i in range(12) for part in ("mlp.up_proj", "norm")),
    "model.norm.weight",
    "lm_head.weight",
]


def test_a_llama_has_its_parts_and_layers_in_order_of_number() -> None:
    layout = layer_layout(LLAMA, {"num_hidden_layers": 12})
    assert layout.before == ("model.embed_tokens.weight",)
    assert layout.after == ("lm_head.weight", "model.norm.weight")
    assert [stack.prefix for stack in layout.stacks] == ["model.layers"]
    assert layout.length == 12
    assert layout.stacks[0].layers[10] == (
        "model.layers.10.mlp.up_proj.weight",
        "model.layers.10.norm.weight",
    )


@pytest.mark.parametrize(
    "form",
    [
        "transformer.h.{}.attn.c_attn.weight",
        "gpt_neox.layers.{}.attention.dense.weight",
        "encoder.block.{}.layer.0.SelfAttention.q.weight",
        "model.layers.{}.mlp.experts.3.w1.weight",
    ],
)
def test_the_first_number_is_the_layer(form: str) -> None:
    layout = layer_layout([form.format(i) for i in range(3)], {})
    assert layout.length == 3
    assert layer_of(form.format(2)) == 2
    assert rename_layer(form.format(2), 17) == form.format(17)
    assert kind_of(form.format(2)) == form.split("{}.")[1]


def test_numbers_that_are_no_layers_stay_outside() -> None:
    names = [*LLAMA, "classifier.0.weight", "classifier.2.weight"]
    layout = layer_layout(names, {"num_hidden_layers": 12})
    assert len(layout.stacks) == 1
    assert "classifier.0.weight" in layout.after
    assert layer_of("model.norm.weight") is None
    assert rename_layer("model.norm.weight", 3) == "model.norm.weight"


def test_the_stack_of_the_configs_height_is_the_main_one() -> None:
    tower = [f"vision.layers.{i}.{part}" for i in range(20) for part in "abcd"]
    layout = layer_layout([*LLAMA, *tower], {"text_config": {"num_hidden_layers": 12}})
    assert [stack.prefix for stack in layout.stacks] == ["model.layers", "vision.layers"]
    assert [stack.prefix for stack in layer_layout([*LLAMA, *tower], {}).stacks][0] == (
        "vision.layers"
    )


def test_layers_beyond_the_configs_number_stand_outside() -> None:
    layout = layer_layout(LLAMA, {"num_hidden_layers": 11})
    assert layout.length == 11
    assert "model.layers.11.norm.weight" in layout.after


def test_a_model_without_layers_has_none() -> None:
    layout = layer_layout(["embed.weight", "out.weight"], {})
    assert (layout.length, layout.stacks) == (0, ())


def test_missing_layers_are_told_with_both_numbers() -> None:
    with pytest.raises(SourceError, match=r"config.json says 14 layers, the weights have 12"):
        layer_layout(LLAMA, {"num_hidden_layers": 14})
    gap = [name for name in LLAMA if ".5." not in name]
    with pytest.raises(SourceError, match=r"says 12 layers, the weights lack model.layers.5"):
        layer_layout(gap, {"num_hidden_layers": 12})


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("transformer.wte.weight", True),
        ("transformer.wpe.weight", True),
        ("gpt_neox.embed_in.weight", True),
        ("model.tok_embeddings.weight", True),
        ("shared.weight", True),
        ("bert.embeddings.LayerNorm.weight", True),
        ("embed_out.weight", False),
        ("transformer.ln_f.weight", False),
        ("lm_head.weight", False),
        ("transformer.output_layer.weight", False),
        ("score.weight", False),
    ],
)
def test_embeddings_stand_before_the_layers(name: str, before: bool) -> None:
    assert is_embedding(name) is before
