"""The torch twin of the formulas that are no weighted means of sparse deltas; see `twin`.

Where a decision hangs on a sum over many elements (angles, energies, divergences), the sum is
taken in float64, so that both engines decide alike; a divergence is computed by the compiled
kernel on the host, once a row.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..errors import MergeError
from ..methods.formula import (
    Custom,
    Fusion,
    NearSwap,
    OtherFormula,
    Overlap,
    Scaled,
    Selected,
    Span,
)
from .twin_parts import added, number, single


def evaluate(
    base: torch.Tensor | None,
    experts: Sequence[torch.Tensor],
    formula: OtherFormula,
    out: torch.Tensor,
) -> None:
    """Fills `out`; base None: the method has none, or none was given."""
    if isinstance(formula, Scaled):
        scaled(experts[0], formula, out)
    elif isinstance(formula, Custom):
        custom(base, experts, formula, out)
    elif isinstance(formula, Span):
        span(base, experts, formula, out)
    elif base is not None:
        match formula:
            case Selected():
                selected(base, experts, formula, out)
            case Overlap():
                overlap(base, experts, formula, out)
            case NearSwap():
                nearswap(base, experts[0], formula, out)
            case Fusion():
                fusion(base, experts[0], out)


def custom(
    base: torch.Tensor | None, experts: Sequence[torch.Tensor], formula: Custom, out: torch.Tensor
) -> None:
    """A user's own function, on copies that it may change."""
    origin = None if base is None else _copy(base, out)
    try:
        made = formula.function(origin, [_copy(one, out) for one in experts], formula.numbers)
    except Exception as error:  # a stranger's code can raise anything
        raise MergeError(f"{formula.name}: {type(error).__name__}: {error}") from error
    if not isinstance(made, torch.Tensor) or made.shape != out.shape:
        got = list(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
        raise MergeError(f"{formula.name}: expected a tensor {list(out.shape)}, got {got}")
    out.copy_(made.detach())


def _copy(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(like.device, torch.float32, copy=True)


def scaled(tensor: torch.Tensor, formula: Scaled, out: torch.Tensor) -> None:
    """The tensor times a factor; as it is where that is 1."""
    if formula.factor == 1:
        out.copy_(tensor)
    else:
        out.copy_(single(tensor, out.device) * number(formula.factor, out.device))


def span(
    base: torch.Tensor | None, experts: Sequence[torch.Tensor], formula: Span, out: torch.Tensor
) -> None:
    """The sum of vectors times coefficients."""
    from .span import groups_of, solved

    vectors = [single(expert, out.device) for expert in experts]
    origin = None
    if base is not None and formula.vectors == "with_base":
        vectors = [single(base, out.device), *vectors]
    elif base is not None and formula.vectors == "from_base":
        origin = single(base, out.device)
        vectors = [vector - origin for vector in vectors]
    groups, width = groups_of(formula, out.shape)
    views = [_grouped(vector, groups, width) for vector in vectors]
    coefficients = torch.from_numpy(solved(formula, _grams(views))).to(out.device)
    total = torch.zeros_like(views[0])
    for view, own in zip(views, coefficients, strict=True):
        total = total + view * own[:, None]
    merged = (total.T if groups == "first" else total).reshape(out.shape)
    out.copy_(merged if origin is None else origin + merged)


def _grouped(vector: torch.Tensor, groups: str, width: int) -> torch.Tensor:
    """The elements of each group in a row: [groups, elements]."""
    if groups == "tensor":
        return vector.reshape(1, -1)
    rows = vector.reshape(-1, width)
    return rows if groups == "last" else rows.T


def _grams(views: Sequence[torch.Tensor]) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    many = len(views)
    found = np.empty((len(views[0]), many, many))
    for i in range(many):
        for j in range(i, many):
            products = views[i].cpu().double() * views[j].cpu().double()
            found[:, i, j] = found[:, j, i] = products.sum(1).numpy()
    return found


def selected(
    base: torch.Tensor, experts: Sequence[torch.Tensor], formula: Selected, out: torch.Tensor
) -> None:
    """SCE; see `merging.kernels.selected`."""
    from .selected import SMALLEST, shares

    origin = single(base, out.device)
    deltas = [single(expert, out.device) - origin for expert in experts]
    if formula.share < 1:
        kept = _most_varied(deltas, formula.share).to(torch.float32)
        deltas = [delta * kept for delta in deltas]
    squares = [delta.cpu().double().square().sum().item() for delta in deltas]
    weights = shares([square / origin.numel() for square in squares])
    positive = added(deltas) >= 0
    votes = [torch.where(positive, delta > 0, delta < 0).to(torch.float32) for delta in deltas]
    own = [number(float(w), out.device) * vote for w, vote in zip(weights, votes, strict=True)]
    merged = added([delta * share for delta, share in zip(deltas, own, strict=True)])
    out.copy_(origin + merged / added(own).clamp(min=float(np.float32(SMALLEST))))


def _most_varied(deltas: Sequence[torch.Tensor], share: float) -> torch.Tensor:
    """Where the variance over the experts is largest, ties in element order: bool."""
    many = number(len(deltas), deltas[0].device)
    mean = added(deltas) / many
    offs = [delta - mean for delta in deltas]
    variance = (added([off * off for off in offs]) / many).reshape(-1)
    bits = variance.view(torch.int32) & 0x7FFFFFFF
    count = int(int((bits != 0).sum()) * share)
    order = bits.sort(descending=True, stable=True).indices
    kept = torch.zeros_like(variance, dtype=torch.bool)
    kept[order[:count]] = True
    return kept.view(deltas[0].shape)


def overlap(
    base: torch.Tensor, experts: Sequence[torch.Tensor], formula: Overlap, out: torch.Tensor
) -> None:
    """RAM; see `merging.kernels.overlap`."""
    from .overlap import raised

    origin = single(base, out.device)
    deltas = [single(expert, out.device) - origin for expert in experts]
    beyond = [delta.abs() > number(formula.threshold, out.device) for delta in deltas]
    many = added([one.to(torch.float32) for one in beyond])
    alone, shared = many == 1, many > 1
    counts = [[int((one & where).sum()) for where in (shared, alone)] for one in beyond]
    factors = raised(formula, np.array(counts))
    divisor = torch.where(alone, 1.0, many.clamp(min=1))
    parts = [
        delta
        * one.to(torch.float32)
        * torch.where(alone, number(float(factor), out.device), 1.0)
        / divisor
        for delta, one, factor in zip(deltas, beyond, factors, strict=True)
    ]
    out.copy_(added(parts) + origin)


def nearswap(
    base: torch.Tensor, expert: torch.Tensor, formula: NearSwap, out: torch.Tensor
) -> None:
    """NearSwap; see `merging.kernels.fusion`."""
    from .fusion import SMALLEST

    a, b = single(base, out.device), single(expert, out.device)
    off = (a - b).abs().clamp(min=float(np.float32(SMALLEST)))
    share = (number(formula.t, out.device) / off).clamp(max=1)
    out.copy_(share * b + (number(1.0, out.device) - share) * a)


def fusion(base: torch.Tensor, expert: torch.Tensor, out: torch.Tensor) -> None:
    """Arcee Fusion; see `merging.kernels.fusion`."""
    from .fusion import divergences, quartiles, threshold
    from .operands import entries, readable

    inputs = [readable(base), readable(expert)]
    width = out.shape[-1] if out.dim() else 1
    rows = np.empty(math.prod(out.shape) // width, np.float32)
    divergences(entries(inputs), width, rows, 0, len(rows))
    origin = single(base, out.device)
    delta = single(expert, out.device) - origin
    apart = torch.from_numpy(rows).to(out.device)[:, None]
    importance = (apart * delta.reshape(-1, width).abs()).view(out.shape)
    ordered = importance.reshape(-1).sort().values
    quartile = [np.float32(ordered[place].item()) for place in quartiles(ordered.numel())]
    kept = importance >= number(float(threshold(*quartile)), out.device)
    out.copy_(origin + delta * kept.to(torch.float32))
