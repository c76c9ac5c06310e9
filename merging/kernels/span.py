"""Span formulas on the compiled kernels: inner products, coefficients, sum."""

import math
from collections.abc import Sequence

import numpy as np

from ..methods.formula import Coefficients, Grams, Span
from . import combine, grams
from .jit import Array
from .numbers import BLOCK
from .operands import Run

GROUPS = {"tensor": combine.TENSOR, "last": combine.ROWS, "first": combine.COLUMNS}


def groups_of(formula: Span, shape: Sequence[int]) -> tuple[str, int]:
    """What one coefficient is for, and the width of a row of the tensor in that view.

    A vector is one group, whatever the formula says.
    """
    if formula.groups == "tensor" or len(shape) < 2:
        return "tensor", 1
    if formula.groups == "last":
        return "last", shape[-1]
    return "first", math.prod(shape[1:])


def add_blocks(blocks: Grams) -> Grams:
    """The sum over blocks, exact, so that their order does not matter: [1, vectors, vectors]."""
    vectors = blocks.shape[1]
    total = np.empty((1, vectors, vectors))
    for i in range(vectors):
        for j in range(vectors):
            total[0, i, j] = math.fsum(blocks[:, i, j])
    return total


def solved(formula: Span, found: Grams) -> Coefficients:
    """The coefficients, as float32: [vectors, groups]."""
    with np.errstate(all="ignore"):  # a NaN in a weight is a NaN in the merge, told elsewhere
        coefficients = formula.solve(found)
    result: Coefficients = np.ascontiguousarray(coefficients.T.astype(np.float32))
    return result


def span(
    table: Array, origin: bool, formula: Span, shape: Sequence[int], out: Array, run: Run
) -> None:
    """Fills `out` with the sum.

    table: the vectors' (address, dtype code), before them the origin's if there is one; out: the
    target's.
    """
    groups, width = groups_of(formula, shape)
    elements = math.prod(shape)
    coefficients = solved(formula, _grams(table, origin, groups, width, elements, run))
    kind, apart = GROUPS[groups], int(origin)

    def work(start: int, stop: int) -> None:
        combine.combine(out, table, apart, coefficients, kind, width, start, stop)

    run(work, elements)


def _grams(table: Array, origin: bool, groups: str, width: int, elements: int, run: Run) -> Grams:
    apart = int(origin)
    vectors = len(table) - apart
    if groups == "tensor":
        blocks = np.empty((-(-elements // BLOCK), vectors, vectors))
        run(lambda a, b: grams.block_grams(table, apart, vectors, blocks, a, b), elements)
        return add_blocks(blocks)
    if groups == "last":
        rows = np.empty((elements // width, vectors, vectors))
        run(lambda a, b: grams.row_grams(table, apart, vectors, width, rows, a, b), len(rows), 64)
        return rows
    columns = np.empty((width, vectors, vectors))
    length = elements // width

    def work(a: int, b: int) -> None:
        grams.column_grams(table, apart, vectors, length, width, columns, a, b)

    run(work, width, BLOCK)
    return columns
