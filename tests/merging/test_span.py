"""Angle methods in closed form: vectors whose angles and lengths are known."""

import math

import pytest
import torch

from merging.errors import MergeError
from merging.merge import merge_tensor
from merging.methods.table import METHODS
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference

both = pytest.mark.parametrize("engine", ["kernel", "torch"])


def merged(method, tensors, numbers=None, output=None, base=None, engine="kernel"):
    """The merge of experts (and a base), float32."""
    own = numbers or [{}] * len(tensors)
    sources = tuple(TensorSource(ModelReference(str(e)), "w", one) for e, one in enumerate(own))
    first = None if base is None else TensorSource(ModelReference("base"), "w", {})
    job = TensorJob("w", method, first, sources, output or {}, None, "float32")
    found = {str(e): torch.tensor(one) for e, one in enumerate(tensors)}
    if base is not None:
        found["base"] = torch.tensor(base)
    return merge_tensor(job, lambda model, _name: found[model.path], 0, engine=engine)


def weights(*values):
    return [{"weight": one} for one in values]


def near(made, expected):
    return made.tolist() == pytest.approx(expected, abs=1e-6)


@both
@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 1.0])
def test_slerp_moves_along_the_arc(t, engine):
    """A right angle, lengths 2 and 4: both coefficients are those of the unit circle."""
    made = merged("slerp", [[0.0, 4.0]], output={"t": t}, base=[2.0, 0.0], engine=engine)
    turn = t * math.pi / 2
    assert near(made, [2 * math.cos(turn), 4 * math.sin(turn)])


@both
def test_slerp_takes_the_chord_between_parallel_vectors(engine):
    made = merged("slerp", [[3.0, 3.0]], output={"t": 0.25}, base=[1.0, 1.0], engine=engine)
    assert near(made, [1.5, 1.5])
    made = merged("slerp", [[-1.0, -1.0]], output={"t": 0.25}, base=[1.0, 1.0], engine=engine)
    assert near(made, [0.5, 0.5])


@both
def test_nuslerp_turns_deltas_around_the_base(engine):
    made = merged(
        "nuslerp", [[11.0, 10.0], [10.0, 11.0]], weights(1, 1), base=[10.0, 10.0], engine=engine
    )
    half = math.sin(math.pi / 4)
    assert near(made, [10 + half, 10 + half])
    alone = merged("nuslerp", [[1.0, 0.0], [0.0, 1.0]], weights(1, 2), engine=engine)
    assert near(alone, [math.cos(math.pi / 3), math.sin(math.pi / 3)])


@both
def test_nuslerp_has_an_angle_for_each_row_or_column(engine):
    """Rows: a right angle, then none; columns: all are parallel."""
    first, second = [[1.0, 0.0], [0.0, 2.0]], [[0.0, 1.0], [0.0, 4.0]]
    half = math.sin(math.pi / 4)
    rows = merged("nuslerp", [first, second], weights(1, 1), {"nuslerp_flatten": False},
                  engine=engine)  # fmt: skip
    assert near(rows.flatten(), [half, half, 0.0, 3.0])
    columns = merged(
        "nuslerp", [first, second], weights(1, 1),
        {"nuslerp_flatten": False, "nuslerp_row_wise": True}, engine=engine,
    )  # fmt: skip
    # column 0: (1, 0) and (0, 0), at a right angle; column 1: (0, 2) and (1, 4)
    angle = math.acos(8 / (2 * math.sqrt(17)))
    factor = math.sin(angle / 2) / math.sin(angle)
    assert near(columns[:, 0], [half, 0.0])
    assert near(columns[:, 1], [factor * 1.0, factor * 6.0])


def test_nuslerp_takes_the_middle_where_weights_cancel():
    made = merged("nuslerp", [[1.0, 0.0], [0.0, 1.0]], weights(1, -1))
    assert near(made, [math.sin(math.pi / 4)] * 2)


@both
def test_multislerp_has_the_mean_direction_and_the_mean_length(engine):
    made = merged("multislerp", [[3.0, 0.0], [0.0, 1.0]], weights(1, 1), engine=engine)
    assert near(made, [2 * math.sin(math.pi / 4)] * 2)
    turned = merged(
        "multislerp", [[4.0, 1.0], [1.0, 2.0]], weights(2, 2), base=[1.0, 1.0], engine=engine
    )
    assert near(turned, [1 + 2 * math.sin(math.pi / 4)] * 2)


def test_multislerp_of_opposite_directions():
    """Two have a chord; more have no direction, unless none of them is anywhere."""
    assert near(merged("multislerp", [[1.0, 0.0], [-1.0, 0.0]], weights(1, 1)), [0.0, 0.0])
    with pytest.raises(MergeError, match="w: multislerp: the weighted sum .* is zero"):
        merged("multislerp", [[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0]], weights(1, 1, 1))
    same = merged("multislerp", [[1.0, 2.0]] * 3, weights(1, 1, 1), base=[1.0, 2.0])
    assert near(same, [1.0, 2.0])
    with pytest.raises(MergeError, match="add up to zero.*normalize_weights: false"):
        merged("multislerp", [[1.0, 0.0], [0.0, 1.0]], weights(1, -1))


@both
def test_karcher_of_two_is_the_middle_of_their_arc(engine):
    made = merged("karcher", [[2.0, 0.0], [0.0, 4.0]], engine=engine)
    assert near(made, [3 * math.sin(math.pi / 4)] * 2)


@both
def test_karcher_of_three_is_where_their_logarithms_cancel(engine):
    angles = [0.0, 0.4, 1.1]
    made = merged("karcher", [[math.cos(a), math.sin(a)] for a in angles], engine=engine)
    mean = sum(angles) / 3  # on a circle
    assert near(made, [math.cos(mean), math.sin(mean)])


def test_karcher_counts_a_zero_in_the_length_only():
    made = merged("karcher", [[2.0, 0.0], [0.0, 0.0]])
    assert near(made, [1.0, 0.0])
    assert near(merged("karcher", [[0.0, 0.0], [0.0, 0.0]]), [0.0, 0.0])
    assert near(merged("karcher", [[2.0, 5.0]]), [2.0, 5.0])


@both
@pytest.mark.parametrize(
    ("first", "second", "ratio"),
    [
        ([1.0, 0.0], [0.0, 1.0], 0.0),
        ([1.0, 0.0], [2.0, 0.0], 1.0),
        ([1.0, 0.0], [1.0, 1.0], 2 * math.sqrt(0.5) / (1 + math.sqrt(0.5))),
        ([1.0, 0.0], [-1.0, 0.0], 0.0),  # 1 + cos is zero: the base is kept
    ],
)
def test_model_stock_goes_as_far_as_experts_agree(first, second, ratio, engine):
    base = [10.0, 20.0]
    experts = [[b + d for b, d in zip(base, delta, strict=True)] for delta in (first, second)]
    made = merged("model_stock", experts, base=base, engine=engine)
    mean = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    assert near(made, [b + ratio * m for b, m in zip(base, mean, strict=True)])


@both
def test_model_stock_filter_by_filter(engine):
    base = [[0.0, 0.0], [0.0, 0.0]]
    experts = [[[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 1.0]]]
    made = merged("model_stock", experts, output={"filter_wise": True}, base=base, engine=engine)
    assert near(made.flatten(), [1.5, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (3, 1), (1, 7)])
@pytest.mark.parametrize("method", ["slerp", "nuslerp", "model_stock", "karcher", "arcee_fusion"])
def test_small_shapes_merge_too(method, shape):
    generator = torch.Generator().manual_seed(1)
    count = METHODS[method].experts[0] if method != "karcher" else 2
    tensors = [torch.randn(shape, generator=generator).tolist() for _ in range(count + 1)]
    base = tensors[0] if METHODS[method].base == "required" else None
    output = {"t": 0.5} if method == "slerp" else {}
    numbers = weights(*[1.0] * count) if method == "nuslerp" else None
    for row_wise in (False, True):
        more = {"nuslerp_flatten": False, "nuslerp_row_wise": row_wise}
        own = output | (more if method == "nuslerp" else {})
        made = [
            merged(method, tensors[1 : 1 + count], numbers, own, base, engine)
            for engine in ("kernel", "torch")
        ]
        assert made[0].shape == shape and not made[0].isnan().any()
        assert torch.allclose(made[0], made[1], atol=1e-6)
