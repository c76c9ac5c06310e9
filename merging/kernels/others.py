"""The compiled engine's way with formulas that are no weighted means of sparse deltas."""

from collections.abc import Sequence

import torch

from ..methods.formula import (
    Custom,
    Fusion,
    NearSwap,
    OtherFormula,
    Overlap,
    Scaled,
    Selected,
    Span,
)
from . import fusion, overlap, selected, span, twin_others
from .operands import Run, entries, readable


def evaluate(
    base: torch.Tensor | None,
    experts: Sequence[torch.Tensor],
    formula: OtherFormula,
    out: torch.Tensor,
    run: Run,
) -> None:
    """Fills `out`; base None: the method has none, or none was given."""
    if isinstance(formula, Scaled | Custom):
        twin_others.evaluate(base, experts, formula, out)
        return
    alone = isinstance(formula, Span) and (base is None or formula.vectors == "plain")
    inputs = [readable(one) for one in (experts if alone or base is None else (base, *experts))]
    table, target = entries(inputs), entries([out])[0]
    match formula:
        case Span():
            origin = not alone and formula.vectors == "from_base"
            span.span(table, origin, formula, out.shape, target, run)
        case Selected():
            selected.selected(table, formula, out.numel(), target, run)
        case Overlap():
            overlap.overlap(table, formula, out.numel(), target, run)
        case NearSwap():
            fusion.nearswap(table, formula, out.numel(), target, run)
        case Fusion():
            fusion.fusion(table, out.shape, target, run)
