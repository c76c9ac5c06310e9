"""How a loss changes with the numbers of a merge: one tensor's weights and lambda.

The merged tensor is theta = base + lambda x consensus(w), so with g the gradient of a loss with
respect to theta

    dL/dw_e = <g, d theta / d w_e>,    dL/dlambda = <g, consensus>

(AdaMerging, Yang et al., https://arxiv.org/abs/2310.02575, follows the same derivative by
back-propagation through the merge; here it is taken in closed form, tensor by tensor, so no
second model and no graph is held). Exact for `linear` and `task_arithmetic`; for methods that drop
elements or elect signs exact where masks and signs stay as they are, which is everywhere but on
a set of measure zero in the weights. At a weight of exactly 0 an election has no derivative:
the one from the right is given, that of a weight about to become positive.

Not here: density, epsilon and gamma, which move masks (a step function: no derivative); methods
whose coefficients come from angles, energies or thresholds (`refusal` says so); merges that round
at every step (`--mergekit-exact`).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch

from .errors import MergeError, UnsupportedError
from .kernels.masks import mask_keys
from .kernels.numbers import SMALLEST_WEIGHT, common_divisor, rescaling
from .kernels.twin import kept_mask, l1_norm
from .kernels.twin_parts import single
from .merge import Tensors, job_inputs
from .methods.formula import Sparsity, TaskVectors, WeightedMean
from .plan import TensorJob
from .sloped import Slope, refusal

LINE = 4096
"""Elements that one sum in float64 is taken over; the lines are added up exactly."""

Gradient = Callable[[str], torch.Tensor | None]
"""Gives the gradient of a loss with respect to a written tensor; None where there is none."""


def tensor_slope(
    job: TensorJob, tensors: Tensors, mask_seed: int, gradient: torch.Tensor
) -> Slope:
    """The derivative of a loss with respect to the numbers of one tensor.

    Args:
        job: what the tensor is made of, every number resolved.
        tensors: a model's stored tensor by its checkpoint name.
        mask_seed: of the methods that draw.
        gradient: of the loss with respect to the merged tensor, of its shape; computed with where
            it lies.

    Returns:
        Derivatives by the experts' weights, in the order of `job.sources`, and by lambda.

    Raises:
        UnsupportedError: a method that has no such derivative (see `refusal`).
        MergeError: as `merge_tensor`; shapes differ.
    """
    method, numbers, fetched = job_inputs(job, tensors)
    if why := refusal(method) or _refused_job(job):
        raise UnsupportedError(f"{job.name}: {why}")
    nothing = Slope(job.name, (0.0,) * len(job.sources), 0.0)
    if not job.sources or not fetched[0].is_floating_point() or gradient.numel() == 0:
        return nothing
    if gradient.shape != fetched[0].shape:
        raise MergeError(
            f"{job.name}: the gradient has shape {list(gradient.shape)}, the merged tensor "
            f"{list(fetched[0].shape)}"
        )
    formula = method.merge(numbers)
    with torch.no_grad():
        g = single(gradient, gradient.device)
        if isinstance(formula, WeightedMean):
            return _mean_slope(job, formula, fetched, g)
        assert isinstance(formula, TaskVectors)  # `refusal` lets no other pass
        keys = [
            mask_keys(mask_seed, job.name, position, g.numel())
            for position in range(len(job.sources))
        ]
        origin = single(fetched[0], g.device)
        kept = [
            _sparse(single(expert, g.device) - origin, sparsity, key)
            for expert, sparsity, key in zip(fetched[1:], formula.sparsities, keys, strict=True)
        ]
        elected = _elected_slope if formula.elect else _sum_slope
        return elected(job, formula, kept, g)


def dot(one: torch.Tensor, other: torch.Tensor) -> float:
    """The inner product in float64, the same whatever the number of threads."""
    left, right = one.reshape(-1), other.reshape(-1)
    lines: list[float] = []
    step = LINE * 1024
    for start, stop in pairwise([*range(0, len(left), step), len(left)]):
        part = left[start:stop].double() * right[start:stop].double()
        padded = torch.nn.functional.pad(part, (0, -len(part) % LINE))
        lines += padded.view(-1, LINE).sum(dim=1).tolist()
    return math.fsum(lines)


def _refused_job(job: TensorJob) -> str:
    return "" if job.stepwise is None else "it is rounded at every step, as mergekit does"


def _mean_slope(
    job: TensorJob, formula: WeightedMean, tensors: Sequence[torch.Tensor], g: torch.Tensor
) -> Slope:
    """Theta = sum w x / W: dL/dw_e = <g, x_e - theta> / W; with no divisor <g, x_e>."""
    if formula.divisor is None:
        return Slope(job.name, tuple(dot(g, single(one, g.device)) for one in tensors), 0.0)
    # <g, x_e - x_0> first: the models are close together, and the difference keeps its digits.
    first = single(tensors[0], g.device)
    apart = [0.0, *(dot(g, single(one, g.device) - first) for one in tensors[1:])]
    mean = _weighted(formula.weights, apart) / formula.divisor
    return Slope(job.name, tuple((one - mean) / formula.divisor for one in apart), 0.0)


def _sum_slope(
    job: TensorJob, formula: TaskVectors, kept: Sequence[torch.Tensor], g: torch.Tensor
) -> Slope:
    """Theta = base + lambda sum w d / W, W = 1 without `normalize` or where weights cancel."""
    along = [dot(g, one) for one in kept]
    total, divisor = _weighted(formula.weights, along), common_divisor(formula) or 1.0
    moves = formula.normalize and abs(math.fsum(formula.weights)) >= SMALLEST_WEIGHT
    shared = total / divisor if moves else 0.0
    slopes = tuple(formula.scale * (one - shared) / divisor for one in along)
    return Slope(job.name, slopes, total / divisor)


def _elected_slope(
    job: TensorJob, formula: TaskVectors, kept: Sequence[torch.Tensor], g: torch.Tensor
) -> Slope:
    """Theta = base + lambda sum over who agrees of w d / H, H the weights that agree."""
    total = torch.zeros_like(g)
    for weight, one in zip(formula.weights, kept, strict=True):
        total = total + one * weight
    agreed = [
        _agrees(total, one, weight) for weight, one in zip(formula.weights, kept, strict=True)
    ]
    merged = torch.zeros_like(g)
    heavy = torch.zeros_like(g)
    for weight, one, agrees in zip(formula.weights, kept, agreed, strict=True):
        merged = merged + torch.where(agrees, one * weight, 0.0)
        heavy = heavy + torch.where(agrees, weight, 0.0)
    if formula.normalize:
        alone = heavy == 0  # whoever joins in where nobody has a say jumps there: no derivative
        heavy = torch.where(alone, 1.0, heavy)
        merged = merged / heavy
        pairs = zip(kept, agreed, strict=True)
        along = [
            dot(g, torch.where(agrees & ~alone, (one - merged) / heavy, 0.0))
            for one, agrees in pairs
        ]
    else:
        along = [
            dot(g, torch.where(agrees, one, 0.0)) for one, agrees in zip(kept, agreed, strict=True)
        ]
    return Slope(job.name, tuple(formula.scale * one for one in along), dot(g, merged))


def _agrees(total: torch.Tensor, delta: torch.Tensor, weight: float) -> torch.Tensor:
    """Where a weighted delta has the elected sign; of a weight of 0, would have from the right."""
    positive = total >= 0
    if weight == 0:
        return (delta != 0) & ((total == 0) | ((delta > 0) == positive))
    turned = torch.where(positive, delta, -delta)
    return turned > 0 if weight > 0 else turned < 0


def _sparse(
    delta: torch.Tensor, sparsity: Sparsity, keys: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """What is left of a delta, rescaled: neither depends on any weight."""
    if sparsity.rule == "all":
        return delta
    kept = torch.where(kept_mask(delta, sparsity, tuple(keys)), delta, 0.0)
    return kept * rescaling(l1_norm(delta), l1_norm(kept)) if sparsity.rescale else kept


def _weighted(weights: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(w * value for w, value in zip(weights, values, strict=True))
