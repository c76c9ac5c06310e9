"""Elements of a tensor by address: one kernel's source serves bf16, fp16 and fp32.

A dtype is told by the type of a dummy number (`LIKE`), so each kernel is compiled for the dtypes
that it meets, and reads and writes them in its inner loop, without a buffer between.
"""

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types

from .jit import generated, inlined
from .primitives import from_bfloat16, from_float16, to_bfloat16, to_float16

LIKE: Any = {
    torch.bfloat16: np.uint16(0),
    torch.float16: np.int16(0),
    torch.float32: np.float32(0),
}
"""A number of the type that stands for a dtype; its bits are what is stored."""


@generated
def peek(typing: Any, address: Any, index: Any, like: Any) -> Any:
    """The stored bits of an element, as a number of the type of `like`; nobody writes there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.load(_place(context, builder, arguments, like))
        word.set_metadata("noalias", _scope(builder))
        return word

    return like(types.int64, types.int64, like), generate


@generated
def held(typing: Any, address: Any, index: Any) -> Any:
    """A float32 of the kernel's own scratch memory, which `poke` may have put there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_place(context, builder, arguments, types.float32))

    return types.float32(types.int64, types.int64), generate


@generated
def poke(typing: Any, address: Any, index: Any, bits: Any) -> Any:
    """Stores the bits of an element of the output, or of scratch memory."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, arguments, bits)
        builder.store(arguments[2], place).set_metadata("alias.scope", _scope(builder))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, bits), generate


@generated
def widen(typing: Any, bits: Any) -> Any:
    """The number that stored bits mean, in float32: exact."""
    python = {types.uint16: _from_bfloat16, types.int16: _from_float16}.get(bits, _as_it_is)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.compile_internal(builder, python, signature, arguments)

    return types.float32(bits), generate


@generated
def narrow(typing: Any, value: Any, like: Any) -> Any:
    """The bits to store of a float32: nearest, ties to even, NaN stays."""
    python = {types.uint16: _to_bfloat16, types.int16: _to_float16}.get(like, _as_it_is)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inner = like(types.float32)
        return context.compile_internal(builder, python, inner, arguments[:1])

    return like(types.float32, like), generate


@inlined
def read(address: int, index: int, like: Any) -> Any:
    """An element as float32."""
    return widen(peek(address, index, like))


@inlined
def write(address: int, index: int, value: float, like: Any) -> None:
    """Rounds a float32 and stores it."""
    poke(address, index, narrow(value, like))


def _place(context: Any, builder: Any, arguments: Any, kind: Any) -> Any:
    pointer = context.get_value_type(kind).as_pointer()
    return builder.gep(builder.inttoptr(arguments[0], pointer), [arguments[1]])


def _scope(builder: Any) -> Any:
    """Tells LLVM that what is written overlaps no input: it would check each pair, or give up."""
    domain = builder.module.add_metadata([ir.MetaDataString(builder.module, "eutectic")])
    scope = [ir.MetaDataString(builder.module, "outputs"), domain]
    return builder.module.add_metadata([builder.module.add_metadata(scope)])


def _as_it_is(value: Any) -> Any:
    return value


def _from_bfloat16(bits: Any) -> Any:
    return from_bfloat16(bits)


def _to_bfloat16(value: Any) -> Any:
    return to_bfloat16(value)


def _from_float16(bits: Any) -> Any:
    return from_float16(bits)


def _to_float16(value: Any) -> Any:
    return np.int16(to_float16(value))
