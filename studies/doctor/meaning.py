"""What a tensor's numbers amount to: equal for numbers that make the same tensor.

Weights that are divided by their sum count as shares, a lone weight that is divided by itself as
1, a mask that nothing is multiplied by as none. Other formulas count as their numbers.
"""

from collections.abc import Sequence

from merging.errors import MergeError
from merging.methods.formula import Numbers, Sparsity, TaskVectors, WeightedMean
from merging.methods.table import METHODS
from merging.plan import TensorJob


def numbers_differ(before: Sequence[TensorJob], after: Sequence[TensorJob]) -> bool:
    """Whether some tensor has another number, whatever it makes of it."""
    return [_raw(one) for one in before] != [_raw(one) for one in after]


def formulas_differ(before: Sequence[TensorJob], after: Sequence[TensorJob]) -> bool:
    """Whether some tensor is made otherwise, whatever is read for it."""
    return [meaning_of(one) for one in before] != [meaning_of(one) for one in after]


def _raw(job: TensorJob) -> object:
    return [dict(one.parameters) for one in job.sources], dict(job.parameters)


def formula_of(job: TensorJob) -> object:
    """The job's formula; the fault in words where its numbers give none."""
    numbers = Numbers(tuple(one.parameters for one in job.sources), job.parameters)
    try:
        return METHODS[job.method].merge(numbers)
    except MergeError as error:
        return str(error)


def meaning_of(job: TensorJob) -> object:
    """What a job computes, equal for numbers that make the same tensor."""
    if not job.sources:
        return None
    formula = formula_of(job)
    if isinstance(formula, TaskVectors | WeightedMean):
        return told(formula, tuple(range(len(job.sources))))
    return job.method, _raw(job)


def told(formula: TaskVectors | WeightedMean, places: tuple[int, ...]) -> object:
    """Weights as what deltas are multiplied by, without what cancels.

    `places` says which expert each weight belongs to.
    """
    if isinstance(formula, WeightedMean):
        return tuple(_rounded(one / (formula.divisor or 1.0)) for one in formula.weights)
    weights = formula.weights
    counted = [one for one in weights if one]
    if formula.normalize and formula.elect and len(counted) == 1:
        weights = tuple(1.0 if one else 0.0 for one in weights)
    elif formula.normalize and not formula.elect and abs(sum(weights)) >= 1e-8:
        weights = tuple(one / sum(weights) for one in weights)
    shares = [_rounded(one * formula.scale) for one in weights]
    sparse = [
        own if share else Sparsity() for own, share in zip(formula.sparsities, shares, strict=True)
    ]
    read = [(p, w, s) for p, w, s in zip(places, shares, sparse, strict=True) if w]
    return tuple(read), formula.elect, formula.normalize and formula.elect and len(counted) > 1


def _rounded(value: float) -> float:
    return float(f"{value:.9g}")
