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
COMPRESS = f"llvm.experimental.vector.compress.v{LANES}i32"
BITS = ir.VectorType(ir.IntType(1), LANES)


@generated
def sift(typing: Any, words: Any, low: Any, high: Any, out: Any) -> Any:
    """Copies those of 16 words that lie between two bounds, in order; 64 bytes of `out` change.

    words and out are addresses of uint32.

    Returns:
        How many lie between, and how many are above `high`, equal to it, equal to `low`.
    """
    four: Any = types.Tuple([types.int64] * 4)  # type: ignore[no-untyped-call]
    signature = four(types.int64, types.uint32, types.uint32, types.int64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, low, high, target = arguments
        found = builder.load(builder.inttoptr(source, WORDS.as_pointer()), align=4)
        bottom, top = _all(builder, low), _all(builder, high)
        above = builder.icmp_unsigned(">", found, bottom)
        between = builder.and_(above, builder.icmp_unsigned("<", found, top))
        kind = ir.FunctionType(WORDS, [WORDS, BITS, WORDS])
        compress = builder.module.globals.get(COMPRESS) or ir.Function(
            builder.module, kind, COMPRESS
        )
        packed = builder.call(compress, [found, between, ir.Constant(WORDS, ir.Undefined)])
        builder.store(packed, builder.inttoptr(target, WORDS.as_pointer()), align=4)
        masks = (
            between,
            builder.icmp_unsigned(">", found, top),
            builder.icmp_unsigned("==", found, top),
            builder.icmp_unsigned("==", found, bottom),
        )
        counts = [_count(builder, mask) for mask in masks]
        return context.make_tuple(builder, signature.return_type, counts)

    return signature, generate


def _all(builder: Any, value: Any) -> Any:
    """A vector of sixteen times a word."""
    nothing = ir.Constant(WORDS, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(INT, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(WORDS, [0] * LANES))


def _count(builder: Any, mask: Any) -> Any:
    bits = builder.bitcast(mask, ir.IntType(LANES))
    return builder.zext(builder.ctpop(bits), ir.IntType(64))
