"""mergekit's rounding by hand: its steps, dtypes, masks and failures, method by method."""

import math
from collections.abc import Mapping, Sequence

import pytest
import torch

from merging.errors import MergeError
from merging.kernels.masks import draws, mask_keys, threshold
from merging.methods.formula import Numbers
from merging.methods.table import METHODS
from merging.stepwise.engine import STEPWISE, merge_stepwise
from merging.stepwise.inputs import Inputs

BFLOAT16 = torch.bfloat16
GLOBAL = {"lambda": 1.0, "normalize": False, "rescale": False}
KEYS = tuple(mask_keys(7, "t", position, 1 << 16) for position in range(4))


def tensor(values: object, dtype: torch.dtype = BFLOAT16) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


def merged(
    method: str,
    base: torch.Tensor | None,
    experts: Sequence[torch.Tensor],
    own: Sequence[Mapping[str, float]] | None = None,
    **output: float | bool,
) -> torch.Tensor:
    numbers = Numbers(tuple(own or [{} for _ in experts]), {**GLOBAL, **output})
    return merge_stepwise(method, Inputs(base, tuple(experts), numbers, KEYS[: len(experts)]))


def weights(*values: float, **more: float) -> list[dict[str, float]]:
    return [{"weight": value, **more} for value in values]


def test_every_method_of_the_table_has_its_steps() -> None:
    assert STEPWISE.keys() == METHODS.keys()


# bfloat16 has 8 bits: from 1 to 2 its numbers are 1/128 apart, from 2 to 4 1/64, below 1 1/256.


def test_a_weight_is_rounded_before_it_multiplies() -> None:
    # 0.3 is 77/256 in bfloat16; 1 x 0.3 added to 0 is that number, and so is 0.3 rounded at once;
    # 3 x 77/256 = 0.90234375 lies between 231/256 and itself: exact. 3 x 0.3 = 0.9 is 230/256.
    base, expert = tensor([0.0]), tensor([3.0])
    assert merged("task_arithmetic", base, [expert], weights(0.3)).item() == 231 / 256
    assert round(0.9 * 256) / 256 == 230 / 256


def test_a_delta_is_rounded_before_anything_else() -> None:
    # 1 + 1/128 - 3/1024 = 1 + 5/1024 is no bfloat16: halfway it is not, so 1 + 1/128 it becomes
    base, expert = tensor([3 / 1024]), tensor([1 + 1 / 128])
    made = merged("task_arithmetic", base, [expert], weights(2.0))
    # 2 x (1 + 1/128) + 3/1024 = 2 + 19/1024: the nearest of steps of 16/1024 is 2 + 1/64
    assert made.item() == 2 + 1 / 64


def test_lambda_is_not_rounded_the_product_is() -> None:
    base, expert = tensor([0.0]), tensor([3.0])
    assert merged("task_arithmetic", base, [expert], weights(1), **{"lambda": 0.3}).item() == (
        230 / 256
    )


def test_sums_of_experts_are_rounded_once() -> None:
    # 1 + 1/256 + 1/256: each addition alone would be rounded back to 1 (ties to even)
    base = tensor([0.0])
    experts = [tensor([1.0]), tensor([1 / 256]), tensor([1 / 256])]
    made = merged("task_arithmetic", base, experts, weights(1, 1, 1))
    assert made.item() == 1 + 1 / 128


def test_ties_elects_and_divides_by_rounded_weights() -> None:
    base = tensor([0.0, 0.0, 0.0])
    experts = [tensor([1.0, -4.0, 0.0]), tensor([3.0, 1.0, 0.0])]
    made = merged("ties", base, experts, weights(0.5, 1.0, density=1.0), normalize=True)
    # (0.5 + 3) / 1.5 = 2.333.. is 149.3/64; -2 / 0.5; nothing agrees: divided by 1
    assert made.tolist() == [149 / 64, -4.0, 0.0]


def test_magnitude_keeps_the_largest_and_one_at_least() -> None:
    base, expert = torch.zeros(4), torch.tensor([1.0, -4.0, 2.0, 3.0])
    for density, kept in ((0.5, [0, -4, 0, 3]), (0.01, [0, -4, 0, 0]), (0.0, [0, 0, 0, 0])):
        made = merged("ties", base, [expert], weights(1, density=density))
        assert made.tolist() == kept


def test_breadcrumbs_keep_less_of_the_largest() -> None:
    base, expert = torch.zeros(5), torch.tensor([1.0, -4.0, 2.0, 3.0, 5.0])
    own = weights(1, density=0.4, gamma=0.2)
    assert merged("breadcrumbs", base, [expert], own).tolist() == [0, -4, 0, 3, 0]
    own = weights(1, density=0.0, gamma=0.2)
    assert merged("breadcrumbs", base, [expert], own).tolist() == [0, 0, 0, 0, 0]


def test_the_rescaling_is_a_rounded_quotient_of_rounded_norms() -> None:
    # norms 7 and 5 of what is kept: 7/5 is 179/128 in bfloat16, times 3 and 2 rounded again
    base, expert = tensor([0.0] * 4), tensor([1.0, 3.0, 2.0, 1.0])
    made = merged("ties", base, [expert], weights(1, density=0.5), rescale=True)
    assert made.tolist() == [0, 537 // 2 / 64, 179 / 64, 0]  # 537/128 lies at a half: to even


@pytest.mark.parametrize(
    ("dtype", "probability"), [(BFLOAT16, 77 / 256), (torch.float16, 0.3), (torch.float32, 0.3)]
)
def test_dare_draws_its_masks_with_a_rounded_probability(
    dtype: torch.dtype, probability: float
) -> None:
    base, expert = torch.zeros(4096, dtype=dtype), torch.ones(4096, dtype=dtype)
    made = merged("dare_linear", base, [expert], weights(1, density=0.3))
    single = torch.tensor(probability).double().item()
    kept = draws(KEYS[0], 0, 4096, torch.device("cpu")) < threshold(single)
    assert torch.equal(made != 0, kept)


def test_della_rounds_its_ranks() -> None:
    # Of 600 ranks those above 256 come in twos and fours: fewer probabilities than in float32.
    expert = torch.arange(1.0, 601.0)[None]
    chances = {}
    for dtype in (BFLOAT16, torch.float32):
        count = torch.zeros(600)
        for seed in range(64):
            keys = (mask_keys(seed, "t", 0, 600),)
            given = (torch.zeros(1, 600, dtype=dtype), (expert.to(dtype),))
            own = weights(1, density=0.5, epsilon=0.4)
            numbers = Numbers(tuple(own), GLOBAL)
            count += (merge_stepwise("della_linear", Inputs(*given, numbers, keys)) != 0)[0]
        chances[dtype] = count / 64
    both = torch.stack([chances[BFLOAT16], chances[torch.float32]])
    # about density - epsilon for the smallest, density + epsilon for the largest, in both
    assert torch.allclose(both[:, :100].mean(1), torch.tensor(0.167), atol=0.03)
    assert torch.allclose(both[:, -100:].mean(1), torch.tensor(0.833), atol=0.03)
    assert not torch.equal(both[0], both[1])


def test_rows_of_one_and_impossible_numbers_fail_as_in_mergekit() -> None:
    one, ones = torch.zeros(3, 1), torch.ones(3, 1)
    with pytest.raises(MergeError, match="rows of one element"):
        merged("della", one, [ones], weights(1, density=0.5, epsilon=0.1))
    with pytest.raises(MergeError, match="density - epsilon"):
        merged("della", one, [ones], weights(1, density=0.5, epsilon=0.5))
    with pytest.raises(MergeError, match="density below 0"):
        merged("dare_ties", one, [ones], weights(1, density=-0.5))


def test_density_beyond_its_ends_keeps_all_or_nothing() -> None:
    base, expert = torch.zeros(2, 3), torch.arange(6.0).view(2, 3)
    for method, more in (("ties", {}), ("dare_linear", {}), ("della", {"epsilon": 0.1})):
        whole = merged(method, base, [expert], weights(1, density=1.5, **more))
        assert torch.equal(whole, expert)
        assert not merged(method, base, [expert], weights(1, density=0.0, **more)).any()


def test_weights_that_cancel_divide_all_the_same() -> None:
    first, second = tensor([1.0, 2.0, 3.0]), tensor([1.0, 1.0, 4.0])
    made = merged("linear", None, [first, second], weights(1, -1), normalize=True)
    assert made[0].isnan() and made[1:].tolist() == [math.inf, -math.inf]
    made = merged(
        "multislerp", None, [first, second], weights(1, -1), normalize_weights=True, eps=1e-8
    )
    assert made.isnan().all()
    # task vectors are guarded: a sum next to nothing becomes 1
    made = merged("task_arithmetic", first, [second, first], weights(1, -1), normalize=True)
    assert torch.equal(made, second)


def test_linear_and_slerp_work_in_float32() -> None:
    # 1 + 3 x 1/256 = 1.0117.. rounded once is 1 + 1/128 (or 2/128): steps would lose the small one
    parts = [tensor([1.0]), *(tensor([1 / 256]) for _ in range(3))]
    made = merged("linear", None, parts, weights(1, 1, 1, 1), normalize=False)
    assert made.item() == 1 + 2 / 128  # 1.5/128 lies at a half: to even
    a, b = tensor([1.0, 0.0]), tensor([0.0, 1.0])
    made = merged("slerp", a, [b], t=1 / 3)
    wanted = torch.tensor([math.sin(math.pi / 3), math.sin(math.pi / 6)]).to(BFLOAT16)
    assert torch.equal(made, wanted)


@pytest.mark.parametrize("method", ["nuslerp", "multislerp", "karcher"])
def test_the_middle_of_a_right_angle(method: str) -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    output = {
        "nuslerp": {"nuslerp_flatten": True, "nuslerp_row_wise": False},
        "multislerp": {"normalize_weights": True, "eps": 1e-8},
        "karcher": {"max_iter": 10, "tol": 1e-5},
    }
    made = merged(method, None, [a, b], weights(1, 1), **output[method])
    assert torch.allclose(made, torch.full((1, 2), math.sqrt(2)), atol=1e-6)


def test_nuslerp_rows_lie_along_either_dimension() -> None:
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    second = torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    own = weights(1, 1)
    rows = {"nuslerp_flatten": False, "nuslerp_row_wise": False}
    made = merged("nuslerp", None, [first, second], own, **rows)
    half = math.sqrt(0.5)
    assert torch.allclose(made, torch.tensor([[half, half], [0.0, 1.5]]), atol=1e-6)
    columns = {"nuslerp_flatten": False, "nuslerp_row_wise": True}
    made = merged("nuslerp", None, [first.T.contiguous(), second.T.contiguous()], own, **columns)
    assert torch.allclose(made.T, torch.tensor([[half, half], [0.0, 1.5]]), atol=1e-6)


def test_model_stock_of_deltas_at_a_right_angle_is_the_base() -> None:
    base = torch.tensor([1.0, 1.0])
    experts = [torch.tensor([2.0, 1.0]), torch.tensor([1.0, 2.0])]
    assert torch.equal(merged("model_stock", base, experts, filter_wise=False), base)
    twice = [torch.tensor([2.0, 1.0]), torch.tensor([2.0, 1.0])]
    assert torch.allclose(merged("model_stock", base, twice, filter_wise=False), twice[0])


def test_nearswap_takes_what_is_near() -> None:
    base, expert = torch.tensor([0.0, 0.0]), torch.tensor([0.1, 1.0])
    made = merged("nearswap", base, [expert], t=0.5)
    assert torch.allclose(made, torch.tensor([0.1, 0.5]))


def test_sce_selects_weighs_and_erases() -> None:
    base = torch.zeros(4)
    experts = [torch.tensor([3.0, 1.0, 1.0, 0.0]), torch.tensor([-1.0, 1.0, 2.0, 0.0])]
    made = merged("sce", base, experts, select_topk=1.0)
    # energies 11 and 6 of 17; the first element is the first expert's alone
    assert torch.allclose(made, torch.tensor([3.0, 1.0, 23 / 17, 0.0]))
    made = merged("sce", base, experts, select_topk=0.5)  # two elements vary: one is kept
    assert torch.allclose(made, torch.tensor([3.0, 0.0, 0.0, 0.0]))


def test_ram_and_its_raised_sister_end_in_their_own_dtypes() -> None:
    base = tensor([0.0, 0.0, 0.0])
    experts = [tensor([1.0, 2.0, 0.0]), tensor([0.0, 4.0, 0.0])]
    made = merged("ram", base, experts, epsilon=1e-5)
    assert made.dtype == BFLOAT16 and made.tolist() == [1.0, 3.0, 0.0]
    made = merged("ramplus_tl", base, experts, epsilon=1e-5, r=0.1, alpha=0.5)
    # the first has one element alone, one shared: 1 + 0.1 x min(1, 0.5)
    assert made.dtype == torch.float32
    assert torch.allclose(made, torch.tensor([1.05, 3.0, 0.0]))


def test_arcee_fusion_takes_what_matters_and_ends_in_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(8, 16, generator=generator).to(BFLOAT16)
    expert = (base + 0.01 * torch.randn(8, 16, generator=generator)).to(BFLOAT16)
    expert[3, 5] = 9.0
    made = merged("arcee_fusion", base, [expert])
    assert made.dtype == torch.float32
    # base + the delta, which was rounded, or base + 0
    whole = base.float() + (expert - base).float()
    assert made[3, 5] == whole[3, 5]
    assert bool(((made == whole) | (made == base.float())).all())
    assert 0 < int((made != base.float()).sum()) < 64


def test_a_scale_multiplies_and_is_rounded_once() -> None:
    assert merged("passthrough", None, [tensor([3.0])], [{"scale": 0.3}]).item() == 230 / 256


@pytest.mark.parametrize("method", ["dare_ties", "karcher", "model_stock", "nuslerp"])
def test_threads_change_no_bit(method: str) -> None:
    generator = torch.Generator().manual_seed(1)
    base, *experts = (torch.randn(300, 400, generator=generator).to(BFLOAT16) for _ in range(3))
    own = weights(0.4, 0.7, density=0.5)
    output = {"rescale": True, "max_iter": 4, "tol": 1e-5, "filter_wise": False}
    output |= {"nuslerp_flatten": True, "nuslerp_row_wise": False}
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 8):
            torch.set_num_threads(threads)
            found.append(merged(method, base, experts, own, **output))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
