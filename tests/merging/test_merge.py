"""One tensor merged: each method in closed form, and everything around the arithmetic."""

from collections.abc import Mapping, Sequence

import pytest
import torch

from merging.errors import MergeError
from merging.kernels.masks import draws, mask_keys, threshold
from merging.merge import merge_tensor
from merging.methods.table import METHODS
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference

BASE = [10.0, 20.0, 30.0, 40.0]
FIRST, SECOND = [1.0, -2.0, 4.0, -8.0], [2.0, 2.0, -1.0, 0.5]
NAME = "model.layers.0.mlp.up_proj.weight"


def make_job(
    method: str,
    numbers: Sequence[Mapping[str, float]],
    output: Mapping[str, float | bool] | None = None,
    dtype: str = "float32",
    name: str = NAME,
) -> TensorJob:
    sources = tuple(
        TensorSource(ModelReference(f"expert{e}"), name, one) for e, one in enumerate(numbers)
    )
    base = TensorSource(ModelReference("base"), name, {})
    kept = base if METHODS[method].base_apart else None
    return TensorJob(name, method, kept, sources, output or {}, None, dtype)


def given(base: torch.Tensor, *experts: torch.Tensor):
    tensors = {"base": base} | {f"expert{e}": tensor for e, tensor in enumerate(experts)}
    return lambda model, _name: tensors[model.path]


def merged(method, numbers, output=None, deltas=(FIRST, SECOND), **options) -> list[float]:
    """The merged delta of experts base + delta; for linear the base is 0."""
    base = torch.tensor(BASE) if METHODS[method].base_apart else torch.zeros(4)
    tensors = given(base, *(base + torch.tensor(delta) for delta in deltas))
    made = merge_tensor(make_job(method, numbers, output), tensors, 0, **options)
    return (made - base).tolist()


def weights(*values: float, **more: float) -> list[dict[str, float]]:
    return [{"weight": value, **more} for value in values]


@pytest.mark.parametrize("engine", ["kernel", "torch"])
@pytest.mark.parametrize(
    ("method", "numbers", "output", "expected"),
    [
        ("linear", weights(1, 3), {}, [1.75, 1.0, 0.25, -1.625]),
        ("linear", weights(1, 3), {"normalize": False}, [7.0, 4.0, 1.0, -6.5]),
        ("task_arithmetic", weights(1, 2), {}, [5.0, 2.0, 2.0, -7.0]),
        ("task_arithmetic", weights(1, 3), {"normalize": True}, [1.75, 1.0, 0.25, -1.625]),
        ("task_arithmetic", weights(1, 2), {"lambda": 0.5}, [2.5, 1.0, 1.0, -3.5]),
        # weights that cancel: the divisor becomes 1
        ("task_arithmetic", weights(1, -1), {"normalize": True}, [-1.0, -4.0, 5.0, -8.5]),
        # signs: + (both), 0 counts as + (the second), + (the first), - (the first)
        ("ties", weights(1, 1), {}, [1.5, 2.0, 4.0, -8.0]),
        ("ties", weights(1, 1), {"normalize": False}, [3.0, 2.0, 4.0, -8.0]),
        ("ties", weights(1, 3), {}, [1.75, 2.0, 4.0, -8.0]),
        ("ties", weights(1, 1), {"lambda": 2.0}, [3.0, 4.0, 8.0, -16.0]),
        # two elements of each are left: [0, 0, 4, -8] and [2, 2, 0, 0]
        ("ties", weights(1, 1, density=0.5), {}, [2.0, 2.0, 4.0, -8.0]),
        # and the norms 15 and 5.5 are restored: 12 -> 15, 4 -> 5.5
        ("ties", weights(1, 1, density=0.5), {"rescale": True}, [2.75, 2.75, 5.0, -10.0]),
        # a density below one element keeps one
        ("ties", weights(1, 0, density=0.1), {}, [0.0, 0.0, 0.0, -8.0]),
        ("dare_ties", weights(1, 1), {}, [3.0, 2.0, 4.0, -8.0]),
        ("dare_linear", weights(1, 2), {"lambda": 2.0}, [10.0, 4.0, 4.0, -14.0]),
        ("della", weights(1, 3), {}, [1.75, 2.0, 4.0, -8.0]),
        ("della_linear", weights(1, 2), {}, [5.0, 2.0, 2.0, -7.0]),
        ("della_linear", weights(1, 2), {"int8_mask": True}, [5.0, 2.0, 2.0, -7.0]),
    ],
)
def test_values_in_closed_form(method, numbers, output, expected, engine):
    assert merged(method, numbers, output, engine=engine) == expected


def test_equal_magnitudes_are_kept_in_element_order():
    deltas = [[1.0, -1.0, 1.0, -1.0]]
    assert merged("ties", weights(1, density=0.75), deltas=deltas) == [1.0, -1.0, 1.0, 0.0]


def test_a_negative_weight_turns_the_vote():
    assert merged("ties", weights(1, -2), {"normalize": False}) == [-4.0, -6.0, 6.0, -9.0]


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della_linear", "della"])
@pytest.mark.parametrize("engine", ["kernel", "torch"])
def test_random_methods_keep_what_the_generator_says_and_restore_the_norm(method, engine):
    shape, density = (40, 50), 0.4
    generator = torch.Generator().manual_seed(1)
    delta = torch.randn(shape, generator=generator)
    tensors = given(torch.zeros(shape), delta)
    numbers = [{"weight": 1.0, "density": density, "epsilon": 0.0}]
    drawn = draws(mask_keys(5, NAME, 0, delta.numel()), 0, delta.numel(), torch.device("cpu"))
    kept = (drawn < threshold(density)).view(shape)

    plain = merge_tensor(make_job(method, numbers, {"rescale": False}), tensors, 5, engine=engine)
    assert torch.equal(plain, torch.where(kept, delta, 0.0))
    whole = merge_tensor(make_job(method, numbers), tensors, 5, engine=engine)
    assert torch.equal(whole != 0, kept)
    assert whole.abs().sum().item() == pytest.approx(delta.abs().sum().item(), rel=1e-6)
    ratio = whole[kept] / delta[kept]
    assert ratio.min().item() == pytest.approx(ratio.max().item(), rel=1e-6)


def test_della_keeps_large_elements_more_often():
    rows, width, density, epsilon = 4000, 9, 0.5, 0.3
    delta = torch.arange(1.0, width + 1).repeat(rows, 1) * torch.tensor([1.0, -1.0]).repeat(
        rows // 2
    ).unsqueeze(1)
    job = make_job(
        "della_linear",
        [{"weight": 1.0, "density": density, "epsilon": epsilon}],
        {"rescale": False},
    )
    made = merge_tensor(job, given(torch.zeros_like(delta), delta), 0)
    share = (made != 0).double().mean(0)
    expected = density - epsilon + 2 * epsilon * torch.arange(width) / (width - 1)
    assert ((share - expected).abs() < 5 * 0.5 / rows**0.5).all()


def test_a_row_of_one_element_has_rank_one_half():
    delta = torch.ones(20_000, 1)
    numbers = [{"weight": 1.0, "density": 0.3, "epsilon": 0.2}]
    job = make_job("della_linear", numbers, {"rescale": False})
    made = merge_tensor(job, given(torch.zeros_like(delta), delta), 0)
    assert abs(made.mean().item() - 0.3) < 5 * (0.3 * 0.7 / 20_000) ** 0.5


def test_another_density_leaves_the_other_expert_and_other_tensors_alone():
    generator = torch.Generator().manual_seed(2)
    first = torch.randn(64, 64, generator=generator)
    tensors = given(torch.zeros(64, 64), first, torch.zeros(64, 64))

    def with_density(second: float) -> torch.Tensor:
        numbers = [{"weight": 1.0, "density": 0.5}, {"weight": 1.0, "density": second}]
        return merge_tensor(make_job("dare_ties", numbers), tensors, 0)

    assert torch.equal(with_density(0.2), with_density(0.9))
    more = merge_tensor(make_job("dare_ties", weights(1, 1, density=0.6)), tensors, 0)
    assert ((with_density(0.5) != 0) <= (more != 0)).all()


@pytest.mark.parametrize("what", ["name", "seed"])
def test_names_and_seeds_draw_other_masks(what):
    tensors = given(torch.zeros(64, 64), torch.ones(64, 64))
    numbers = [{"weight": 1.0, "density": 0.5}]
    first = merge_tensor(make_job("dare_linear", numbers), tensors, 0)
    other = merge_tensor(
        make_job("dare_linear", numbers, name="other" if what == "name" else NAME),
        tensors,
        1 if what == "seed" else 0,
    )
    assert 0.4 < ((first != 0) == (other != 0)).double().mean() < 0.6


@pytest.mark.parametrize("engine", ["kernel", "torch"])
@pytest.mark.parametrize("kind", ["same", "wider", "strided", "parameter"])
def test_out_is_filled_with_values_of_the_jobs_dtype(kind, engine):
    generator = torch.Generator().manual_seed(3)
    base, expert = torch.randn(2, 12, 6, generator=generator).bfloat16()
    job = make_job("task_arithmetic", [{"weight": 0.3}], dtype="bfloat16")
    expected = merge_tensor(job, given(base, expert), 0, engine=engine)
    assert expected.dtype == torch.bfloat16
    out = {
        "same": torch.full((12, 6), torch.nan, dtype=torch.bfloat16),
        "wider": torch.full((12, 6), torch.nan),
        "strided": torch.full((6, 12), torch.nan, dtype=torch.bfloat16).T,
        "parameter": torch.nn.Parameter(torch.full((12, 6), torch.nan, dtype=torch.bfloat16)),
    }[kind]
    assert merge_tensor(job, given(base, expert), 0, out=out, engine=engine) is out
    assert torch.equal(out.detach().to(torch.bfloat16), expected)
    assert torch.equal(out.detach().float(), expected.float())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_dtypes_of_the_output(dtype):
    tensors = given(torch.tensor([1.0]), torch.tensor([1.0 + 2**-9 + 2**-20]))
    made = merge_tensor(make_job("task_arithmetic", weights(1), dtype=dtype), tensors, 0)
    assert made.dtype == getattr(torch, dtype)
    assert made.item() == {"bfloat16": 1.0, "float16": 1 + 2**-9}.get(dtype, 1 + 2**-9 + 2**-20)


@pytest.mark.parametrize("buffer", [torch.arange(6), torch.tensor([True, False])])
def test_integer_and_bool_tensors_come_from_the_base_unchanged(buffer):
    job = make_job("ties", weights(1, 1))
    made = merge_tensor(job, given(buffer, ~buffer, ~buffer), 0)
    assert made.dtype == buffer.dtype and torch.equal(made, buffer)
    assert made.data_ptr() != buffer.data_ptr()


def test_no_experts_give_the_base_and_no_elements_nothing():
    base = torch.randn(5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(merge_tensor(make_job("ties", []), given(base), 0), base)
    empty = torch.zeros(0, 4)
    made = merge_tensor(make_job("ties", weights(1, density=0.5)), given(empty, empty), 0)
    assert made.shape == (0, 4)


def test_shapes_that_differ_are_named():
    with pytest.raises(MergeError, match=r"expert0 has shape \[3, 2\], base has shape \[2, 2\]"):
        merge_tensor(make_job("ties", weights(1)), given(torch.zeros(2, 2), torch.zeros(3, 2)), 0)


def test_a_place_of_another_shape_is_refused():
    tensors = given(torch.zeros(2, 2), torch.zeros(2, 2))
    with pytest.raises(MergeError, match=r"shape \[2, 2\], the place for it \[2, 3\]"):
        merge_tensor(make_job("ties", weights(1)), tensors, 0, out=torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("method", "numbers", "output", "said"),
    [
        ("ties", [{}], {}, "needs the parameter 'weight'"),
        ("ties", weights(1, density=1.5), {}, r"density: expected a number in \(0, 1\], got 1.5"),
        ("della", weights(1, density=0.1), {}, "make epsilon smaller than 0.1"),
        ("ties", weights(1), {"lambda": float("inf")}, "lambda: expected a finite number"),
        ("linear", weights(1, -1), {}, "add up to zero"),
    ],
)
def test_wrong_numbers_are_refused_with_the_tensors_name(method, numbers, output, said):
    tensors = given(torch.zeros(4), torch.zeros(4), torch.zeros(4))
    with pytest.raises(MergeError, match=f"{NAME}: .*{said}"):
        merge_tensor(make_job(method, numbers, output), tensors, 0)


def test_methods_and_dtypes_that_are_not_known_are_refused():
    tensors = given(torch.zeros(4), torch.zeros(4))
    job = make_job("ties", weights(1))
    with pytest.raises(MergeError, match="unknown merge_method 'tie'.*did you mean 'ties'"):
        merge_tensor(
            TensorJob(NAME, "tie", job.base, job.sources, {}, None, "float32"), tensors, 0
        )
    with pytest.raises(MergeError, match="cannot merge in dtype 'int8'"):
        merge_tensor(make_job("ties", weights(1), dtype="int8"), tensors, 0)
    with pytest.raises(MergeError, match="needs a base model"):
        merge_tensor(TensorJob(NAME, "ties", None, job.sources, {}, None, "float32"), tensors, 0)
    with pytest.raises(MergeError, match="nothing to merge"):
        merge_tensor(TensorJob(NAME, "linear", None, (), {}, None, "float32"), tensors, 0)
