"""Which recipes need a model of other layers, and what becomes of its config."""

from types import SimpleNamespace

import pytest

from merging.checkpoint import TensorInfo
from merging.depth import moved_layers, output_config
from merging.errors import UnsupportedError
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference


def jobs_of(prefix, layers):
    """One job a layer of a stack, each made of the layer whose number is given."""
    return [
        TensorJob(
            f"{prefix}.{to}.weight",
            "linear",
            None,
            (TensorSource(ModelReference("base"), f"{prefix}.{source}.weight", {}),),
            {},
            to,
            "float32",
        )
        for to, source in enumerate(layers)
    ]


def donor_of(config, **heights):
    """A model with stacks of these heights, by prefix with `_` for the dot."""
    names = [
        f"{prefix.replace('_', '.')}.{layer}.weight"
        for prefix, height in heights.items()
        for layer in range(height)
    ]
    return SimpleNamespace(config=config, tensors=dict.fromkeys(names, TensorInfo((1,), "x")))


@pytest.mark.parametrize(
    "config", [{"num_hidden_layers": 3}, {"text_config": {"num_hidden_layers": 3}}], ids=str
)
def test_layers_that_stay_need_no_other_model(config):
    stay = jobs_of("model.layers", [0, 1, 2])
    donor = donor_of(config, model_layers=3, vision_blocks=5)
    assert moved_layers(stay, donor) is None
    assert moved_layers([*stay, *jobs_of("vision.blocks", range(5))], donor) is None
    less = jobs_of("vision.blocks", range(4))
    assert moved_layers([*stay, *less], donor) == {"vision.blocks": (0, 1, 2, 3)}


@pytest.mark.parametrize("layers", [(0, 1), (0, 2, 1), (0, 1, 1, 2)])
def test_layers_that_move_do(layers):
    donor = donor_of({"num_hidden_layers": 3}, model_layers=3)
    assert moved_layers(jobs_of("model.layers", layers), donor) == {"model.layers": layers}


LLAMA = {"num_hidden_layers": 2, "num_attention_heads": 2, "layer_types": ["a", "b"]}
T5 = {"num_layers": 2, "num_decoder_layers": 2, "num_heads": 2}
BART = {"num_hidden_layers": 2, "encoder_layers": 2, "decoder_layers": 2}
NESTED = {
    "text_config": {"num_hidden_layers": 2, "layer_types": ["a", "b"]},
    "vision_config": {"depth": 2, "num_heads": 2},
    "num_hidden_layers": 9,
}


@pytest.mark.parametrize(
    ("config", "stack", "order", "changed"),
    [
        (LLAMA, "model.layers", (1, 0, 1), {"num_hidden_layers": 3, "layer_types": list("bab")}),
        (LLAMA, "model.decoder.layers", (0,), {"num_hidden_layers": 1, "layer_types": ["a"]}),
        (T5, "encoder.block", (0,), {"num_layers": 1}),
        (T5, "decoder.block", (0, 1, 1), {"num_decoder_layers": 3}),
        (BART, "model.encoder.layers", (0,), {"encoder_layers": 1, "num_hidden_layers": 1}),
        (BART, "model.decoder.layers", (0,), {"decoder_layers": 1}),
        (NESTED, "model.layers", (1,),
         {"text_config": {"num_hidden_layers": 1, "layer_types": ["b"]}}),
        (NESTED, "language_model.model.layers", (1,),
         {"text_config": {"num_hidden_layers": 1, "layer_types": ["b"]}}),
        (NESTED, "visual.blocks", (0, 1, 1), {"vision_config": {"depth": 3, "num_heads": 2}}),
    ],
)  # fmt: skip
def test_the_number_that_counts_a_stack(config, stack, order, changed):
    before = {key: value for key, value in config.items()}
    assert output_config(config, {stack: 2}, {stack: order}) == {**config, **changed}
    assert config == before


@pytest.mark.parametrize(
    ("config", "order", "message"),
    [
        ({"blocks": 2}, (0,), "does not say which number counts the layers of model.layers"),
        ({"num_hidden_layers": 2, "first_k_dense_replace": 1}, (0,), "differ by their place"),
        (LLAMA, (0, 1, 4), "has values for 2 layers (layer_types), the recipe takes layer 4"),
    ],
)
def test_configs_that_cannot_follow(config, order, message):
    with pytest.raises(UnsupportedError) as caught:
        output_config(config, {"model.layers": 2}, {"model.layers": order})
    assert message in str(caught.value)


def test_steps_of_one_and_lists_of_every_layer_follow():
    config = {
        "num_hidden_layers": 3,
        "decoder_sparse_step": 1,
        "first_k_dense_replace": 0,
        "mlp_only_layers": [],
        "moe_layers": [0, 1, 2],
        "layer_types": ["full", "sliding", "full"],
    }
    changed = output_config(config, {"model.layers": 3}, {"model.layers": (0, 1, 1, 2)})
    assert changed["num_hidden_layers"] == 4
    assert changed["moe_layers"] == [0, 1, 2, 3]
    assert changed["layer_types"] == ["full", "sliding", "sliding", "full"]


@pytest.mark.parametrize(
    "place", [{"first_k_dense_replace": 1}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [1]}]
)
def test_layers_that_differ_by_their_place_stay(place):
    with pytest.raises(UnsupportedError, match=next(iter(place))):
        output_config(
            {"num_hidden_layers": 3, **place}, {"model.layers": 3}, {"model.layers": (0, 1, 1)}
        )


def test_equal_values_follow_layers_of_a_deeper_model():
    config = {"num_hidden_layers": 2, "layer_types": ["a", "a"]}
    made = output_config(config, {"model.layers": 2}, {"model.layers": (0, 4, 1)})
    assert made == {"num_hidden_layers": 3, "layer_types": ["a"] * 3}
