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

single: Any = np.float32(0)


SCOPES = ("outputs", "rows", "sums")
"""What kernels write: what they are asked for, and two kinds of scratch memory, float32."""


def _reader(*written: str) -> Any:
    """An element's bits, as a number of the type of `like`, from where nobody writes as `written`.

    LLVM is told so, or it would check each pair of places for overlap, and give up where there are
    many.
    """

    @generated
    def load(typing: Any, address: Any, index: Any, like: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            word = builder.load(_place(context, builder, arguments, like))
            word.set_metadata("noalias", _scopes(builder, written))
            return word

        return like(types.int64, types.int64, like), generate

    return load


def _writer(scope: str) -> Any:
    """Stores the bits of an element."""

    @generated
    def store(typing: Any, address: Any, index: Any, bits: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _place(context, builder, arguments, bits)
            builder.store(arguments[2], place).set_metadata(
                "alias.scope", _scopes(builder, (scope,))
            )
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, bits), generate

    return store


peek = _reader(*SCOPES)
poke = _writer("outputs")
peek_row, poke_row = _reader("outputs", "sums"), _writer("rows")
peek_sum, poke_sum = _reader("outputs", "rows"), _writer("sums")


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
    """An element of an input as float32."""
    return widen(peek(address, index, like))


@inlined
def write(address: int, index: int, value: float, like: Any) -> None:
    """Rounds a float32 and stores it."""
    poke(address, index, narrow(value, like))


@inlined
def row(address: int, index: int) -> Any:
    """A float32 of scratch memory that `poke_row` wrote."""
    return peek_row(address, index, single)


@inlined
def held(address: int, index: int) -> Any:
    """A float32 of scratch memory that `poke_sum` wrote."""
    return peek_sum(address, index, single)


def _place(context: Any, builder: Any, arguments: Any, kind: Any) -> Any:
    pointer = context.get_value_type(kind).as_pointer()
    return builder.gep(builder.inttoptr(arguments[0], pointer), [arguments[1]])


def _scopes(builder: Any, names: tuple[str, ...]) -> Any:
    module = builder.module
    domain = module.add_metadata([ir.MetaDataString(module, "eutectic")])
    return module.add_metadata(
        [module.add_metadata([ir.MetaDataString(module, name), domain]) for name in names]
    )


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
