"""Which recipes need a model of other layers."""

import pytest

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


@pytest.mark.parametrize(
    "config", [{"num_hidden_layers": 3}, {"text_config": {"num_hidden_layers": 3}}], ids=str
)
def test_layers_that_stay_need_no_other_model(config):
    stay = jobs_of("model.layers", [0, 1, 2])
    assert moved_layers(stay, config) is None
    assert moved_layers([*stay, *jobs_of("vision.blocks", range(5))], config) is None


@pytest.mark.parametrize("layers", [(0, 1), (0, 2, 1), (0, 1, 1, 2)])
def test_layers_that_move_do(layers):
    assert moved_layers(jobs_of("model.layers", layers), {"num_hidden_layers": 3}) == layers


def test_slices_without_a_number_of_layers_move_nothing():
    assert moved_layers(jobs_of("encoder.stages", [0, 1]), {"depths": [2, 2]}) is None
    assert moved_layers(jobs_of("layers", [0, 1]), {"layer_types": ["full", "linear"]}) is None
    assert moved_layers(jobs_of("layers", [0, 0]), {"layer_types": ["a", "b"]}) == (0, 0)


def test_steps_of_one_and_lists_of_every_layer_follow():
    config = {
        "num_hidden_layers": 3,
        "decoder_sparse_step": 1,
        "first_k_dense_replace": 0,
        "mlp_only_layers": [],
        "moe_layers": [0, 1, 2],
        "layer_types": ["full", "sliding", "full"],
    }
    changed = output_config(config, (0, 1, 1, 2))
    assert changed["num_hidden_layers"] == 4
    assert changed["moe_layers"] == [0, 1, 2, 3]
    assert changed["layer_types"] == ["full", "sliding", "sliding", "full"]


@pytest.mark.parametrize(
    "place", [{"first_k_dense_replace": 1}, {"decoder_sparse_step": 2}, {"mlp_only_layers": [1]}]
)
def test_layers_that_differ_by_their_place_stay(place):
    with pytest.raises(UnsupportedError, match=next(iter(place))):
        output_config({"num_hidden_layers": 3, **place}, (0, 1, 1))
