"""The methods that add task vectors (expert - base) to the base.

Task arithmetic: Ilharco et al., https://arxiv.org/abs/2212.04089. TIES: Yadav et al.,
https://arxiv.org/abs/2306.01708. DARE: Yu et al., https://arxiv.org/abs/2311.03099, with the L1
rescaling of mergekit (by the norm that was lost, not by 1/density). DELLA: Deep et al.,
https://arxiv.org/abs/2406.11617. Model Breadcrumbs: Davari and Belilovsky,
https://arxiv.org/abs/2312.06795.

They differ in which elements of a delta they keep, and in whether they elect a sign.
"""

from typing import Literal

from .formula import Numbers, Sparsity, TaskVectors

Rule = Literal["all", "magnitude", "random", "rank", "band"]


def task_arithmetic(numbers: Numbers) -> TaskVectors:
    """Base + lambda sum(w delta)."""
    return _combine(numbers, "all", elect=False)


def ties(numbers: Numbers) -> TaskVectors:
    """Trim each delta to its largest elements, elect a sign, take the mean of those that agree."""
    return _combine(numbers, "magnitude", elect=True)


def dare_linear(numbers: Numbers) -> TaskVectors:
    """Drop elements at random, rescale, add."""
    return _combine(numbers, "random", elect=False)


def dare_ties(numbers: Numbers) -> TaskVectors:
    """Drop elements at random, rescale, elect a sign, add those that agree."""
    return _combine(numbers, "random", elect=True)


def breadcrumbs(numbers: Numbers) -> TaskVectors:
    """Drop the largest elements of each delta and the smallest, add what is left."""
    return _combine(numbers, "band", elect=False)


def breadcrumbs_ties(numbers: Numbers) -> TaskVectors:
    """Drop the largest and the smallest elements, elect a sign, add those that agree."""
    return _combine(numbers, "band", elect=True)


def della_linear(numbers: Numbers) -> TaskVectors:
    """Drop elements at random, small ones more often, rescale, add."""
    return _combine(numbers, "rank", elect=False)


def della(numbers: Numbers) -> TaskVectors:
    """Drop at random, small ones more often, rescale, elect a sign, mean of those that agree."""
    return _combine(numbers, "rank", elect=True)


def _combine(numbers: Numbers, rule: Rule, *, elect: bool) -> TaskVectors:
    experts = range(len(numbers.experts))
    return TaskVectors(
        weights=tuple(numbers.of(index, "weight") for index in experts),
        sparsities=tuple(_sparsity(numbers, index, rule) for index in experts),
        elect=elect,
        normalize=bool(numbers.output["normalize"]),
        scale=float(numbers.output["lambda"]),
    )


def _sparsity(numbers: Numbers, index: int, rule: Rule) -> Sparsity:
    """A density of 1 keeps everything, whatever the rule, and has nothing to rescale."""
    if rule == "all" or numbers.of(index, "density") >= 1:
        return Sparsity()
    return Sparsity(
        rule,
        density=numbers.of(index, "density"),
        epsilon=numbers.of(index, "epsilon") if rule == "rank" else 0.0,
        rescale=bool(numbers.output["rescale"]),
        gamma=numbers.of(index, "gamma") if rule == "band" else 0.0,
    )
