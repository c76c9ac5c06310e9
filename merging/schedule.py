"""The value of a parameter at a tensor and a depth: gradients, filters, precedence.

As mergekit has it. Depth t is 0 at the first layer of a slice and 1 at its last; a slice of one
layer is at 1; tensors outside the layers take 0. A gradient of n values has s = t(n-1),
i = floor(s), f = s - i and the value (1-f) v[i] + f v[min(i+1, n-1)]. In a filter list the first
entry whose filter is part of the tensor's name wins; where none matches, the next level is asked.
"""

import math
from collections.abc import Iterable
from typing import TypeGuard

from .recipe import Conditional, Gradient, Parameters, Scalar, Setting


def depth(index: int, length: int) -> float:
    """Where layer `index` of `length` stands in its slice, in [0, 1]; a single layer is at 1."""
    return index / (length - 1) if length > 1 else 1.0


def interpolate(gradient: Gradient, t: float) -> float:
    """The value of a gradient at depth t in [0, 1]."""
    position = t * (len(gradient) - 1)
    low = math.floor(position)
    share = position - low
    high = min(low + 1, len(gradient) - 1)
    return (1 - share) * gradient[low] + share * gradient[high]


def matches(filter: str | None, tensor: str) -> bool:
    """Whether a filter is part of the tensor's name, case and all; None and `*` match any."""
    return filter is None or filter == "*" or filter in tensor


def is_gradient(setting: Setting) -> TypeGuard[Gradient]:
    """Whether a setting is values along depth."""
    return isinstance(setting, tuple) and not isinstance(setting[0], Conditional)


def is_filter_list(setting: Setting) -> TypeGuard[tuple[Conditional, ...]]:
    """Whether a setting is a list of filters with their values."""
    return isinstance(setting, tuple) and isinstance(setting[0], Conditional)


def value_at(setting: Setting, tensor: str, t: float) -> Scalar | None:
    """The value of one setting for a tensor; None where no entry of its filter list matches."""
    if not isinstance(setting, tuple):
        return setting
    if is_gradient(setting):
        return interpolate(setting, t)
    if is_filter_list(setting):
        for entry in setting:
            if matches(entry.filter, tensor):
                return value_at(entry.value, tensor, t)
    return None


def resolve(levels: Iterable[Parameters], name: str, tensor: str, t: float) -> Scalar | None:
    """The effective value of a parameter; `levels` go from the source's own to the recipe's.

    Returns None where no level says anything for this tensor: then the method's default holds.
    """
    for level in levels:
        if name in level:
            value = value_at(level[name], tensor, t)
            if value is not None:
                return value
    return None


def breakpoints(settings: Iterable[Setting]) -> tuple[float, ...]:
    """The depths between which all these settings are straight lines: 0, 1 and every kink."""
    lengths = {len(gradient) for setting in settings for gradient in gradients(setting)}
    kinks = {index / (length - 1) for length in lengths if length > 1 for index in range(length)}
    return tuple(sorted(kinks | {0.0, 1.0}))


def gradients(setting: Setting) -> tuple[Gradient, ...]:
    """The gradients in a setting: itself, or those in its filter list."""
    if is_filter_list(setting):
        return tuple(entry.value for entry in setting if is_gradient(entry.value))
    return (setting,) if is_gradient(setting) else ()


def filters(settings: Iterable[Setting]) -> tuple[str, ...]:
    """Every name filter in these settings, each once, in order."""
    return tuple(
        dict.fromkeys(
            entry.filter
            for setting in settings
            if is_filter_list(setting)
            for entry in setting
            if entry.filter is not None and entry.filter != "*"
        )
    )
