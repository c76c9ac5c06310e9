"""One suite over all merge methods: what must hold of each, whatever its numbers.

Cases are generated from the table of methods, so a new method is in it by its line there.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from merging.errors import MergeError
from merging.kernels.masks import draws, mask_keys
from merging.merge import merge_tensor
from merging.methods.method import Method
from merging.methods.parameters import Parameter
from merging.methods.table import METHODS
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference, Scalar

NAME = "model.layers.0.mlp.up_proj.weight"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ORDERLESS = frozenset(METHODS) - {"slerp", "nuslerp", "nearswap", "arcee_fusion", "passthrough"}
"""Methods of any number of models, for which the order of a recipe does not matter but in the
rounding of sums and, for random ones, in which mask is whose."""
ANGLES = frozenset({"slerp", "nuslerp", "multislerp", "karcher", "model_stock"})
many = settings(deadline=None, derandomize=True, max_examples=25)
every_method = pytest.mark.parametrize("name", METHODS)


@dataclass(frozen=True)
class Case:
    """A job over tensors that are made from a seed."""

    job: TensorJob
    tensors: Mapping[str, torch.Tensor]

    def merged(self, **options) -> torch.Tensor:
        """What merge_tensor makes of it."""
        return merge_tensor(self.job, self.fetch, 7, **options)

    def fetch(self, model: ModelReference, name: str) -> torch.Tensor:
        """A model's tensor."""
        return self.tensors[model.path]


def values(parameter: Parameter) -> st.SearchStrategy[Scalar]:
    if parameter.kind == "bool":
        return st.booleans()
    if parameter.kind == "int":
        return st.integers(0, 12)
    inside = {
        "weight": (0.05, 2.0), "density": (0.3, 0.7), "epsilon": (0.0, 0.25), "t": (0.0, 1.0),
        "gamma": (0.0, 0.2), "eps": (0.0, 1e-6), "tol": (1e-7, 1e-3), "lambda": (0.2, 1.5),
    }  # fmt: skip
    low, high = inside.get(parameter.name, (max(parameter.low, 0.0), min(parameter.high, 1.0)))
    return st.floats(low or (0.01 if parameter.low_open else 0.0), high)


def numbers(method: Method, scope: str) -> st.SearchStrategy[dict[str, Scalar]]:
    own = [one for one in method.parameters if one.scope == scope]
    return st.fixed_dictionaries({one.name: values(one) for one in own})


shapes = st.one_of(
    st.tuples(st.integers(1, 5000)),
    st.tuples(st.integers(1, 40), st.integers(1, 60)),
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
)


@st.composite
def cases(draw: st.DrawFn, name: str, dtype: str = "float32") -> Case:
    method = METHODS[name]
    low, high = method.experts
    count = draw(st.integers(max(low, min(2, high or 2)), min(4, high or 4)))
    based = method.base == "required" or (method.base == "optional" and draw(st.booleans()))
    experts = [draw(numbers(method, "model")) for _ in range(count)]
    tensors = family(draw(shapes), count, draw(st.integers(0, 99)), DTYPES[dtype])
    sources = tuple(
        TensorSource(ModelReference(f"e{e}"), NAME, own) for e, own in enumerate(experts)
    )
    base = TensorSource(ModelReference("base"), NAME, {}) if based else None
    job = TensorJob(NAME, name, base, sources, draw(numbers(method, "global")), 0, dtype)
    return Case(job, tensors)


def family(
    shape: Sequence[int], experts: int, seed: int, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """A base and experts near it, of magnitudes that differ."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    found = {"base": base.to(dtype)}
    for e in range(experts):
        delta = torch.randn(shape, generator=generator) * (0.05 + 0.03 * e)
        found[f"e{e}"] = (base + delta).to(dtype)
    return found


def with_numbers(case: Case, **own: Scalar) -> Case:
    """The case with some numbers of every expert and of the output replaced."""
    method = METHODS[case.job.method]
    scopes = {one.name: one.scope for one in method.parameters}
    model = {name: value for name, value in own.items() if scopes.get(name) == "model"}
    output = {name: value for name, value in own.items() if scopes.get(name) == "global"}
    sources = tuple(
        replace(one, parameters={**one.parameters, **model}) for one in case.job.sources
    )
    job = replace(case.job, sources=sources, parameters={**case.job.parameters, **output})
    return replace(case, job=job)


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-5) -> bool:
    scale = max(one.abs().max().item(), other.abs().max().item(), 1.0)
    return (one - other).abs().max().item() <= tolerance * scale


@every_method
@many
@given(st.data())
def test_kernel_and_twin_agree(name: str, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(sorted(DTYPES)))
    case = data.draw(cases(name, dtype))
    try:
        kernel = case.merged()
    except MergeError:
        with pytest.raises(MergeError):
            case.merged(engine="torch")
        return
    twin = case.merged(engine="torch")
    if name not in ANGLES:
        assert torch.equal(kernel, twin)
    elif dtype == "bfloat16":
        apart = kernel.view(torch.int16).int() - twin.view(torch.int16).int()
        assert apart.abs().max() <= 1
    else:
        assert close(kernel.float(), twin.float(), 2e-3 if dtype == "float16" else 1e-6)


@every_method
def test_one_two_and_eight_threads_give_the_same_bits(name: str) -> None:
    method = METHODS[name]
    shape, count = (700, 900), max(2, method.experts[0])
    count = min(count, method.experts[1] or count)
    own = {"weight": 0.4, "density": 0.5, "epsilon": 0.1, "gamma": 0.1}
    tensors = family(shape, count, 3, torch.bfloat16)
    sources = tuple(
        TensorSource(
            ModelReference(f"e{e}"), NAME,
            {one.name: own[one.name] for one in method.parameters
             if one.scope == "model" and one.name in own},
        )
        for e in range(count)
    )  # fmt: skip
    base = TensorSource(ModelReference("base"), NAME, {}) if method.base_apart else None
    output = {"t": 0.3} if method.parameter("t") else {}
    case = Case(TensorJob(NAME, name, base, sources, output, 0, "bfloat16"), tensors)
    alone = case.merged()
    for threads in (2, 8):
        with ThreadPoolExecutor(threads) as pool:
            assert torch.equal(case.merged(pool=pool), alone)


@every_method
@many
@given(st.data())
def test_equal_models_merge_to_that_model(name: str, data: st.DataObject) -> None:
    """Whatever a method does with differences, where there are none nothing changes."""
    case = data.draw(cases(name))
    case = with_numbers(case, normalize=True, scale=1.0, normalize_weights=True)
    first = case.tensors["base"]
    same = replace(case, tensors=dict.fromkeys(case.tensors, first))
    assert close(same.merged(), first, 3e-6)


@every_method
@many
@given(st.data())
def test_the_ends_of_t_and_weight_give_back_a_parent(name: str, data: st.DataObject) -> None:
    method = METHODS[name]
    case = data.draw(cases(name))
    base = case.tensors["base"]
    if name in ("slerp", "nearswap"):
        assert close(with_numbers(case, t=0.0).merged(), base, 1e-6)
        assert close(with_numbers(case, t=1e9 if name == "nearswap" else 1.0).merged(),
                     case.tensors["e0"], 1e-6)  # fmt: skip
    elif method.parameter("lambda"):
        nothing = with_numbers(case, weight=0.0).merged()
        assert torch.equal(nothing, base)
        assert torch.equal(with_numbers(case, **{"lambda": 0.0}).merged(), base)
        alone = only_first(with_numbers(case, density=1.0, **{"lambda": 1.0}))
        assert close(alone.merged(), case.tensors["e0"], 1e-6)
    elif method.parameter("weight"):
        assert close(only_first(case).merged(), case.tensors["e0"], 3e-6)


def only_first(case: Case) -> Case:
    """Weight 1 for the first expert, 0 for the others."""
    own = [
        replace(one, parameters={**one.parameters, "weight": float(index == 0)})
        for index, one in enumerate(case.job.sources)
    ]
    return replace(case, job=replace(case.job, sources=tuple(own)))


@pytest.mark.parametrize("name", sorted(ORDERLESS))
@many
@given(st.data())
def test_the_order_of_models_does_not_matter(name: str, data: st.DataObject) -> None:
    case = with_numbers(data.draw(cases(name)), density=1.0)  # random methods: whose mask is whose
    order = data.draw(st.sampled_from(list(permutations(range(len(case.job.sources))))))
    sources = tuple(case.job.sources[index] for index in order)
    turned = replace(case, job=replace(case.job, sources=sources))
    near_zero = sum_of_deltas(case).abs() < 1e-6  # there a rounding may turn the vote
    assume(near_zero.float().mean() < 0.01)
    one, other = case.merged(), turned.merged()
    assert close(one[~near_zero], other[~near_zero], 1e-5) if one[~near_zero].numel() else True


def sum_of_deltas(case: Case) -> torch.Tensor:
    weights = [float(one.parameters.get("weight", 1.0)) for one in case.job.sources]
    base = case.tensors["base"]
    pairs = zip(weights, case.job.sources, strict=True)
    return sum((w * (case.tensors[one.model.path] - base) for w, one in pairs), base * 0)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].parameter("density")])
@many
@given(st.data())
def test_raising_a_density_only_adds_elements(name: str, data: st.DataObject) -> None:
    """Of one expert alone, so that what is kept shows in the result."""
    case = data.draw(cases(name))
    case = only_first(with_numbers(case, rescale=False, normalize=False, **{"lambda": 1.0}))
    case = replace(case, job=replace(case.job, sources=case.job.sources[:1]))
    low, high = sorted(data.draw(st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7))))
    fewer, more = (with_numbers(case, density=one).merged() for one in (low, high))
    base = case.tensors["base"]
    assert not ((fewer != base) & (more == base)).any()
    assert (more != base).sum() >= int((high - low) * base.numel() / 2) * (name in ("ties",))


@pytest.mark.parametrize("what", ["experts", "tensors", "seeds"])
def test_masks_are_independent(what: str) -> None:
    """Correlation of keeping, over pairs of masks, within the error of sampling."""
    elements, device = 200_000, torch.device("cpu")
    names = {
        "experts": [(0, "w", e) for e in range(6)],
        "tensors": [(0, f"model.layers.{e}.w", 0) for e in range(6)],
        "seeds": [(e, "w", 0) for e in range(6)],
    }[what]
    masks = [
        (draws(mask_keys(*one, elements), 0, elements, device) < 1 << 23).double() for one in names
    ]
    for one, other in combinations(masks, 2):
        correlation = torch.corrcoef(torch.stack([one, other]))[0, 1].item()
        assert abs(correlation) < 5 / elements**0.5
    assert all(abs(mask.mean().item() - 0.5) < 5 * 0.5 / elements**0.5 for mask in masks)


@every_method
def test_a_nan_in_a_model_stays_where_it_is(name: str) -> None:
    method = METHODS[name]
    if name in ANGLES | {"arcee_fusion", "sce"}:
        pytest.skip("one coefficient is for many elements: a NaN spreads, and models are scanned")
    count = min(2, method.experts[1] or 2)
    tensors = {key: one.clone() for key, one in family((40,), count, 0, torch.float32).items()}
    tensors["e0"][3] = torch.nan
    own = {"weight": 1.0} if method.parameter("weight") else {}
    sources = tuple(TensorSource(ModelReference(f"e{e}"), NAME, own) for e in range(count))
    base = TensorSource(ModelReference("base"), NAME, {}) if method.base_apart else None
    output = {"t": 0.3} if method.parameter("t") else {}
    for engine in ("kernel", "torch"):
        made = Case(TensorJob(NAME, name, base, sources, output, 0, "float32"), tensors).merged(
            engine=engine
        )
        assert made[3].isnan() and not made[:3].isnan().any() and not made[4:].isnan().any()
