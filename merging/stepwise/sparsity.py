"""Which elements of a delta are kept, and their rescaling, rounded at every step.

float16 draws and rescales in float32 (the CPU draws no float16 masks), everything else in the
delta's own dtype: so a keep probability in bfloat16 is a multiple of 2^-9, and DELLA's ranks above
256 are rounded before they are normalised.
"""

from collections.abc import Callable

import torch

from ..errors import MergeError
from ..kernels import masks
from ..kernels.engine import Keys

SMALLEST_NORM = 1e-7

Sparsify = Callable[[torch.Tensor, float, float, bool, Keys], torch.Tensor]
"""delta, density, the method's own number (gamma or epsilon), rescale, keys: what is kept."""


def magnitude(
    delta: torch.Tensor, density: float, own: float, rescale: bool, keys: Keys
) -> torch.Tensor:
    """The largest int(density n), at least one; nothing where density is not positive."""
    if density >= 1:
        return delta
    if density <= 0 or not delta.numel():
        return torch.zeros_like(delta)
    count = max(1, int(density * delta.numel()))
    order = _sizes(delta).argsort(descending=True)
    return _masked(delta, _chosen(delta, order[:count]), rescale)


def outliers(
    delta: torch.Tensor, density: float, gamma: float, rescale: bool, keys: Keys
) -> torch.Tensor:
    """int(density n) elements below the largest int(gamma n), fewer of those if need be."""
    if density >= 1:
        return delta
    elements = delta.numel()
    count = int(density * elements)
    first = max(0, elements - count - int(gamma * elements))
    order = _sizes(delta).argsort()
    return _masked(delta, _chosen(delta, order[first : first + count]), rescale)


def at_random(
    delta: torch.Tensor, density: float, own: float, rescale: bool, keys: Keys
) -> torch.Tensor:
    """Each element with probability `density`.

    Raises:
        MergeError: a density below 0.
    """
    if density >= 1:
        return delta
    wide = delta.to(_drawing(delta.dtype))
    mask = _drawn(torch.full_like(wide, density), keys)
    return _masked(wide, mask, rescale).to(delta.dtype)


def by_rank(
    delta: torch.Tensor, density: float, epsilon: float, rescale: bool, keys: Keys
) -> torch.Tensor:
    """Each with probability density - epsilon + 2 epsilon rank, ranked along dimension 1.

    Raises:
        MergeError: probabilities beyond [0, 1], or rows of one element, which have no rank.
    """
    if density >= 1:
        return delta
    if density <= 0:
        return torch.zeros_like(delta)
    if density + epsilon >= 1 or density - epsilon <= 0:
        raise MergeError(
            f"density {density:g} and epsilon {epsilon:g}: expected 0 < density - epsilon and "
            "density + epsilon < 1, which mergekit wants too"
        )
    rows = delta if delta.dim() > 1 else delta.unsqueeze(0)
    wide = rows.to(_drawing(delta.dtype))
    order = rows.abs().argsort(dim=1)
    ranks = order.argsort(dim=1).to(wide.dtype) + 1
    low, high = ranks.amin(1, keepdim=True), ranks.amax(1, keepdim=True)
    share = ((ranks - low) / (high - low)).clamp(0, 1)
    mask = _drawn((density - epsilon) + share * 2 * epsilon, keys)
    return _masked(wide, mask, rescale).to(delta.dtype).reshape(delta.shape)


def _drawing(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype == torch.bfloat16 else torch.float32


def _drawn(probability: torch.Tensor, keys: Keys) -> torch.Tensor:
    """1 where the draw of an element is below its probability in 24 bits, else 0."""
    if bool((probability.isnan() | (probability < 0) | (probability > 1)).any()):
        raise MergeError(
            "a keep probability that is none: mergekit fails on a density below 0, and on DELLA's "
            "rows of one element; leave out --mergekit-exact, or change the density"
        )
    draws = masks.draws(keys, 0, probability.numel(), probability.device)
    limits = (probability.double() * (1 << 24)).round()
    return (draws.view(probability.shape) < limits).to(probability.dtype)


def _sizes(delta: torch.Tensor) -> torch.Tensor:
    return delta.abs().reshape(-1).float()


def _chosen(delta: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(delta.numel(), dtype=delta.dtype, device=delta.device)
    mask[indices] = 1
    return mask.view(delta.shape)


def _masked(delta: torch.Tensor, mask: torch.Tensor, rescale: bool) -> torch.Tensor:
    kept = delta * mask
    if not rescale:
        return kept
    whole, rest = delta.abs().sum(), kept.abs().sum()
    if whole < SMALLEST_NORM or rest < SMALLEST_NORM:
        return kept
    return kept * (whole / rest)
