"""The engine in plain torch: any device, and the reference that the compiled kernels must equal.

Every product, sum and quotient is an operation of its own, in the order of the recipe. Nothing
here calls add(alpha), lerp, addcmul, sum or norm on floats, which fuse or reorder; a divisor is a
tensor, because a division by a number may become a product. Not built for speed: it makes whole
temporary tensors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..methods.formula import OtherFormula, Sparsity, TaskVectors, WeightedMean
from . import masks, twin_others
from .engine import Keys
from .numbers import (
    BLOCK,
    LANES,
    NARROW,
    OCTAVES,
    RANKS,
    band,
    factors,
    kept,
    rank_limits,
    rescaling,
    rows,
)
from .twin_parts import added, number, single

MAGNITUDE = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Twin:
    """An `Engine` on the device of `out`."""

    def weighted_mean(
        self, tensors: Sequence[torch.Tensor], formula: WeightedMean, out: torch.Tensor
    ) -> None:
        """See `Engine`."""
        total = torch.zeros(out.shape, dtype=torch.float32, device=out.device)
        for tensor, weight in zip(tensors, formula.weights, strict=True):
            total = total + single(tensor, out.device) * number(weight, out.device)
        if formula.divisor is not None:
            total = total / number(formula.divisor, out.device)
        out.copy_(total)

    def task_vectors(
        self,
        base: torch.Tensor,
        experts: Sequence[torch.Tensor],
        formula: TaskVectors,
        keys: Sequence[Keys],
        out: torch.Tensor,
    ) -> None:
        """See `Engine`."""
        origin = single(base, out.device)
        masked, rescalings = [], []
        for expert, sparsity, key in zip(experts, formula.sparsities, keys, strict=True):
            delta = single(expert, out.device) - origin
            mask = kept_mask(delta, sparsity, key)
            masked.append((delta, mask))
            wanted = sparsity.rescale and sparsity.rule != "all"
            rescalings.append(_rescaling(delta, mask) if wanted else 1.0)
        numbers = factors(formula, rescalings)
        terms = []
        for (delta, mask), factor in zip(masked, numbers[:, 0], strict=True):
            one = number(factor, out.device)
            terms.append(delta * torch.where(mask, one, one * 0))
        out.copy_(origin + _consensus(terms, numbers[:, 1].tolist(), formula))

    def other(
        self,
        base: torch.Tensor | None,
        experts: Sequence[torch.Tensor],
        formula: OtherFormula,
        out: torch.Tensor,
    ) -> None:
        """See `Engine`."""
        twin_others.evaluate(base, experts, formula, out)


def kept_mask(delta: torch.Tensor, sparsity: Sparsity, keys: Keys) -> torch.Tensor:
    """Which elements are kept: bool, the shape of delta, which is float32 of any shape."""
    if sparsity.rule == "all" or delta.numel() == 0:
        return torch.ones_like(delta, dtype=torch.bool)
    if sparsity.rule == "magnitude":
        return _largest(delta, kept(sparsity, delta.numel()))
    if sparsity.rule == "band":
        return _ranked(delta, *band(sparsity, delta.numel()))
    draws = masks.draws(keys, 0, delta.numel(), delta.device).view(delta.shape)
    if sparsity.rule == "random":
        return draws < masks.threshold(sparsity.density)
    below, step = rank_limits(sparsity, rows(tuple(delta.shape))[0])
    return draws < below + ((step * row_ranks(delta)) >> 8)


def l1_norm(values: torch.Tensor) -> float:
    """The sum of magnitudes in the order that `merging.kernels.norms` gives."""
    flat = values.reshape(-1)
    blocks = torch.nn.functional.pad(flat, (0, -flat.numel() % BLOCK)).view(-1, BLOCK).abs()
    rounds = blocks.view(len(blocks), -1, LANES)
    sums = rounds[:, 0]
    for index in range(1, rounds.shape[1]):
        sums = sums + rounds[:, index]
    folded = sums.cpu().double()
    while folded.shape[1] > 1:
        half = folded.shape[1] // 2
        folded = folded[:, :half] + folded[:, half:]
    total = 0.0
    for block in folded[:, 0].tolist():
        total += block
    return total


def row_ranks(delta: torch.Tensor) -> torch.Tensor:
    """DELLA's ranks, see `merging.kernels.ranks`: int64, the shape of delta."""
    width, inner = rows(tuple(delta.shape))
    words = (delta.reshape(-1).view(torch.int32) & MAGNITUDE).view(-1, width, inner)
    lines = words.transpose(1, 2).reshape(-1, width)
    shape = (words.shape[0], inner, width)
    if 1 < width <= NARROW:
        ranks = lines.sort(dim=1, stable=True).indices.argsort(dim=1)
    else:
        ranks = _mean_ranks(lines >> 16, width)
    return ranks.to(delta.device).view(shape).transpose(1, 2).reshape(delta.shape)


def _mean_ranks(lines: torch.Tensor, width: int) -> torch.Tensor:
    """Bytes of ranks in steps, equal ones sharing their mean: int64, of lines [rows, width]."""
    lines = torch.maximum(lines, lines.amax(1, keepdim=True) - OCTAVES).contiguous()
    ordered = lines.sort(dim=1).values.contiguous()
    below = torch.searchsorted(ordered, lines)
    twice = below + torch.searchsorted(ordered, lines, right=True) - 1  # 2 x the mean rank
    scale = RANKS / (2.0 * max(width - 1, 1))
    return ((twice if width > 1 else twice + 1).double().cpu() * scale + 0.5).long()


def _rescaling(delta: torch.Tensor, mask: torch.Tensor) -> float:
    return rescaling(l1_norm(delta), l1_norm(torch.where(mask, delta, 0.0)))


def _largest(delta: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` largest magnitudes, equal ones in element order."""
    words = delta.reshape(-1).view(torch.int32) & MAGNITUDE
    cut = words.sort(descending=True).values[count - 1]
    above, equal = words > cut, words == cut
    wanted = count - int(above.sum())
    above[equal.nonzero()[:wanted, 0]] = True
    return above.view(delta.shape)


def _ranked(delta: torch.Tensor, first: int, stop: int) -> torch.Tensor:
    """The elements of ranks [first, stop) by magnitude, equal ones ranked in element order."""
    words = delta.reshape(-1).view(torch.int32) & MAGNITUDE
    chosen = torch.zeros(len(words), dtype=torch.bool, device=delta.device)
    chosen[words.sort(stable=True).indices[first:stop]] = True
    return chosen.view(delta.shape)


def _consensus(
    deltas: Sequence[torch.Tensor], weights: Sequence[float], formula: TaskVectors
) -> torch.Tensor:
    """The sum of the factored deltas, or of those that win the vote: normalised, scaled."""
    total = added(deltas)
    if not formula.elect:
        return total
    positive, device = total >= 0, total.device
    turned = [torch.where(positive, delta, -delta) for delta in deltas]
    merged = added([torch.where(delta > 0, delta, 0.0) for delta in turned])
    if formula.normalize:
        shares = zip(weights, turned, strict=True)
        heavy = added([torch.where(delta > 0, number(w, device), 0.0) for w, delta in shares])
        merged = merged / torch.where(heavy == 0, 1.0, heavy)
    merged = torch.where(positive, merged, -merged)
    merged = torch.where(total.isnan(), total, merged)
    return merged * number(formula.scale, device)
