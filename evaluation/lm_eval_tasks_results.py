"""Results of lm-eval's metrics as rows of numbers, and back to what its aggregations read.

A task's `process_results` gives a number for most metrics, a pair for some (log-likelihood and
words, gold and prediction), an array for a few (gold and the probabilities of all choices). The
ledger keeps plain numbers, so the form is learnt once from sample results and put back before
aggregating. Metrics over texts (bleu, chrf, ter) or whole documents have no such row: left out.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api import metrics as lm_eval_metrics
from numpy.typing import NDArray

from .task import Metric

Numbers = NDArray[np.float64]
Form = type[int] | type[float] | tuple["Form", ...]
"""int or float for a number, a tuple for a sequence of forms."""
Values = tuple[float, ...]
Raw = Mapping[str, object]
"""Metric name to what lm-eval gives for one item."""

_FROM_SUMS: Mapping[object, Callable[[Numbers, Numbers], Numbers]] = {
    lm_eval_metrics.mean: lambda sums, n: sums[..., 0] / n,
    lm_eval_metrics.perplexity: lambda sums, n: np.exp(-sums[..., 0] / n),
    lm_eval_metrics.weighted_perplexity: lambda sums, _: np.exp(-sums[..., 0] / sums[..., 1]),
    lm_eval_metrics.bits_per_byte: lambda sums, _: -sums[..., 0] / sums[..., 1] / np.log(2),
}


@dataclass(frozen=True, slots=True)
class LmEvalAggregate:
    """An aggregation of lm-eval on rows of numbers, shape (n, width)."""

    function: Callable[[list[Any]], Any]
    form: Form

    def __call__(self, values: Numbers) -> float:
        """What lm-eval reports for these items."""
        items = [_rebuild(self.form, iter(row)) for row in values.tolist()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, for a class that nobody predicted
            return float(self.function(items))


@dataclass(frozen=True, slots=True)
class LmEvalSumAggregate(LmEvalAggregate):
    """One that depends on sums alone: a bootstrap does all resamples at once."""

    def from_sums(self, sums: Numbers, counts: Numbers) -> Numbers:
        """The same from column sums, shape (..., width), and numbers of rows, shape (...)."""
        return _FROM_SUMS[self.function](sums, counts)


def flatten(value: object) -> tuple[Form, Values]:
    """The form and the numbers of one result.

    Raises:
        TypeError: a text, a document or another thing that is no number.
    """
    if isinstance(value, bool | int | np.bool_ | np.integer):
        return int, (float(value),)
    if isinstance(value, float | np.floating):
        return float, (float(value),)
    if isinstance(value, tuple | list | np.ndarray):
        parts = [flatten(part) for part in value]
        return tuple(form for form, _ in parts), tuple(n for _, part in parts for n in part)
    raise TypeError(f"{type(value).__name__} results, which are not numbers")


def learn_metrics(
    samples: Sequence[Raw],
    aggregations: Mapping[str, Callable[[list[Any]], Any]],
    directions: Mapping[str, object],
    names: Mapping[str, str],
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics that can be kept, in the order of `names`, and the others with the reason.

    Args:
        samples: Results of some items.
        aggregations: lm-eval's, by its metric name.
        directions: Whether higher is better, by its metric name.
        names: Our name of each metric in the samples to lm-eval's name.
    """
    kept: dict[str, Metric] = {}
    dropped: dict[str, str] = {}
    for name, source in names.items():
        try:
            form = _common_form([flatten(sample[name])[0] for sample in samples])
            higher = directions[source]
            if not isinstance(higher, bool):
                raise TypeError("no direction: set higher_is_better in its metric_list")
            aggregate = _aggregate(aggregations[source], form)
            aggregate(np.array([flatten(sample[name])[1] for sample in samples]))
        except KeyError:
            dropped[name] = "missing from some items or without an aggregation"
        except Exception as problem:  # a stranger's metric may raise anything
            dropped[name] = str(problem) or type(problem).__name__
        else:
            kept[name] = Metric(name, higher, _width(form), aggregate)
    return kept, dropped


def _aggregate(function: Callable[[list[Any]], Any], form: Form) -> LmEvalAggregate:
    kind = LmEvalSumAggregate if function in _FROM_SUMS else LmEvalAggregate
    return kind(function, form)


def _common_form(forms: Sequence[Form]) -> Form:
    """The one form of all samples; a place that is float in one is float."""
    widths = {_width(form) for form in forms}
    if len(widths) > 1:
        raise TypeError(f"results of {min(widths)} to {max(widths)} numbers an item")
    return _merge(forms)


def _merge(forms: Sequence[Form]) -> Form:
    parts = [form for form in forms if isinstance(form, tuple)]
    if parts and len(parts) < len(forms):
        raise TypeError("results of more than one form")
    if parts:
        return tuple(_merge(column) for column in zip(*parts, strict=True))
    return int if all(form is int for form in forms) else float


def _width(form: Form) -> int:
    return sum(map(_width, form)) if isinstance(form, tuple) else 1


def _rebuild(form: Form, numbers: Iterator[float]) -> Any:
    """The value that has this form and these numbers; what came as an index is one again."""
    if isinstance(form, tuple):
        return tuple(_rebuild(part, numbers) for part in form)
    number = next(numbers)
    return int(number) if form is int and number.is_integer() else number
