"""Linear, Model Stock, NearSwap and passthrough, rounded at every step.

Papers: `merging.methods.linear`, `merging.methods.span`, `merging.methods.elementwise`.
"""

import torch

from .inputs import Inputs

TINY = 1e-6


def linear(given: Inputs) -> torch.Tensor:
    """The weighted mean, in float32 and rounded once; weights that cancel give Inf or NaN."""
    weights = torch.tensor(given.each("weight"), dtype=torch.float32)
    total = torch.zeros_like(given.experts[0], dtype=torch.float32).unsqueeze(0)
    for expert, weight in zip(given.experts, weights, strict=True):
        total.addcmul_(expert.unsqueeze(0), weight.view(-1, *[1] * expert.dim()))
    if given.numbers.output["normalize"]:
        total.div_(weights.unsqueeze(0).sum(1).view(-1, *[1] * given.experts[0].dim()))
    return total.squeeze(0).to(given.experts[0].dtype)


def model_stock(given: Inputs) -> torch.Tensor:
    """From the base towards the experts' mean, by the mean cosine between their deltas."""
    base = given.origin
    if not given.numbers.output["filter_wise"]:
        shape: tuple[int, ...] = (-1,)
    else:
        shape = (1, -1) if base.dim() == 1 else tuple(base.shape)
    start, experts = base.reshape(shape), [one.reshape(shape) for one in given.experts]
    cosines = _cosines([one - start for one in experts]).mean(0).unsqueeze(-1)
    below = 1 + (len(experts) - 1) * cosines
    singular = below.abs() < TINY
    ratio = torch.where(singular, 0, len(experts) * cosines / below.masked_fill(singular, 1))
    ratio = ratio.to(base.dtype)
    mean = experts[0]
    for one in experts[1:]:
        mean = mean + one
    return (ratio * (mean / len(experts)) + (1 - ratio) * start).reshape(base.shape)


def nearswap(given: Inputs) -> torch.Tensor:
    """The expert where it is within t of the base, less and less of it beyond."""
    base, (expert,) = given.origin, given.experts
    share = (given.of("t") / (base - expert).abs().clamp(min=TINY)).clamp(0, 1)
    return share * expert + (1 - share) * base


def passthrough(given: Inputs) -> torch.Tensor:
    """The one model times its scale."""
    return given.experts[0] * given.numbers.of(0, "scale")


def _cosines(deltas: list[torch.Tensor]) -> torch.Tensor:
    """Of every pair, along the last dimension: [pairs, ...]."""
    found = []
    for index, first in enumerate(deltas):
        for second in deltas[index + 1 :]:
            norms = torch.norm(first, dim=-1) * torch.norm(second, dim=-1)
            found.append(((first * second).sum(-1) / norms.clamp(min=TINY)).clamp(-1, 1))
    return torch.stack(found)
