"""What evaluates a formula: the seam between merge methods and arithmetic.

Two engines: `compiled` kernels for the CPU, and their twin in plain torch for any device. On the
CPU both give the same bits.
"""

from collections.abc import Sequence
from typing import Protocol

import torch

from ..methods.formula import OtherFormula, TaskVectors, WeightedMean

Keys = tuple[tuple[int, int], ...]
"""The mask keys of one expert: one pair for each run of 2^32 elements."""


class Engine(Protocol):
    """Evaluates formulas in float32 and rounds once, to the dtype of `out`, which it fills.

    All tensors of one call have one shape; `out` is contiguous. A NaN in an input is a NaN in the
    output.
    """

    def weighted_mean(
        self, tensors: Sequence[torch.Tensor], formula: WeightedMean, out: torch.Tensor
    ) -> None:
        """Fills `out` with the weighted mean; as many tensors as weights."""

    def task_vectors(
        self,
        base: torch.Tensor,
        experts: Sequence[torch.Tensor],
        formula: TaskVectors,
        keys: Sequence[Keys],
        out: torch.Tensor,
    ) -> None:
        """Fills `out` with base + scale x consensus; experts, weights and keys in one order."""

    def other(
        self,
        base: torch.Tensor | None,
        experts: Sequence[torch.Tensor],
        formula: OtherFormula,
        out: torch.Tensor,
    ) -> None:
        """Fills `out` by any other formula; base None where there is none."""
