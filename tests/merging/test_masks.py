"""The mask generator against its specification, in plain integers, and against chance."""

import itertools
from hashlib import blake2b

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merging.kernels.jit import compiled
from merging.kernels.masks import WORD, draws, mask_key, mask_keys, threshold
from merging.kernels.primitives import draw, uint32

CPU = torch.device("cpu")


def specified_draw(seed: int, name: str, position: int, index: int) -> int:
    """The 24-bit draw as the docstring of the module gives it."""
    high, i = divmod(index, 2**32)
    text = f"{seed}\0{name}\0{position}" + (f"\0{high}" if high else "")
    digest = blake2b(text.encode("utf-8")).digest()
    k0, k1 = int.from_bytes(digest[0:4], "little"), int.from_bytes(digest[4:8], "little")
    x = i ^ k0
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = (x + k1) % 2**32
    x = x * 0x846CA68B % 2**32
    x ^= x >> 16
    return x >> 8


@compiled
def compiled_draws(keys, start, out):
    for i in range(len(out)):
        k0, k1 = keys[(start + i) >> 32]
        out[i] = draw(uint32((start + i) & 0xFFFFFFFF), k0, k1)


@given(
    st.integers(-(2**40), 2**40),
    st.text(max_size=30),
    st.integers(0, 9),
    st.one_of(st.integers(0, 2**20), st.integers(2**32 - 20, 2**32), st.integers(2**31, 2**35)),
)
@settings(max_examples=60, deadline=None)
def test_both_copies_equal_the_specification(seed, name, position, start):
    wanted = [specified_draw(seed, name, position, start + i) for i in range(40)]
    keys = mask_keys(seed, name, position, start + 40)
    assert draws(keys, start, start + 40, CPU).tolist() == wanted
    made = np.empty(40, np.uint32)
    compiled_draws(np.array(keys, np.uint32), start, made)
    assert made.tolist() == wanted


def test_the_format_stays_what_it_is():
    keys = mask_keys(7, "model.layers.0.mlp.up_proj.weight", 1, 4)
    assert mask_key(7, "model.layers.0.mlp.up_proj.weight", 1) == (886488003, 1356022337)
    assert draws(keys, 0, 4, CPU).tolist() == [13481323, 11469262, 7117737, 8140860]


def test_a_run_of_elements_has_a_key_of_its_own():
    keys = mask_keys(0, "x", 0, 2 * WORD + 1)
    assert len(keys) == 3 and len(set(keys)) == 3
    assert mask_keys(0, "x", 0, WORD) == keys[:1]
    assert mask_keys(0, "x", 0, 0) == keys[:1]


@pytest.mark.parametrize(("probability", "number"), [(0, 0), (0.5, 2**23), (1, 2**24)])
def test_thresholds_in_closed_form(probability, number):
    assert threshold(probability) == number


def test_probability_one_keeps_all_and_zero_none():
    drawn = draws(mask_keys(3, "x", 0, 5000), 0, 5000, CPU)
    assert (drawn < threshold(1.0)).all() and not (drawn < threshold(0.0)).any()


def test_raising_a_density_only_adds():
    drawn = draws(mask_keys(3, "x", 0, 50_000), 0, 50_000, CPU)
    kept = [drawn < threshold(p / 10) for p in range(11)]
    for fewer, more in itertools.pairwise(kept):
        assert (fewer <= more).all() and fewer.sum() < more.sum()


def test_the_start_of_a_span_changes_nothing():
    keys = mask_keys(3, "x", 0, 9000)
    whole = draws(keys, 0, 9000, CPU)
    assert torch.equal(whole[4095:8200], draws(keys, 4095, 8200, CPU))


def test_masks_are_independent_across_experts_tensors_seeds_and_elements():
    n = 1 << 17
    masks = [
        (draws(mask_keys(seed, name, position, n), 0, n, CPU) < threshold(0.5)).double()
        for seed in (0, 1, 2)
        for name in ("layers.0.up", "layers.1.up")
        for position in (0, 1, 2)
    ]
    shifted = [mask.roll(shift) for mask in masks[:1] for shift in (1, 2, 64, 4096)]
    correlations = torch.corrcoef(torch.stack(masks + shifted))
    off = correlations[~torch.eye(len(correlations), dtype=torch.bool)].abs()
    assert off.max() < 5 / n**0.5


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_share_kept_is_the_probability(probability):
    n = 1 << 18
    kept = draws(mask_keys(11, "x", 0, n), 0, n, CPU) < threshold(probability)
    error = (probability * (1 - probability) / n) ** 0.5
    assert abs(kept.double().mean().item() - probability) < 5 * error
