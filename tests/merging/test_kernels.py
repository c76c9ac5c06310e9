"""The compiled kernels against their twin in torch: equal bits, whatever dtypes and threads."""

import importlib.util
import itertools
import math
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from merging.kernels import compiled, norms, order
from merging.kernels.cpu import CHUNK, Compiled
from merging.kernels.delta import Delta, ranks
from merging.kernels.elements import LIKE
from merging.kernels.jit import compiled as compile_kernel
from merging.kernels.masks import mask_keys, threshold
from merging.kernels.numbers import rank_limits, rescaling
from merging.kernels.ranks import row_ranks as row_ranks_kernel
from merging.kernels.twin import Twin, kept_mask, l1_norm, row_ranks
from merging.methods.formula import Sparsity, TaskVectors, WeightedMean

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
RULES = ("all", "magnitude", "random", "rank", "band")
INTEGERS = {2: torch.int16, 4: torch.int32}

shapes = st.one_of(
    st.tuples(st.integers(1, 20_000)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12)),
)
weights = st.floats(-3, 3, width=32)


@st.composite
def sparsities(draw: st.DrawFn) -> Sparsity:
    rule = draw(st.sampled_from(RULES))
    if rule == "all":
        return Sparsity()
    epsilon = draw(st.floats(0, 0.1)) if rule == "rank" else 0.0
    gamma = draw(st.floats(0, 0.5)) if rule == "band" else 0.0
    return Sparsity(rule, draw(st.floats(0.11, 0.89)), epsilon, draw(st.booleans()), gamma)


@st.composite
def formulas(draw: st.DrawFn) -> TaskVectors:
    rules = tuple(draw(st.lists(sparsities(), min_size=1, max_size=4)))
    own = tuple(draw(weights) for _ in rules)
    return TaskVectors(own, rules, draw(st.booleans()), draw(st.booleans()), draw(weights))


def models(shape, dtypes, seed: int, coarse: bool = False) -> list[torch.Tensor]:
    """A base and experts near it; coarse ones have few distinct deltas, some of them zero."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    tensors = [base.to(dtypes[0])]
    for dtype in dtypes[1:]:
        noise = torch.randn(shape, generator=generator)
        step = (noise * 1.5).round() / 64 if coarse else noise * 0.02
        tensors.append((tensors[0].float() + step).to(dtype))
    return tensors


def keys_of(experts: int, elements: int, seed: int = 0):
    return [mask_keys(seed, "x", position, elements) for position in range(experts)]


def sparsify(delta: torch.Tensor, sparsity: Sparsity) -> torch.Tensor:
    return delta * kept_mask(delta, sparsity, ())


def assert_same_bits(one: torch.Tensor, other: torch.Tensor) -> None:
    """Equal bits, the sign of zero included; a NaN equals a NaN."""
    assert one.dtype == other.dtype
    integer = INTEGERS[one.element_size()]
    same = (one.view(integer) == other.view(integer)) | (one.isnan() & other.isnan())
    assert same.all(), f"{(~same).sum()} of {same.numel()} differ"


@given(
    formulas(), shapes, st.lists(st.sampled_from(DTYPES), min_size=6, max_size=6), st.booleans()
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_task_vectors_equal_the_twin(formula, shape, dtypes, coarse):
    experts = len(formula.weights)
    base, *tuned = models(shape, dtypes[1 : experts + 2], experts, coarse)
    keys = keys_of(experts, base.numel())
    fast, plain = (torch.empty(shape, dtype=dtypes[0]) for _ in range(2))
    Compiled(None).task_vectors(base, tuned, formula, keys, fast)
    Twin().task_vectors(base, tuned, formula, keys, plain)
    assert_same_bits(fast, plain)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("elect", "normalize"), [(False, True), (True, False), (True, True)])
def test_few_experts_of_one_rule_equal_the_twin(rule, elect, normalize):
    """They take a way of their own, in registers."""
    base, *tuned = models((37, 211), (torch.bfloat16,) * 4, 5, coarse=True)
    sparsity = Sparsity(rule, 0.43, 0.1 if rule == "rank" else 0.0, rule != "band", 0.05)
    formula = TaskVectors((0.7, -0.4, 0.5), (sparsity,) * 3, elect, normalize, 0.8)
    keys = keys_of(3, base.numel())
    fast, plain = torch.empty_like(base), torch.empty_like(base)
    Compiled(None).task_vectors(base, tuned, formula, keys, fast)
    Twin().task_vectors(base, tuned, formula, keys, plain)
    assert_same_bits(fast, plain)
    assert not torch.equal(fast, base)


@given(
    st.lists(weights, min_size=1, max_size=5),
    st.one_of(st.none(), st.floats(0.1, 4)),
    shapes,
    st.lists(st.sampled_from(DTYPES), min_size=6, max_size=6),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_weighted_means_equal_the_twin(own, divisor, shape, dtypes):
    tensors = models(shape, dtypes[: len(own)], 0)
    formula = WeightedMean(tuple(own), divisor)
    fast, plain = (torch.empty(shape, dtype=dtypes[5]) for _ in range(2))
    Compiled(None).weighted_mean(tensors, formula, fast)
    Twin().weighted_mean(tensors, formula, plain)
    assert_same_bits(fast, plain)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("coarse", [False, True])
def test_threads_change_no_bit(rule, coarse):
    shape = (1030, 777)
    assert shape[0] * shape[1] > 3 * CHUNK
    base, *tuned = models(shape, (torch.bfloat16,) * 3, 1, coarse)
    sparsity = Sparsity(rule, 0.37, 0.1 if rule == "rank" else 0.0, rule != "all", 0.02)
    formula = TaskVectors((0.7, -0.4), (sparsity, sparsity), True, True, 1.3)
    keys = keys_of(2, base.numel())
    plain = torch.empty(shape, dtype=torch.bfloat16)
    Twin().task_vectors(base, tuned, formula, keys, plain)
    for threads in (1, 2, 8):
        with ThreadPoolExecutor(threads) as pool:
            fast = torch.empty_like(plain)
            Compiled(pool).task_vectors(base, tuned, formula, keys, fast)
        assert_same_bits(fast, plain)
    fast = torch.empty_like(plain)
    Compiled(None).task_vectors(base, tuned, formula, keys, fast)
    assert_same_bits(fast, plain)


@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_every_16_bit_pattern_is_read_and_written(dtype):
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype)
    single = torch.empty(2**16, dtype=torch.float32)
    back = torch.empty(2**16, dtype=dtype)
    Compiled(None).weighted_mean([patterns], WeightedMean((1.0,), None), single)
    Compiled(None).weighted_mean([single], WeightedMean((1.0,), None), back)
    negative_zero = patterns.view(torch.int16) == -(2**15)
    assert torch.equal(single.isnan(), patterns.isnan())
    assert_same_bits(single[~negative_zero], patterns.float()[~negative_zero])
    assert_same_bits(back[~negative_zero], patterns[~negative_zero])


@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_rounding_is_to_nearest_even(dtype):
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(-(2**31), 2**31, (1 << 18,), generator=generator)
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(dtype).float()
    middles = (halves[:-1] + halves[1:]) / 2  # ties: half-way between two neighbours
    values = torch.cat([words.to(torch.int32).view(torch.float32), middles])
    out = torch.empty(len(values), dtype=dtype)
    Compiled(None).weighted_mean([values], WeightedMean((1.0,), None), out)
    assert_same_bits(out + 0.0, values.to(dtype) + 0.0)


@pytest.mark.parametrize("engine", [Compiled(None), Twin()])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("elect", [False, True])
@pytest.mark.parametrize("where", ["base", "expert"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_stays_a_nan(engine, rule, rescale, elect, where, dtype):
    base, first, second = models((64, 80), (dtype,) * 3, 2)
    for index in range(0, 5120, 40):  # some are dropped, and dropping hides none
        (base if where == "base" else second).view(-1)[index] = torch.nan
    sparsity = Sparsity(rule, 0.5, 0.1 if rule == "rank" else 0.0, rescale)
    formula = TaskVectors((0.5, 0.5), (Sparsity(), sparsity), elect, True, 1.0)
    out = torch.empty_like(base)
    engine.task_vectors(base, [first, second], formula, keys_of(2, out.numel()), out)
    holes = out.isnan().view(-1)
    assert holes[::40].all()
    spread = rescale and rule != "all"  # a norm that is NaN makes every element NaN
    assert holes.all() if spread else holes.sum() == 128


def test_inputs_of_any_layout_are_read():
    base, expert = models((50, 70), (torch.bfloat16,) * 2, 3)
    formula = TaskVectors((0.5,), (Sparsity("magnitude", 0.5),), False, False, 1.0)
    expected, made = torch.empty_like(base), torch.empty_like(base)
    keys = keys_of(1, base.numel())
    Compiled(None).task_vectors(base, [expert], formula, keys, expected)
    turned = expert.T.contiguous().T
    wide = base.double()
    Compiled(None).task_vectors(wide, [turned], formula, keys, made)
    assert_same_bits(made, expected)
    room = torch.empty(2 * base.numel() + 1, dtype=torch.uint8)
    odd = room.numpy()[1:].view(np.uint16)  # an address that is not a multiple of 2
    odd[:] = base.view(torch.int16).numpy().view(np.uint16).reshape(-1)
    unaligned = torch.from_numpy(odd.view(np.int16)).view(torch.bfloat16).view(50, 70)
    assert unaligned.data_ptr() % 2 == 1
    Compiled(None).task_vectors(unaligned, [expert], formula, keys, made)
    assert_same_bits(made, expected)


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=300), st.floats(0.01, 0.99))
@settings(max_examples=80, deadline=None)
def test_the_magnitude_rule_keeps_the_largest_in_element_order(values, density):
    delta = torch.tensor(values, dtype=torch.float32)
    made = sparsify(delta, Sparsity("magnitude", density))
    count = max(1, int(density * len(values)))
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:count]
    assert made.tolist() == [v if i in order else 0 for i, v in enumerate(values)]


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=300), st.floats(0, 1), st.floats(0, 0.99))
@settings(max_examples=80, deadline=None)
def test_the_band_rule_in_closed_form(values, density, gamma):
    n = len(values)
    target, top = int(density * n), int(gamma * n)
    bottom = max(0, n - target - top)
    kept = sorted(range(n), key=lambda i: (abs(values[i]), i))[bottom : bottom + target]
    expected = [value if i in kept else 0 for i, value in enumerate(values)]
    delta, sparsity = torch.tensor(values, dtype=torch.float32), Sparsity("band", density)
    sparsity = replace(sparsity, gamma=gamma)
    assert sparsify(delta, sparsity).tolist() == expected
    formula = TaskVectors((1.0,), (sparsity,), False, False, 1.0)
    made, base = torch.empty_like(delta), torch.zeros_like(delta)
    Compiled(None).task_vectors(base, [delta], formula, keys_of(1, n), made)
    assert made.tolist() == expected


def test_bands_without_outliers_and_of_everything():
    delta = torch.tensor([3.0, -1.0, 2.0, -4.0])
    assert sparsify(delta, Sparsity("band", 0.5)).tolist() == [3, 0, 0, -4]
    assert sparsify(delta, Sparsity("band", 0.5, gamma=0.25)).tolist() == [3, 0, 2, 0]
    assert sparsify(delta, Sparsity("band", 1.0, gamma=0.25)).tolist() == delta.tolist()


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.3])
def test_raising_the_density_of_a_band_only_adds(gamma):
    base, tuned = models((40, 50), (torch.bfloat16,) * 2, 0, coarse=True)
    delta = tuned.float() - base.float() + 2**-20  # no zeros: what is kept can be told
    kept = [sparsify(delta, Sparsity("band", step / 20, gamma=gamma)) != 0 for step in range(21)]
    for step, (fewer, more) in enumerate(itertools.pairwise(kept)):
        assert (fewer <= more).all() and fewer.sum() == int(step / 20 * delta.numel())


def ranks_by_sorting(words, width: int) -> list[int]:
    """The bytes of one row, from the words of its magnitudes, as the docstring has them."""
    if 1 < width <= 255:
        ranks: list[int] = words.argsort(kind="stable").argsort().tolist()
        return ranks
    cut = (words >> 16).astype(np.int64)
    cut = np.maximum(cut, cut.max() - (16 << 7))
    ordered = np.sort(cut)
    mean = [np.flatnonzero(ordered == word).mean() for word in cut]
    return [int(rank * 254 / (width - 1) + 0.5) if width > 1 else 127 for rank in mean]


@given(
    st.integers(1, 40) | st.sampled_from([255, 256, 700]),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_ranks_are_those_of_sorting(width, inner, slabs, seed):
    words = np.random.default_rng(seed).integers(2**29, 2**30, (slabs, width, inner), np.uint32)
    words[words % 3 == 0] = 2**29 + 7  # equal magnitudes
    words[words % 5 == 0] = 0
    delta = torch.from_numpy(words.view(np.float32))
    zero = torch.zeros_like(delta)
    table = (zero.data_ptr(), delta.data_ptr(), LIKE[torch.float32], delta.numel())
    made = ranks(Delta(*table), width, inner, lambda work, rows, unit=1: [work(0, rows)])
    expected = [
        [ranks_by_sorting(words[slab, :, column], width) for column in range(inner)]
        for slab in range(slabs)
    ]
    assert made.reshape(slabs, width, inner).transpose(0, 2, 1).tolist() == expected
    assert row_ranks(delta).flatten().tolist() == made.tolist()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e30])
def test_norms_are_exact_to_a_part_in_a_million(scale):
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0)) * scale
    exact = math.fsum(abs(value) for value in values.tolist())
    assert l1_norm(values) == pytest.approx(exact, rel=1e-6)


@given(st.floats(0.2, 0.8), st.floats(0, 0.2))
def test_limits_of_ranks_are_thresholds(density, epsilon):
    for width, top in ((1, 254), (2, 1), (50, 49), (255, 254), (256, 254), (4000, 254)):
        below, step = rank_limits(Sparsity("rank", density, epsilon), width)
        assert below == threshold(density - epsilon)
        for rank in {0, 1, top // 2, top}:
            expected = threshold(density - epsilon + 2 * epsilon * rank / top)
            assert abs(below + (step * rank >> 8) - expected) <= 2


LAYOUTS = {
    "spread": lambda n, rng: rng.standard_normal(n),
    "tied": lambda n, rng: np.round(rng.standard_normal(n) * 3),
    "equal": lambda n, rng: np.ones(n),
    "rows": lambda n, rng: np.repeat(rng.standard_normal(-(-n // 2000)), 2000)[:n],  # misleading
    "sorted": lambda n, rng: np.sort(rng.standard_normal(n)),
    "broken": lambda n, rng: np.where(rng.random(n) < 0.1, np.nan, rng.standard_normal(n)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("elements", [1, 15, 4097, 16_385, 150_001])
def test_order_statistics_are_those_of_sorting(layout, elements):
    values = LAYOUTS[layout](elements, np.random.default_rng(0)).astype(np.float32)
    words = values.view(np.uint32) & 0x7FFFFFFF
    ordered = np.sort(words)[::-1]
    zeros = np.zeros(elements, np.float32)
    read = (zeros.ctypes.data, values.ctypes.data, LIKE[torch.float32], elements)
    for count in {1, 2, *(max(1, elements * part // 16) for part in (1, 5, 8, 15, 16))}:
        if count > elements:
            continue
        word, place, equal = order.nth_largest(*read, count)
        assert word == ordered[count - 1] and equal == (words == word).sum()
        assert place == count - (words > word).sum()
        where = order.find_equal(*read, word, place)
        assert where == np.flatnonzero(words == word)[place - 1]


def test_rescaling_in_closed_form():
    assert rescaling(3.0, 1.5) == 2.0
    assert rescaling(1.0, 0.0) == 1.0
    assert rescaling(1e-8, 1e-9) == 1.0
    assert math.isnan(rescaling(math.nan, 1.0))


def test_kernels_do_without_a_cache_folder():
    space: dict[str, Callable[[int], int]] = {}
    exec("def double(x):\n    return 2 * x", space)  # of no file, so numba finds no folder for it
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(space["double"])
    assert compile_kernel(space["double"])(4) == 8


@pytest.fixture
def kernel_file(tmp_path):
    """Compiles a kernel that stands in a file of its own."""
    file = tmp_path / "kernel.py"
    file.write_text("def double(x):\n    return 2 * x\n")

    def compile_it():
        spec = importlib.util.spec_from_file_location("kernel", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return compile_kernel(module.double)

    return compile_it


def cached(kernel) -> bool:
    """Whether its machine code came from the disk."""
    assert kernel(4) == 8
    return bool(kernel.stats.cache_hits)


def test_the_cache_sees_edits_of_other_files(kernel_file, tmp_path):
    (tmp_path / "part.py").write_text("x = 1")
    assert [cached(kernel_file()) for _ in range(2)] == [False, True]
    (tmp_path / "part.py").write_text("x = 2")
    assert [cached(kernel_file()) for _ in range(2)] == [False, True]
    (tmp_path / "another.py").write_text("")
    assert not cached(kernel_file())


def test_a_damaged_cache_costs_a_compilation(kernel_file, tmp_path):
    assert not cached(kernel_file())
    for file in (tmp_path / "__pycache__").glob("*.nb*"):
        file.write_bytes(file.read_bytes()[:100])
    assert not cached(kernel_file()) and cached(kernel_file())


def test_a_cache_that_cannot_be_written_is_done_without(kernel_file, tmp_path):
    kernel = kernel_file()
    shutil.rmtree(tmp_path / "__pycache__")
    (tmp_path / "__pycache__").write_text("a file is in the way")
    assert not cached(kernel)


def test_kernels_are_compiled_once_for_dtypes():
    """Types that vary would cost seconds each; the tests above used every dtype and shape."""
    out = torch.empty(8, dtype=torch.bfloat16)
    for dtype in DTYPES:
        tensors = models((8,), (dtype,) * 3, 0)
        Compiled(None).weighted_mean(tensors, WeightedMean((1.0, 2.0, 3.0), 6.0), out)
        for rule in RULES:
            formula = TaskVectors((1.0, 2.0), (Sparsity(rule, 0.5, 0.1, True),) * 2, True, True, 1)
            Compiled(None).task_vectors(tensors[0], tensors[1:], formula, keys_of(2, 8), out)
    pairs = [compiled.weighted_mean, compiled.task_vectors]  # of an input's and the output's
    assert all(len(kernel.signatures) <= 5 for kernel in pairs)
    singles = [norms.block_norms, order.nth_largest, order.find_equal, row_ranks_kernel]
    assert all(len(kernel.signatures) <= 3 for kernel in singles)
    assert len(norms.totals.signatures) == 1
