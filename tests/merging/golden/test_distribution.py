"""With other masks than mergekit's, random methods agree with it in distribution.

mergekit drew its own here. One expert of weight 1: the difference from the base is the masked
delta. Rates and means lie within 4.5 standard errors of what the density says, mergekit's too; the
elements of all stored tensors count together.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from merging.merge import merge_tensor

CASES = {
    case["id"]: case
    for case in json.loads(
        (Path(__file__).resolve().parents[2] / "data/golden/cases.json").read_text("utf-8")
    )["cases"]
}
DENSITY, EPSILON, ERRORS = 0.5, 0.25, 4.5
RATES = {"dare_linear": (DENSITY, DENSITY), "della_linear": (DENSITY - EPSILON, DENSITY + EPSILON)}
"""The keep probability of the smallest and of the largest element of a row."""


def merges(found, seeds: range) -> Iterator[Callable]:
    """Who makes the tensor of a job: mergekit first, then we with each mask seed."""
    yield lambda job: found.expected[job.name]
    for seed in seeds:
        yield lambda job, seed=seed: merge_tensor(job, found.fetch, seed)


def observed(found, make: Callable) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of every element: its delta, its rank within its row in [0, 1], what became of it."""
    parts = []
    for job in found.stored_jobs():
        base, expert = found.read(job.base).double(), found.read(job.sources[0]).double()
        delta, merged = expert - base, make(job).double() - base
        ranks = delta.abs().argsort(1).argsort(1) / (delta.shape[1] - 1)
        parts.append([one.flatten() for one in (delta, ranks, merged)])
    delta, ranks, merged = (torch.cat(column) for column in zip(*parts, strict=True))
    return delta, ranks, merged


@pytest.mark.parametrize("method", RATES)
def test_rates_by_rank(golden, method) -> None:
    found = golden(CASES[f"distribution {method} rescale-off"])
    low, high = RATES[method]
    for make in merges(found, range(6)):
        _, ranks, merged = observed(found, make)
        for third in range(3):
            inside = (ranks >= third / 3) & (ranks <= (third + 1) / 3)
            chance = (low + (high - low) * ranks)[inside].double()
            expected, error = chance.sum(), math.sqrt(float((chance * (1 - chance)).sum()))
            assert abs(float((merged[inside] != 0).sum() - expected)) < ERRORS * error


@pytest.mark.parametrize("method", RATES)
def test_means(golden, method) -> None:
    found = golden(CASES[f"distribution {method} rescale-off"])
    low, high = RATES[method]
    for make in merges(found, range(6)):
        delta, ranks, merged = observed(found, make)
        chance = low + (high - low) * ranks.double()
        error = math.sqrt(float((delta**2 * chance * (1 - chance)).sum()))
        assert abs(float((merged - delta * chance).sum())) < ERRORS * error


@pytest.mark.parametrize("method", RATES)
def test_rescaling_keeps_the_norm(golden, method) -> None:
    found = golden(CASES[f"distribution {method} rescale-on"])
    for make in merges(found, range(2)):
        for job in found.stored_jobs():
            base, expert = found.read(job.base).double(), found.read(job.sources[0]).double()
            norms = (expert - base).abs().sum(), (make(job).double() - base).abs().sum()
            assert float(norms[1] / norms[0]) == pytest.approx(1, abs=1e-5)
