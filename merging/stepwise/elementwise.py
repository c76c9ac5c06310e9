"""SCE, RAM and Arcee Fusion, rounded at every step.

Papers: `merging.methods.elementwise`. RAM+ and Arcee Fusion end in float32 whatever they began in,
because a factor of theirs is float32.
"""

import torch

from .inputs import Inputs

SMALLEST_ENERGY = 1e-6
NEXT_TO_NOTHING = 1e-8


def sce(given: Inputs) -> torch.Tensor:
    """Deltas where the experts vary most, weighted by energy, minorities erased."""
    base = given.origin
    deltas = torch.stack([expert - base for expert in given.experts])
    share = given.of("select_topk")
    if share < 1:
        deltas = deltas * _varied(deltas, share)
    majority = torch.where(deltas.sum(0) >= 0, 1, -1).to(deltas.dtype)
    weights = _energies(deltas).view(-1, *[1] * base.dim()) * (deltas.sign() == majority)
    return base + (deltas * weights).sum(0) / weights.sum(0).clamp(min=SMALLEST_ENERGY)


def ram(given: Inputs) -> torch.Tensor:
    """Deltas of one expert alone as they are, shared ones averaged."""
    deltas, large = _deltas(given)
    counts = large.sum(0, keepdim=True)
    own, shared = deltas * large * (counts == 1), deltas * large * (counts > 1)
    merged = (own + shared / counts.clamp(min=1)).sum(0)
    return given.origin + merged.view(given.origin.shape)


def ramplus_tl(given: Inputs) -> torch.Tensor:
    """RAM with each expert's own deltas raised by its ratio of shared to own elements."""
    deltas, large = _deltas(given)
    counts = large.sum(0, keepdim=True)
    alone, common = counts == 1, counts > 1
    owned = (large & alone).sum(1).clamp(min=given.of("epsilon"))
    ratios = ((large & common).sum(1) / owned).clamp(0, given.of("alpha"))
    raised = (1 + given.of("r") * ratios).unsqueeze(-1)
    own, shared = deltas * large * alone * raised, deltas * large * common
    merged = (own + shared / counts.clamp(min=1)).sum(0)
    return given.origin + merged.view(given.origin.shape)


def arcee_fusion(given: Inputs) -> torch.Tensor:
    """The expert where its importance reaches the threshold, the base elsewhere; in float32."""
    base, (expert,) = given.origin, given.experts
    importance = (expert - base).abs() * _divergence(expert, base)
    mask = (importance >= _threshold(importance)).float()
    return base + (expert - base) * mask


def _varied(deltas: torch.Tensor, share: float) -> torch.Tensor:
    """1 at the int(share n) of the n varying elements that vary most, else 0."""
    variance = torch.var(deltas, dim=0, unbiased=False)
    mask = torch.zeros_like(variance)
    count = int(torch.count_nonzero(variance) * share) if share > 0 else 0
    if count:
        mask.view(-1)[torch.topk(variance.abs().view(-1), count).indices] = 1
    return mask


def _energies(deltas: torch.Tensor) -> torch.Tensor:
    """Each expert's share of the mean squares; equal ones where there is next to nothing."""
    squares = deltas.square().flatten(1).mean(1)
    total = squares.sum().item()
    if abs(total) < SMALLEST_ENERGY:
        return torch.ones_like(squares) / len(squares)
    return squares / total


def _deltas(given: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """The deltas, [experts, elements], and where they are beyond the threshold."""
    deltas = torch.stack([expert - given.origin for expert in given.experts]).flatten(1)
    return deltas, deltas.abs() > given.of("epsilon")


def _divergence(expert: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """KL of the rows' softmax, along the last dimension."""
    p = torch.softmax(expert, -1) + NEXT_TO_NOTHING
    q = torch.softmax(base, -1) + NEXT_TO_NOTHING
    return torch.sum(p * torch.log(p / q), dim=-1, keepdim=True)


def _threshold(importance: torch.Tensor) -> torch.Tensor:
    """Median + 1.5 x (third - first quartile), of elements that are there (no interpolation).

    mergekit looks at a million random elements of larger tensors; here all of them count.
    """
    ordered = importance.reshape(-1).sort().values
    last = len(ordered) - 1
    first, median, third = ordered[last // 4], ordered[last // 2], ordered[3 * last // 4]
    return median + 1.5 * (third - first)
