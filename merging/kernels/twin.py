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
from .numbers import BLOCK, band, common_divisor, kept, limits, rescaling, rows

MAGNITUDE = 0x7FFFFFFF
INFINITE = 0x7F800000


@dataclass(frozen=True, slots=True)
class Twin:
    """An `Engine` on the device of `out`."""

    def weighted_mean(
        self, tensors: Sequence[torch.Tensor], formula: WeightedMean, out: torch.Tensor
    ) -> None:
        """See `Engine`."""
        total = torch.zeros(out.shape, dtype=torch.float32, device=out.device)
        for tensor, weight in zip(tensors, formula.weights, strict=True):
            total = total + _single(tensor, out.device) * _number(weight, out.device)
        if formula.divisor is not None:
            total = total / _number(formula.divisor, out.device)
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
        origin = _single(base, out.device)
        deltas = []
        for expert, weight, sparsity, key in zip(
            experts, formula.weights, formula.sparsities, keys, strict=True
        ):
            sparse = sparsify(_single(expert, out.device) - origin, sparsity, key)
            deltas.append(sparse * _number(weight, out.device))
        total = _consensus(deltas, formula, out.device)
        out.copy_(origin + total * _number(formula.scale, out.device))

    def other(
        self,
        base: torch.Tensor | None,
        experts: Sequence[torch.Tensor],
        formula: OtherFormula,
        out: torch.Tensor,
    ) -> None:
        """See `Engine`."""
        twin_others.evaluate(base, experts, formula, out)


def sparsify(delta: torch.Tensor, sparsity: Sparsity, keys: Keys) -> torch.Tensor:
    """Keeps what the rule keeps, rescaled if it says so; delta float32, any shape."""
    if sparsity.rule == "all" or delta.numel() == 0:
        return delta
    masked = delta * _mask(delta, sparsity, keys).to(torch.float32)
    if not sparsity.rescale:
        return masked
    return masked * _number(rescaling(block_norms(delta), block_norms(masked)), delta.device)


def block_norms(values: torch.Tensor) -> list[float]:
    """L1 norms of the blocks: scaled by a power of two to 30 bits, truncated, added exactly."""
    flat = values.reshape(-1)
    blocks = torch.nn.functional.pad(flat, (0, -flat.numel() % BLOCK)).view(-1, BLOCK).abs()
    top = blocks.view(torch.int32).amax(1)
    exponent = (283 - (top >> 23)).clamp(max=254)
    scale = (exponent << 23).view(torch.float32)
    finite = top < INFINITE
    scaled = torch.where(finite[:, None], blocks * scale[:, None], 0.0).to(torch.int32)
    totals, scales = scaled.sum(1, dtype=torch.int64).cpu().double(), scale.cpu().double()
    norms: list[float] = torch.where(finite.cpu(), totals / scales, torch.nan).tolist()
    return norms


def _mask(delta: torch.Tensor, sparsity: Sparsity, keys: Keys) -> torch.Tensor:
    """Which elements are kept: bool, the shape of delta."""
    if sparsity.rule == "magnitude":
        return _largest(delta, kept(sparsity, delta.numel()))
    if sparsity.rule == "band":
        return _ranked(delta, *band(sparsity, delta.numel()))
    draws = masks.draws(keys, 0, delta.numel(), delta.device).view(delta.shape)
    if sparsity.rule == "random":
        return draws < masks.threshold(sparsity.density)
    return draws < _rank_limits(delta, sparsity)


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


def _rank_limits(delta: torch.Tensor, sparsity: Sparsity) -> torch.Tensor:
    """The draw below which each element is kept: int32, the shape of delta."""
    width, inner = rows(delta.shape)
    words = (delta.reshape(-1).view(torch.int32) & MAGNITUDE).view(-1, width, inner)
    order = words.sort(dim=1, stable=True).indices
    below = torch.from_numpy(limits(sparsity, width).astype("int32")).to(delta.device)
    ranked = torch.empty_like(words).scatter_(1, order, below[None, :, None].expand_as(order))
    return ranked.view(delta.shape)


def _consensus(
    deltas: Sequence[torch.Tensor], formula: TaskVectors, device: torch.device
) -> torch.Tensor:
    """The sum of the weighted deltas, or of those that win the vote; normalised if asked."""
    total = _added(deltas)
    divisor = common_divisor(formula)
    if not formula.elect:
        return total if divisor == 1 else total / _number(divisor or 1.0, device)
    positive = total >= 0
    winners = [torch.where(positive, d > 0, d < 0).to(torch.float32) for d in deltas]
    merged = _added([delta * wins for delta, wins in zip(deltas, winners, strict=True)])
    if not formula.normalize:
        return merged
    weights = [_number(weight, device) for weight in formula.weights]
    heavy = _added([weight * wins for weight, wins in zip(weights, winners, strict=True)])
    return merged / torch.where(heavy == 0, 1.0, heavy)


def _added(terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """0 + the first + the second and so on."""
    total = torch.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def _single(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.detach().to(device, torch.float32).contiguous()


def _number(value: float, device: torch.device) -> torch.Tensor:
    """A float32 on the device, with a dimension: numbers of none are fused differently."""
    return torch.tensor([value], dtype=torch.float32, device=device)
