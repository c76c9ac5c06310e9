"""We merge as mergekit 0.1.5 does: recipe by recipe, against tensors that it wrote.

In float32 up to 1e-6 of a tensor's largest magnitude. In bfloat16 and float16 mergekit rounds at
every step, and so does an exact recipe: up to 1 unit in the last place. Elements that
mergekit keeps or drops by chance are left out (`Golden.undecided`); in the float32 models no two
magnitudes are equal, so there are none.
"""

import json
from pathlib import Path

import pytest
import torch

from merging.errors import MergeError
from merging.merge import merge_tensor

CASES = json.loads(
    (Path(__file__).resolve().parents[2] / "data/golden/cases.json").read_text(encoding="utf-8")
)["cases"]
ELSEWHERE = ("vocabulary", "stages", "published", "distribution")
REFUSED = {"gradient of switches": "expected true or false"}
"""What mergekit merges and we refuse on purpose, with the message."""
KEEPS_THE_BASE_DTYPE = ("dtype mixed task_arithmetic",)
"""A bfloat16 base and a float32 expert: mergekit 0.1.5 writes float32, we what the base is in."""
SINGLE = [
    case for case in CASES if case["id"].split()[0] not in ELSEWHERE and case["id"] not in REFUSED
]


def named(case: dict) -> str:
    return case["id"].replace(" ", "-")


def compare_float32(found, *, dtype: bool) -> None:
    """The same tensors, shapes and (`dtype`) dtypes, and values up to 1e-6 of the largest."""
    assert {job.name for job in found.jobs} == {*found.shapes}
    for job in found.stored_jobs():
        expected, merged = found.expected[job.name], merge_tensor(job, found.fetch, 0)
        assert list(merged.shape) == found.shapes[job.name]
        assert not dtype or merged.dtype == expected.dtype
        off = (merged.double() - expected.double()).abs().masked_fill(found.undecided(job), 0)
        slack = 0.0 if merged.dtype == torch.float32 else torch.finfo(merged.dtype).eps
        assert float(off.max()) <= (1e-6 + slack) * float(expected.double().abs().max()), job.name


def of_dtype(*names: str) -> list[dict]:
    return [case for case in SINGLE if case["arithmetic"] in names]


@pytest.mark.parametrize("case", of_dtype("float32"), ids=named)
def test_float32_agrees_to_a_millionth(golden, case) -> None:
    compare_float32(golden(case), dtype=case["id"] not in KEEPS_THE_BASE_DTYPE)


@pytest.mark.parametrize("case", of_dtype("float32"), ids=named)
def test_exact_float32_agrees_to_a_millionth(golden, case) -> None:
    compare_float32(golden(case, exact=True), dtype=True)


@pytest.mark.parametrize("case", of_dtype("bfloat16", "float16"), ids=named)
def test_exact_half_precision_agrees_to_a_unit_in_the_last_place(golden, case) -> None:
    found = golden(case, exact=True)
    assert {job.name for job in found.jobs} == {*found.shapes}
    compared = 0
    for job in found.stored_jobs():
        expected, merged = found.expected[job.name], merge_tensor(job, found.fetch, 0)
        assert merged.dtype == expected.dtype and merged.shape == expected.shape
        apart = (_order(merged) - _order(expected)).abs()[~found.undecided(job)]
        assert not apart.numel() or int(apart.max()) <= 1, job.name
        compared += apart.numel()
    assert compared


@pytest.mark.parametrize("id", REFUSED)
def test_what_we_refuse_is_told(golden, id) -> None:
    (case,) = [case for case in CASES if case["id"] == id]
    with pytest.raises(MergeError, match=REFUSED[id]):
        golden(case)


def test_most_elements_are_compared(golden) -> None:
    """No method of the grid is left with nothing to compare."""
    for case in of_dtype("bfloat16"):
        if case["id"].startswith(("ties", "dare", "della")):
            found = golden(case)
            left = [~found.undecided(job) for job in found.stored_jobs()]
            assert sum(int(one.sum()) for one in left) > 0.75 * sum(one.numel() for one in left)


def _order(tensor: torch.Tensor) -> torch.Tensor:
    """Whole numbers in the order of the values, neighbours one apart; zeros are equal."""
    words = tensor.view(torch.int32 if tensor.dtype == torch.float32 else torch.int16).long()
    magnitude = words & (0x7FFFFFFF if tensor.dtype == torch.float32 else 0x7FFF)
    return torch.where(words < 0, -magnitude, magnitude)
