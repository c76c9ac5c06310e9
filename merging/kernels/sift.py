"""The one step of selection that needs vectors by hand: sixteen magnitudes against two bounds.

LLVM vectorises no loop that keeps some elements and not others, though processors have an
instruction for it (where they have none, LLVM takes the vector apart).
"""

from typing import Any

from llvmlite import ir
from numba import types

from .jit import generated

LANES = 16
INT = ir.IntType(32)
WORDS = ir.VectorType(INT, LANES)
HALVES = ir.VectorType(ir.IntType(16), LANES)
FLOATS = ir.VectorType(ir.FloatType(), LANES)
FLOATS16 = ir.VectorType(ir.HalfType(), LANES)
BITS = ir.VectorType(ir.IntType(1), LANES)
COMPRESS = f"llvm.experimental.vector.compress.v{LANES}i32"


@generated
def sift(
    typing: Any, base: Any, expert: Any, like: Any, index: Any, low: Any, high: Any, out: Any
) -> Any:
    """Copies those of 16 magnitudes of a delta that lie between two bounds, in order.

    base and expert are addresses of tensors of the dtype of `like`, index is the first element;
    at `out`, an address of uint32, 64 bytes change.

    Returns:
        How many lie between, and how many are above `high`, equal to it, equal to `low`.
    """
    four: Any = types.Tuple([types.int64] * 4)  # type: ignore[no-untyped-call]
    word, place = types.uint32, types.int64
    signature = four(place, place, like, types.int64, word, word, place)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second, _, at, low, high, target = arguments
        ours = _load(builder, first, at, like)
        delta = builder.fsub(_load(builder, second, at, like), ours)
        plain = ir.Constant(WORDS, [0x7FFFFFFF] * LANES)
        found = builder.and_(builder.bitcast(delta, WORDS), plain)
        counts = _sift(builder, found, low, high, target)
        return context.make_tuple(builder, signature.return_type, counts)

    return signature, generate


def _load(builder: Any, address: Any, index: Any, like: Any) -> Any:
    """Sixteen elements as float32."""
    stored = {types.uint16: HALVES, types.int16: FLOATS16}.get(like, FLOATS)
    one = builder.gep(builder.inttoptr(address, stored.element.as_pointer()), [index])
    found = builder.load(builder.bitcast(one, stored.as_pointer()), align=like.bitwidth // 8)
    if stored is FLOATS:
        return found
    if stored is FLOATS16:
        return builder.fpext(found, FLOATS)
    up = ir.Constant(WORDS, [16] * LANES)
    return builder.bitcast(builder.shl(builder.zext(found, WORDS), up), FLOATS)


def _sift(builder: Any, found: Any, low: Any, high: Any, target: Any) -> list[Any]:
    bottom, top = _all(builder, low), _all(builder, high)
    above = builder.icmp_unsigned(">", found, bottom)
    between = builder.and_(above, builder.icmp_unsigned("<", found, top))
    kind = ir.FunctionType(WORDS, [WORDS, BITS, WORDS])
    module = builder.module
    compress = module.globals.get(COMPRESS) or ir.Function(module, kind, COMPRESS)
    packed = builder.call(compress, [found, between, ir.Constant(WORDS, ir.Undefined)])
    builder.store(packed, builder.inttoptr(target, WORDS.as_pointer()), align=4)
    masks = (
        between,
        builder.icmp_unsigned(">", found, top),
        builder.icmp_unsigned("==", found, top),
        builder.icmp_unsigned("==", found, bottom),
    )
    return [_count(builder, mask) for mask in masks]


def _all(builder: Any, value: Any) -> Any:
    """A vector of sixteen times a word."""
    nothing = ir.Constant(WORDS, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(INT, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(WORDS, [0] * LANES))


def _count(builder: Any, mask: Any) -> Any:
    bits = builder.bitcast(mask, ir.IntType(LANES))
    return builder.zext(builder.ctpop(bits), ir.IntType(64))
