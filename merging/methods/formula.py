"""What a merge method says about one tensor: its formula, in numbers, for an engine to evaluate.

Methods do not touch tensors. Each is a pure function from resolved numbers to one of the formulas
below, and `merging.kernels` evaluates a formula: compiled on the CPU, or in plain torch on any
device, with equal bits.

Arithmetic of both: float32; every product, sum and quotient rounded by itself; experts in recipe
order; one rounding to the output's dtype at the end.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..recipe import Scalar

if TYPE_CHECKING:
    import numpy as np
    import torch

Grams: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
"""Inner products of vectors in each group of elements: [groups, vectors, vectors]."""

Coefficients: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
"""What each vector is multiplied by in each group of elements: [groups, vectors]."""


Groups = Literal["tensor", "last", "first"]
"""Elements that share coefficients: all, a row along the last dimension, or along the first."""


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
    row; a row of one has rank 0.5), equal magnitudes in element order; in rows of over 255 ranks
    have steps of 1/254, magnitudes are compared as bfloat16 numbers, and equal ones share the mean
    of their ranks; "band", int(density n) elements below the int(gamma n) largest (of elements
    ranked from the smallest magnitude, equal ones in element order, those from rank max(0, n -
    int(density n) - int(gamma n)) on). rescale: multiply what is kept so that the whole tensor's
    L1 norm is what it was.
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


@dataclass(frozen=True, slots=True)
class Scaled:
    """The one expert times a factor; as it is, bit for bit, where that is 1."""

    factor: float


@dataclass(frozen=True, slots=True)
class Span:
    """The sum of coefficient[e] x vector[e], with coefficients from the vectors' inner products.

    vectors "plain": the experts; "with_base": the base first; "from_base": the experts' deltas,
    and the sum is added to the base (without a base: the experts). groups: one set of coefficients
    for the whole tensor, for each row along its last dimension, or for each along its first.
    """

    solve: "Callable[[Grams], Coefficients]"
    vectors: Literal["plain", "with_base", "from_base"]
    groups: Groups


@dataclass(frozen=True, slots=True)
class Selected:
    """SCE: base + the mean of the deltas that agree, weighted by energy, where they vary most.

    share: of the elements whose variance over the experts is not zero, the largest int(share n)
    are kept, ties in element order; the weights are the experts' shares of what is left of the
    squares (equal ones where that is next to nothing); of each element only deltas with the sign
    of their sum count (zero is positive).
    """

    share: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """RAM: base + deltas beyond `threshold`: those of one expert alone raised, others averaged.

    What an expert has alone is multiplied by 1 + rate x min(ceiling, shared / alone), where it
    shares so many elements with others, and has so many alone.
    """

    threshold: float
    rate: float
    ceiling: float


@dataclass(frozen=True, slots=True)
class NearSwap:
    """w x expert + (1 - w) x base with w = t / |expert - base|, at most 1."""

    t: float


@dataclass(frozen=True, slots=True)
class Fusion:
    """The expert where importance reaches its median + 1.5 x (third - first quartile), else base.

    Importance is |expert - base| times the Kullback-Leibler divergence of the softmax of the
    expert's row from that of the base's (rows along the last dimension).
    """


@dataclass(frozen=True, slots=True)
class Custom:
    """A user's own function of base, experts and numbers; see `merging.methods.own`."""

    name: str
    function: "Callable[[torch.Tensor | None, Sequence[torch.Tensor], Numbers], torch.Tensor]"
    numbers: Numbers


OtherFormula = Custom | Scaled | Span | Selected | Overlap | NearSwap | Fusion
Formula = WeightedMean | TaskVectors | OtherFormula
