"""mcc and f1 of multiple choice, which depend on the confusion matrix alone: fast to resample.

lm-eval calls scikit-learn, which takes a millisecond and more for each of thousands of resamples.
The figure itself is still lm-eval's; of resamples it is computed from counts of (gold, answer), by
scikit-learn's formulas: Gorodkin's R_K (2004, doi:10.1016/j.compbiolchem.2004.09.006), 0 where
it is not defined; F1 of label 1, 0 where neither gold nor answer has it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from lm_eval.api import metrics as lm_eval_metrics

from .resampling import Numbers

MOST_LABELS = 10
"""With more choices the matrix has more cells than a bootstrap of them would gain."""


@dataclass(frozen=True, slots=True)
class ConfusionAggregate:
    """An aggregation of lm-eval on rows of gold and answer, shape (n, 2), below `labels`."""

    plain: Callable[[Numbers], float]
    labels: int
    formula: Callable[[Numbers], Numbers]

    def __call__(self, values: Numbers) -> float:
        """What lm-eval reports for these items."""
        return self.plain(values)

    def columns(self, values: Numbers) -> Numbers:
        """A 1 in the cell of each item's gold and answer, shape (n, labels * labels)."""
        cells = values[:, 0].astype(np.int64) * self.labels + values[:, 1].astype(np.int64)
        wide: Numbers = (cells[:, None] == np.arange(self.labels**2)).astype(np.float64)
        return wide

    def from_sums(self, sums: Numbers, counts: Numbers) -> Numbers:
        """The figure from counts of the cells, shape (..., labels * labels)."""
        return self.formula(sums.reshape(*sums.shape[:-1], self.labels, self.labels))


def confusion_aggregate(
    function: object, plain: Callable[[Numbers], float], labels: int
) -> ConfusionAggregate | None:
    """The fast form of `plain`, None where `function` is neither or there are too many labels."""
    formula = _FORMULAS.get(function)
    fits = labels == 2 or (formula is _mcc and 2 < labels <= MOST_LABELS)
    return ConfusionAggregate(plain, labels, formula) if formula is not None and fits else None


def _mcc(matrix: Numbers) -> Numbers:
    """From confusion matrices, shape (..., gold, answer)."""
    golds, answers = matrix.sum(axis=-1), matrix.sum(axis=-2)
    n, right = golds.sum(axis=-1), np.trace(matrix, axis1=-2, axis2=-1)
    covariance = right * n - (golds * answers).sum(axis=-1)
    spread = (n**2 - (golds**2).sum(axis=-1)) * (n**2 - (answers**2).sum(axis=-1))
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)


def _f1(matrix: Numbers) -> Numbers:
    """From confusion matrices of two labels."""
    both = 2 * matrix[..., 1, 1]
    either = both + matrix[..., 0, 1] + matrix[..., 1, 0]
    return np.where(either > 0, both / np.where(either > 0, either, 1.0), 0.0)


_FORMULAS: Mapping[object, Callable[[Numbers], Numbers]] = {
    lm_eval_metrics.matthews_corrcoef: _mcc,
    lm_eval_metrics.f1_score: _f1,
}
