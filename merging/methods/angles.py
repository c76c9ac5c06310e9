"""Coefficients of span formulas, from the inner products of their vectors.

SLERP: Shoemake, Animating rotation with quaternion curves, 1985. NuSLERP and Multi-SLERP: Goddard,
https://goddard.blog/posts/multislerp-wow-what-a-cool-idea. Karcher mean: Karcher 1977, as in
https://arxiv.org/abs/2603.04972. Model Stock: Jang et al., https://arxiv.org/abs/2403.19522.
Thresholds are mergekit's. Everything is float64, [groups, vectors(, vectors)].
"""

from typing import Any

import numpy as np

from ..errors import MergeError
from .formula import Coefficients, Grams

COLLINEAR = 0.9995
TINY = 1e-6


def _norms(grams: Grams) -> Coefficients:
    """Lengths, from the diagonal: [groups, vectors]."""
    squares = np.diagonal(grams, axis1=1, axis2=2)
    lengths: Coefficients = np.sqrt(squares)
    return lengths


def _arc(t: float, cosines: Coefficients, straight: np.ndarray[Any, Any]) -> Coefficients:
    """sin((1-t) theta) / sin(theta) and sin(t theta) / sin(theta); 1 - t and t where straight."""
    theta = np.arccos(np.where(straight, 0.0, cosines))
    curved = np.stack([np.sin((1 - t) * theta), np.sin(t * theta)], -1) / np.sin(theta)[..., None]
    return np.where(straight[..., None], np.array([1 - t, t]), curved)


def slerp(t: float, grams: Grams) -> Coefficients:
    """Near-parallel and opposite vectors (|cos| > 0.9995) are interpolated along the chord."""
    norms = _norms(grams)
    norms = np.where(norms > 1e-8, norms, 1.0)
    cosines = np.clip(grams[:, 0, 1] / (norms[:, 0] * norms[:, 1]), -1, 1)
    return _arc(t, cosines, np.abs(cosines) > COLLINEAR)


def nuslerp(t: float, grams: Grams) -> Coefficients:
    """Only vectors without an angle between them are interpolated along the chord."""
    norms = np.maximum(_norms(grams), 1e-7)
    cosines = np.clip(grams[:, 0, 1] / (norms[:, 0] * norms[:, 1]), -1, 1)
    return _arc(t, cosines, 1 - cosines**2 <= 1e-16)


def multislerp(given: tuple[float, ...], eps: float, grams: Grams) -> Coefficients:
    """The exponential map at the weighted mean of a tangent vector that is always zero.

    The weighted sum of the tangent parts is the tangent part of the weighted sum, which is the
    mean itself: so the result is the mean's direction, times the cosine of the length 0 + eps.
    """
    weights = np.array(given)
    norms = _norms(grams)[0]
    lengths = norms + eps
    shares = weights / np.where(lengths > 0, lengths, 1)
    length = float(np.sqrt(max(shares @ grams[0] @ shares, 0.0)))
    if length < eps or length == 0:
        if len(weights) == 2 or not norms.any():  # models that do not differ from their base
            return weights[None]
        raise MergeError("multislerp: the weighted sum of the directions is zero; change a weight")
    result: Coefficients = (shares / length * (norms @ weights) * np.cos(eps))[None]
    return result


def karcher(steps: int, tolerance: float, grams: Grams) -> Coefficients:
    """Steps along the mean of the logarithms, until one is shorter than the tolerance.

    Vectors not longer than the tolerance have no direction, and count as zero vectors.
    """
    norms = _norms(grams)[0]
    valid = norms > tolerance
    if not valid.any():
        return np.zeros((1, len(norms)))
    shares = valid / valid.sum()
    cosines = grams[0] / np.outer(np.where(valid, norms, 1), np.where(valid, norms, 1))
    mean = _directed(shares, cosines, tolerance)
    if mean is None:
        mean = np.eye(len(norms))[np.argmax(valid)]
    for _ in range(steps):
        dots = np.clip(cosines @ mean, -1, 1)
        angles = np.arccos(dots)
        moving = valid & (angles >= tolerance)
        factors = np.where(moving, shares * angles / np.where(moving, np.sin(angles), 1), 0.0)
        tangent = factors - (factors @ dots) * mean
        step = float(np.sqrt(max(float(tangent @ cosines @ tangent), 0.0)))
        if step < tolerance or step == 0:
            break
        moved = np.cos(step) * mean + np.sin(step) * tangent / step
        directed = _directed(moved, cosines, tolerance)
        mean = moved if directed is None else directed
    scale = norms.mean()
    result: Coefficients = (scale * mean / np.where(valid, norms, 1) * valid)[None]
    return result


def _directed(shares: Coefficients, cosines: Grams, tolerance: float) -> "Coefficients | None":
    """The sum of the directions, of length 1; None where it has next to none."""
    length = float(np.sqrt(max(float(shares @ cosines @ shares), 0.0)))
    return None if length <= tolerance else shares / length


def model_stock(grams: Grams) -> Coefficients:
    """N cos / (1 + (N - 1) cos) of the mean of pairwise cosines; 0 where that has no value."""
    experts = grams.shape[1]
    norms = _norms(grams)
    first, second = np.triu_indices(experts, 1)
    products = np.maximum(norms[:, first] * norms[:, second], TINY)
    cosine = np.clip(grams[:, first, second] / products, -1, 1).mean(1)
    below = 1 + (experts - 1) * cosine
    singular = np.abs(below) < TINY
    ratio = np.where(singular, 0.0, experts * cosine / np.where(singular, 1.0, below))
    return np.repeat(ratio[:, None] / experts, experts, axis=1)
