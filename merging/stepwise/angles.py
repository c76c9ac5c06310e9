"""Methods with angles, rounded at every step: SLERP in float32, the others in the dtype.

Papers: `merging.methods.span`.
"""

import torch

from ..errors import MergeError
from .inputs import Inputs

COLLINEAR = 0.9995
PIECE = 1 << 20
"""Elements that one partial norm or dot product of SLERP is taken over."""


def slerp(given: Inputs) -> torch.Tensor:
    """The arc between the base and the expert; near-parallel tensors along the chord."""
    first, second = given.origin.reshape(1, -1), given.experts[0].reshape(1, -1)
    t = torch.tensor([given.of("t")], dtype=torch.float32).view(-1, 1)
    left, right = _length(first), _length(second)
    pairs = list(zip(_pieces(first), _pieces(second), strict=True))
    dots = [((a.float() / left) * (b.float() / right)).sum(1, keepdim=True) for a, b in pairs]
    cosine = torch.stack(dots).sum(0).clamp(-1, 1)
    straight = cosine.abs() > COLLINEAR
    angle = torch.acos(cosine.masked_fill(straight, 0))
    sine = torch.sin(angle)
    toward = torch.where(straight, t, torch.sin(t * angle) / sine)
    away = torch.where(straight, 1 - t, torch.sin((1 - t) * angle) / sine)
    parts = [(away * a.float() + toward * b.float()).to(first.dtype) for a, b in pairs]
    return torch.cat(parts, 1).reshape(given.origin.shape)


def nuslerp(given: Inputs) -> torch.Tensor:
    """SLERP of two experts, or of their deltas; of the whole tensor, or row by row."""
    left, right = given.each("weight")
    t = 0.5 if abs(left + right) < 1e-6 else right / (left + right)
    first, second = given.experts
    if given.base is not None:
        first, second = first - given.base, second - given.base
    output = given.numbers.output
    across = bool(output["nuslerp_row_wise"]) and not output["nuslerp_flatten"]
    if output["nuslerp_flatten"]:
        found = _arc(t, first.reshape(-1), second.reshape(-1)).reshape(first.shape)
    elif across:
        found = _arc(t, first.transpose(0, -1), second.transpose(0, -1)).transpose(0, -1)
    else:
        found = _arc(t, first, second)
    return found if given.base is None else given.base + found


def multislerp(given: Inputs) -> torch.Tensor:
    """The weighted mean of directions on the sphere, by the tangent space at their mean.

    Raises:
        MergeError: the weighted directions of three or more add up to nothing.
    """
    if len(given.experts) == 1:
        return given.experts[0]
    vectors = torch.stack(given.experts)
    if given.base is not None:
        vectors = vectors - given.base
    found = _barycentre(vectors.flatten(1), given).view(vectors.shape[1:])
    return found if given.base is None else found + given.base


def karcher(given: Inputs) -> torch.Tensor:
    """The Karcher mean of the directions, of the mean length."""
    if len(given.experts) == 1:
        return given.experts[0]
    share, tolerance = 1.0 / len(given.experts), given.of("tol")
    norms = [torch.linalg.vector_norm(one.float()) for one in given.experts]
    valid = [
        _over(one, norm)
        for one, norm in zip(given.experts, norms, strict=True)
        if norm.item() > tolerance
    ]
    if not valid:
        return given.experts[0] * 0
    total = sum(share for _ in valid)
    mean = _walk(valid, share / total, int(given.of("max_iter")), tolerance)
    scale = share * norms[0]
    for norm in norms[1:]:
        scale = scale + share * norm
    merged: torch.Tensor = scale * mean
    return merged


def _pieces(row: torch.Tensor) -> list[torch.Tensor]:
    return [row[:, start : start + PIECE] for start in range(0, row.shape[1], PIECE)]


def _length(row: torch.Tensor) -> torch.Tensor:
    """The norm of a [1, elements] row in float32, as the norm of the norms of its pieces."""
    parts = [torch.linalg.vector_norm(part.float(), dim=1, keepdim=True) for part in _pieces(row)]
    norm = torch.linalg.vector_norm(torch.stack(parts), dim=0)
    return torch.where(norm > 1e-8, norm, 1)


def _arc(t: float, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """SLERP along the last dimension; vectors without an angle between them along the chord."""
    cosine = torch.sum(_unit(first) * _unit(second), dim=-1, keepdim=True).clamp(-1, 1)
    straight = (1 - cosine.square()) <= 1e-16
    angle = torch.acos(cosine.masked_fill(straight, 0))
    curved = torch.sin((1 - t) * angle) * first + torch.sin(t * angle) * second
    return torch.where(straight, (1 - t) * first + t * second, curved / torch.sin(angle))


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    units: torch.Tensor = vectors / torch.norm(vectors, dim=-1, keepdim=True).clamp(min=1e-7)
    return units


def _barycentre(rows: torch.Tensor, given: Inputs) -> torch.Tensor:
    """The point on the sphere of the weighted mean of rows: [elements] of [vectors, elements]."""
    eps, weights = given.of("eps"), given.weights()
    if given.numbers.output["normalize_weights"]:
        weights = weights / weights.sum()
    shares = weights.view(-1, 1)
    norms = torch.norm(rows, dim=-1, keepdim=True)
    units = rows / (norms + eps)
    mean = (units * shares).sum(0)
    length = torch.norm(mean)
    if length < eps:
        if len(rows) > 2:
            raise MergeError("multislerp: the weighted directions add up to zero; change a weight")
        return rows[0] * weights[0] + rows[1] * weights[1]
    mean = mean / length
    tangents = units - (units * mean).sum(-1, keepdim=True) * mean
    step = (tangents * shares).sum(0)
    size = torch.norm(step) + eps
    point = mean * torch.cos(size) + step * (torch.sin(size) / size)
    result: torch.Tensor = point * (norms.squeeze(-1) * weights).sum()
    return result


def _over(tensor: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
    return (tensor / length).to(tensor.dtype)


def _walk(units: list[torch.Tensor], share: float, steps: int, tolerance: float) -> torch.Tensor:
    """Steps along the mean of the logarithms until one is shorter than the tolerance."""
    mean = torch.zeros_like(units[0])
    for unit in units:
        mean = mean + share * unit
    length = torch.linalg.vector_norm(mean.float())
    mean = units[0] if length.item() < tolerance else _over(mean, length)
    for _ in range(steps):
        step = torch.zeros_like(mean)
        for unit in units:
            cosine = torch.dot(mean.flatten(), unit.flatten()).clamp(-1.0, 1.0)
            angle = torch.arccos(cosine)
            if not angle.item() < tolerance:
                step = step + share * (angle / torch.sin(angle)) * (unit - cosine * mean)
        size = torch.linalg.vector_norm(step.float())
        if size.item() < tolerance:
            break
        mean = (torch.cos(size) * mean + torch.sin(size) * (step / size)).to(mean.dtype)
        length = torch.linalg.vector_norm(mean.float())
        if length.item() > tolerance:
            mean = _over(mean, length)
    return mean
