"""What a merge method says about one tensor: its formula, in numbers, for an engine to evaluate.

Methods do not touch tensors. Each is a pure function from resolved numbers to one of the formulas
below, and `merging.kernels` evaluates a formula: compiled on the CPU, or in plain torch on any
device, with equal bits.

Arithmetic of both: float32; every product, sum and quotient rounded by itself; experts in recipe
order; one rounding to the output's dtype at the end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..recipe import Scalar


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one tensor, complete and in range: of each expert, and of the output."""

    experts: tuple[Mapping[str, Scalar], ...]
    output: Mapping[str, Scalar]

    def of(self, index: int, name: str) -> float:
        """An expert's number."""
        return float(self.experts[index][name])


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """sum of weight[e] x tensor[e], divided by `divisor` unless that is None."""

    weights: tuple[float, ...]
    divisor: float | None


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Which elements of a delta are kept.

    rule: "all"; "magnitude", the largest int(density n), at least one, ties in element order;
    "random", each with probability `density`; "rank", each with probability density - epsilon + 2
    epsilon rank, rank in [0, 1] by magnitude within its row (along dimension 1; a vector is one
    row; a row of one has rank 0.5); "band", int(density n) elements below the int(gamma n) largest
    (of elements ranked from the smallest magnitude, equal ones in element order, those from rank
    max(0, n - int(density n) - int(gamma n)) on). rescale: multiply what is kept so that the
    whole tensor's L1 norm is what it was.
    """

    rule: Literal["all", "magnitude", "random", "rank", "band"] = "all"
    density: float = 1.0
    epsilon: float = 0.0
    rescale: bool = False
    gamma: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskVectors:
    """base + scale x consensus of weight[e] x sparsify(expert[e] - base).

    elect: keep, element by element, the weighted deltas whose sign is that of their sum (zero is
    positive). normalize: divide by the sum of the weights that count: with `elect` of those that
    agree and are not zero there (a sum of 0 becomes 1), else of all (a sum below 1e-8 becomes 1).
    """

    weights: tuple[float, ...]
    sparsities: tuple[Sparsity, ...]
    elect: bool
    normalize: bool
    scale: float
