"""The default rounds once: it is nearer to float64 than mergekit's rounding, for every method.

Experts are a base plus a permutation of 1/512 to 128/512 with signs: all are bfloat16 numbers, no
two magnitudes of a delta are equal, so no order among equals is in play. The reference takes the
same steps in float64.
"""

from collections.abc import Mapping, Sequence

import pytest
import torch

from merging.kernels.masks import mask_keys
from merging.merge import merge_tensor
from merging.methods.formula import Numbers
from merging.methods.method import Method
from merging.methods.table import METHODS
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference
from merging.stepwise.engine import STEPWISE, merge_stepwise
from merging.stepwise.inputs import Inputs

NAME, SHAPE, SEEDS = "model.layers.0.mlp.up_proj.weight", (8, 16), range(6)
OWN = {"weight": 0.37, "density": 0.5, "epsilon": 0.13, "gamma": 0.05, "scale": 0.7}
OUTPUT = {
    "lambda": 0.7,
    "rescale": True,
    "normalize": True,
    "select_topk": 0.6,
    "epsilon": 1e-5,
}
SAME_ROUNDING = {"linear", "slerp", "passthrough"}
"""Methods that mergekit too rounds once."""


def models(seed: int, experts: int) -> dict[str, torch.Tensor]:
    """The base and the experts in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randint(-3, 4, SHAPE, generator=generator) * 32

    def expert() -> torch.Tensor:
        sizes = torch.randperm(128, generator=generator).view(SHAPE) + 1
        return base + sizes * (torch.randint(0, 2, SHAPE, generator=generator) * 2 - 1)

    found = {"base": base} | {f"expert{index}": expert() for index in range(experts)}
    return {name: (one / 512).to(torch.bfloat16) for name, one in found.items()}


def job_of(method: Method, experts: Sequence[str], stepwise: str | None) -> TensorJob:
    def numbers(scope: str, values: Mapping[str, float]) -> dict[str, float]:
        return {
            one.name: values[one.name]
            for one in method.parameters
            if one.scope == scope and one.name in values
        }

    sources = tuple(
        TensorSource(
            ModelReference(one), NAME, numbers("model", {**OWN, "weight": 0.37 + 0.24 * index})
        )
        for index, one in enumerate(experts)
    )
    base = TensorSource(ModelReference("base"), NAME, {}) if method.base == "required" else None
    output = numbers("global", {**OUTPUT, "t": 0.05 if method.name == "nearswap" else 0.3})
    return TensorJob(NAME, method.name, base, sources, output, None, "bfloat16", stepwise)


def in_float64(job: TensorJob, tensors: Mapping[str, torch.Tensor], seed: int) -> torch.Tensor:
    method = METHODS[job.method]
    own = tuple(method.complete("model", one.parameters) for one in job.sources)
    wide = [tensors[one.model.path].double() for one in job.sources]
    keys = tuple(mask_keys(seed, NAME, at, wide[0].numel()) for at in range(len(wide)))
    base = tensors["base"].double() if job.base else None
    numbers = Numbers(own, method.complete("global", job.parameters))
    return merge_stepwise(job.method, Inputs(base, tuple(wide), numbers, keys)).double()


@pytest.mark.parametrize("name", sorted(STEPWISE))
def test_rounding_once_is_nearer_to_float64(name: str) -> None:
    method = METHODS[name]
    count = method.experts[1] or 3
    errors = {None: 0.0, "bfloat16": 0.0}
    for seed in SEEDS:
        tensors = models(seed, count)
        names = [one for one in tensors if one != "base"]
        wanted = in_float64(job_of(method, names, None), tensors, seed)
        for stepwise in errors:
            job = job_of(method, names, stepwise)
            made = merge_tensor(job, lambda model, _: tensors[model.path], seed)  # noqa: B023
            assert made.dtype == torch.bfloat16
            errors[stepwise] += float((made.double() - wanted).square().mean())
    once, steps = (errors[one] ** 0.5 for one in (None, "bfloat16"))
    if name in SAME_ROUNDING:
        assert once <= steps * (1 + 1e-6)
    else:
        assert once < steps
