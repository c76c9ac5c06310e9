"""Task vectors of few experts under one kind of rule: everything in registers, nothing between.

What `compiled.task_vectors` does in steps, for any number of experts and mix of rules, bit for bit
and half again as fast. The number of experts and the kind of rule are types here (the lengths of
tuples), so each combination is compiled when it is first met.
"""

from typing import Any

import numpy as np

from .elements import read, write
from .jit import compiled, inlined
from .primitives import bits_of, float_of, uint32
from .rules import is_kept

MOST = 4
"""Experts. Of more LLVM would not unroll the loops over them."""

zero: Any = np.float32(0)
one: Any = np.float32(1)


@compiled
def fused(
    out: int,
    tensors: Any,
    like: Any,
    out_like: Any,
    numbers: Any,
    factors: Any,
    weights: Any,
    elect: bool,
    normalize: bool,
    scale: float,
    start: int,
    stop: int,
) -> None:
    """See `compiled.task_vectors`; tuples of addresses, of what `is_kept` takes, of numbers.

    The numbers of the rules hold for all elements [start, stop).
    """
    if not elect:
        _added(out, tensors, like, out_like, numbers, factors, start, stop - start)
    elif normalize:
        fixed = (True, scale, start, stop - start)
        _elected(out, tensors, like, out_like, numbers, factors, weights, *fixed)
    else:
        fixed = (False, scale, start, stop - start)
        _elected(out, tensors, like, out_like, numbers, factors, weights, *fixed)


@inlined
def _sparse(tensors: Any, e: int, like: Any, numbers: Any, factors: Any, index: int) -> Any:
    delta = read(tensors[1 + e], index, like) - read(tensors[0], index, like)
    factor = np.float32(factors[e])
    return delta * (factor if is_kept(delta, index, numbers[e]) else factor * zero)


@inlined
def _added(
    out: int,
    tensors: Any,
    like: Any,
    out_like: Any,
    numbers: Any,
    factors: Any,
    start: int,
    count: int,
) -> None:
    for i in range(count):
        total = zero
        for e in range(len(factors)):
            total += _sparse(tensors, e, like, numbers, factors, start + i)
        write(out, start + i, read(tensors[0], start + i, like) + total, out_like)


@inlined
def _elected(
    out: int,
    tensors: Any,
    like: Any,
    out_like: Any,
    numbers: Any,
    factors: Any,
    weights: Any,
    normalize: bool,
    scale: float,
    start: int,
    count: int,
) -> None:
    for i in range(count):
        total = zero
        for e in range(len(factors)):
            total += _sparse(tensors, e, like, numbers, factors, start + i)
        sign = uint32(0) if total >= zero else uint32(0x80000000)
        change = zero
        heavy = zero
        for e in range(len(factors)):
            delta = _sparse(tensors, e, like, numbers, factors, start + i)
            turned = float_of(uint32(bits_of(delta) ^ sign))
            change += turned if turned > zero else zero
            heavy += np.float32(weights[e]) if turned > zero else zero
        if normalize:
            change /= one if heavy == zero else heavy
        change = float_of(uint32(bits_of(change) ^ sign))
        change = change if total == total else total  # a NaN stays
        write(out, start + i, read(tensors[0], start + i, like) + change * scale, out_like)
