"""Which recipes need a model of other layers."""

import pytest

from merging.depth import moved_layers
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
