"""SCE, RAM, NearSwap, Arcee Fusion and passthrough in closed form."""

import math

import pytest
import torch

from .test_span import merged

both = pytest.mark.parametrize("engine", ["kernel", "torch"])
BASE = [10.0, 10.0, 10.0, 10.0]


def around(*deltas):
    return [[b + d for b, d in zip(BASE, delta, strict=True)] for delta in deltas]


@both
def test_sce_weighs_by_energy_and_elects_signs(engine):
    """Squares 16 and 4: weights 0.8 and 0.2; the second element's signs differ, 3 - 1 > 0."""
    experts = around([2.0, 3.0, 0.0, math.sqrt(3)], [1.0, -1.0, 1.0, 1.0])
    made = merged("sce", experts, base=BASE, engine=engine) - torch.tensor(BASE)
    expected = [0.8 * 2 + 0.2 * 1, 3.0, 1.0, 0.8 * math.sqrt(3) + 0.2]
    assert made.tolist() == pytest.approx(expected, abs=2e-6)


@both
def test_sce_keeps_where_experts_vary_most(engine):
    """Variances 1, 4, 0, 0.25: of three that vary, int(3 x 0.7) = 2 are kept."""
    experts = around([2.0, 4.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0])
    made = merged("sce", experts, output={"select_topk": 0.7}, base=BASE, engine=engine)
    assert (made - torch.tensor(BASE)).tolist() == pytest.approx([2.0, 4.0, 0.0, 0.0], abs=2e-6)
    none = merged("sce", experts, output={"select_topk": 0.3}, base=BASE, engine=engine)
    assert none.tolist() == BASE


@both
def test_sce_weighs_evenly_where_nothing_has_energy(engine):
    experts = around([1e-4, 0.0, 0.0, 0.0], [3e-4, 0.0, 0.0, 0.0])
    zero = [[one - 10.0 for one in expert] for expert in experts]
    made = merged("sce", zero, base=[0.0] * 4, engine=engine)
    assert made[0].item() == pytest.approx(2e-4, rel=1e-2)


@both
def test_ram_averages_what_is_shared(engine):
    experts = around([1.0, 2.0, 0.0, 0.0], [3.0, 0.0, 0.0, -1.0], [5.0, 0.0, 0.0, 0.0])
    made = merged("ram", experts, base=BASE, engine=engine)
    assert made.tolist() == [13.0, 12.0, 10.0, 9.0]
    far = merged("ram", experts, output={"epsilon": 2.5}, base=BASE, engine=engine)
    assert far.tolist() == [14.0, 10.0, 10.0, 10.0]


@both
@pytest.mark.parametrize(("alpha", "raised"), [(10.0, 1.5), (0.2, 1.1)])
def test_ramplus_raises_what_is_an_experts_own(alpha, raised, engine):
    """The first shares one element and has one alone: ratio 1, at most alpha."""
    experts = around([1.0, 2.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0])
    made = merged(
        "ramplus_tl", experts, output={"r": 0.5, "alpha": alpha}, base=BASE, engine=engine
    )
    assert made.tolist() == pytest.approx([12.0, 10 + 2 * raised, 10.0, 10.0])


@both
def test_nearswap_takes_what_is_near(engine):
    made = merged("nearswap", around([0.5, 1.0, 2.0, -4.0]), output={"t": 1.0}, base=BASE,
                  engine=engine)  # fmt: skip
    assert made.tolist() == [10.5, 11.0, 11.0, 9.0]
    still = merged("nearswap", around([0.5, 0.0, 2.0, 1.0]), output={"t": 0.0}, base=BASE,
                   engine=engine)  # fmt: skip
    assert still.tolist() == BASE


@both
def test_arcee_fusion_takes_what_matters(engine):
    """One row: importance is |delta| times one number, so quartiles are those of |delta|."""
    deltas = [float(one) for one in range(1, 10)] + [40.0]
    base = [0.0] * 10
    made = merged("arcee_fusion", [deltas], base=base, engine=engine)
    # quartiles at places 2, 4, 6 of ten: 3, 5, 7; 5 + 1.5 x 4 = 11
    assert made.tolist() == [0.0] * 9 + [40.0]
    assert merged("arcee_fusion", [base], base=base, engine=engine).tolist() == base


def test_arcee_fusion_weighs_rows_by_their_divergence():
    """Against a plain computation in float64."""
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(12, 30, generator=generator)
    expert = base + 0.3 * torch.randn(12, 30, generator=generator)
    p, q = (one.double().softmax(-1) + 1e-8 for one in (expert, base))
    rows = (p * (p / q).log()).sum(-1, keepdim=True)
    importance = (expert - base).double().abs() * rows
    ordered = importance.flatten().sort().values
    first, middle, third = (ordered[place] for place in (359 // 4, 359 // 2, 3 * 359 // 4))
    taken = importance >= middle + 1.5 * (third - first)
    made = merged("arcee_fusion", [expert.tolist()], base=base.tolist())
    assert torch.equal(made, torch.where(taken, base + (expert - base), base))
    assert 0.01 < taken.float().mean() < 0.3


@both
def test_passthrough_takes_the_tensor_or_scales_it(engine):
    values = [1.5, -0.0, 3.0]
    made = merged("passthrough", [values], engine=engine)
    assert torch.equal(made, torch.tensor(values)) and math.copysign(1, made[1].item()) == -1
    assert merged("passthrough", [values], [{"scale": 0.5}], engine=engine).tolist() == [
        0.75, -0.0, 1.5,
    ]  # fmt: skip
