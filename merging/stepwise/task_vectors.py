"""Methods that add sparsified, weighted deltas to the base, rounded at every step.

Papers: `merging.methods.task_vectors`.
"""

from dataclasses import dataclass

import torch

from .inputs import Inputs
from .sparsity import Sparsify, at_random, by_rank, magnitude, outliers

SMALLEST_WEIGHT = 1e-8


@dataclass(frozen=True, slots=True)
class TaskVectors:
    """One method of the family: how deltas are sparsified, and whether signs are elected.

    `own` is the parameter that only this way of sparsifying has.
    """

    sparsify: Sparsify | None
    own: str | None
    elect: bool

    def __call__(self, given: Inputs) -> torch.Tensor:
        """Base + lambda x consensus of the deltas."""
        base = given.origin
        weights = given.weights().view(-1, *[1] * base.dim())
        deltas = torch.stack(self._deltas(given)) * weights
        total = self._consensus(deltas, weights, bool(given.numbers.output["normalize"]))
        scale = given.of("lambda")
        return base + (total if scale == 1 else total * scale)

    def _deltas(self, given: Inputs) -> list[torch.Tensor]:
        deltas = [expert - given.origin for expert in given.experts]
        if self.sparsify is None:
            return deltas
        own = given.each(self.own) if self.own else [0.0] * len(deltas)
        rescale = bool(given.numbers.output["rescale"])
        numbers = zip(deltas, given.each("density"), own, given.keys, strict=True)
        return [
            self.sparsify(delta, density, number, rescale, keys)
            for delta, density, number, keys in numbers
        ]

    def _consensus(
        self, deltas: torch.Tensor, weights: torch.Tensor, normalize: bool
    ) -> torch.Tensor:
        """The sum over the experts of what counts; divided by the weights that count, if asked."""
        if self.elect:
            positive = torch.where(deltas.sum(0) >= 0, 1, -1).to(deltas.dtype)
            counts = deltas.sign() == positive
            total, divisor = (deltas * counts).sum(0), (weights * counts).sum(0)
            empty = divisor == 0
        else:
            total, divisor = deltas.sum(0), weights.sum(0)
            empty = divisor.abs() < SMALLEST_WEIGHT
        return total / divisor.masked_fill(empty, 1) if normalize else total


task_arithmetic = TaskVectors(None, None, elect=False)
ties = TaskVectors(magnitude, None, elect=True)
dare_linear = TaskVectors(at_random, None, elect=False)
dare_ties = TaskVectors(at_random, None, elect=True)
breadcrumbs = TaskVectors(outliers, "gamma", elect=False)
breadcrumbs_ties = TaskVectors(outliers, "gamma", elect=True)
della_linear = TaskVectors(by_rank, "epsilon", elect=False)
della = TaskVectors(by_rank, "epsilon", elect=True)
