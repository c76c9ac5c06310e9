"""Results of lm-eval's metrics as rows of numbers, and back to what its aggregations read.

A task's `process_results` gives a number for most metrics, a pair for some (log-likelihood and
words, gold and prediction), an array for a few (gold and the probabilities of all choices). The
ledger keeps plain numbers, so the form is learnt once from sample results and put back before
aggregating. Results without one form in numbers (texts, documents, lists of any length, results
that some items lack) are kept as one text an item, those of bleu, chrf and ter as their counts.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from lm_eval.api import metrics as lm_eval_metrics
from numpy.typing import NDArray

from .lm_eval_tasks_confusion import confusion_aggregate
from .lm_eval_tasks_corpus import corpus_aggregate
from .lm_eval_tasks_texts import NOTHING, TextAggregate, to_text
from .task import Metric, result_rows

Numbers = NDArray[np.float64]
Form = type[int] | type[float] | tuple["Form", ...]
"""int or float for a number, a tuple for a sequence of forms."""
Values = tuple[float | str, ...]
Raw = Mapping[str, object]
"""Metric name to what lm-eval gives for one item."""
ABSENT = object()
"""In the place of a result that an item does not have."""

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
        TypeError: a text, a document or another thing that is no number; ABSENT.
    """
    if isinstance(value, bool | int | np.bool_ | np.integer):
        return int, (float(value),)
    if isinstance(value, float | np.floating):
        return float, (float(value),)
    if isinstance(value, tuple | list | np.ndarray):
        parts = [flatten(part) for part in value]
        return tuple(form for form, _ in parts), tuple(n for _, part in parts for n in part)
    told = "none" if value is ABSENT else type(value).__name__
    raise TypeError(f"expected numbers as its result, got {told}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A metric, and what is kept of lm-eval's result of one item."""

    metric: Metric
    form: Literal["numbers", "counts", "text"]
    of: Callable[[object], Values]
    """From the result, or ABSENT, to what the metric's rows hold; raises TypeError."""


def learn_metrics(
    samples: Sequence[Raw],
    aggregations: Mapping[str, Callable[[list[Any]], Any]],
    directions: Mapping[str, object],
    names: Mapping[str, str],
    choices: int = 0,
) -> tuple[dict[str, Kept], dict[str, str]]:
    """The metrics that can be kept, in the order of `names`, and the others with the reason.

    Args:
        samples: Results of some items.
        aggregations: lm-eval's, by its metric name.
        directions: Whether higher is better, by its metric name.
        names: Our name of each metric in the samples to lm-eval's name.
        choices: The most that an item has, where lm-eval's own scoring numbers them from 0.
    """
    kept: dict[str, Kept] = {}
    dropped: dict[str, str] = {}
    for name, source in names.items():
        values = [sample.get(name, ABSENT) for sample in samples]
        try:
            higher = directions.get(source)
            if all(value is ABSENT for value in values):
                raise TypeError("no item has it")
            if not isinstance(higher, bool):
                raise TypeError("no direction: set higher_is_better in its metric_list")
            found = _kept(name, higher, aggregations[source], values, choices)
            rows = [{name: found.of(value)} for value in values]
            found.metric.aggregate(result_rows(rows, name))
        except Exception as problem:  # a stranger's metric may raise anything
            dropped[name] = str(problem) or type(problem).__name__
        else:
            kept[name] = found
    return kept, dropped


def _kept(
    name: str,
    higher: bool,
    function: Callable[[list[Any]], Any],
    values: Sequence[object],
    choices: int,
) -> Kept:
    """What an item keeps: counts where these say all, else plain numbers, else a text."""
    corpus = corpus_aggregate(function, values)
    if corpus is not None:
        width = len(corpus.counts(values[0]))
        return Kept(Metric(name, higher, width, corpus), "counts", corpus.counts)
    try:
        form = _common_form([flatten(value)[0] for value in values])
    except TypeError:
        return Kept(Metric(name, higher, 1, TextAggregate(function)), "text", _text)
    kind = LmEvalSumAggregate if function in _FROM_SUMS else LmEvalAggregate
    aggregate: Callable[[Numbers], float] = kind(function, form)
    if form == (int, int):
        aggregate = confusion_aggregate(function, aggregate, choices) or aggregate
    return Kept(Metric(name, higher, _width(form), aggregate), "numbers", _numbers)


def _numbers(value: object) -> Values:
    return flatten(value)[1]


def _text(value: object) -> Values:
    return (NOTHING if value is ABSENT else to_text(value),)


def _common_form(forms: Sequence[Form]) -> Form:
    """The one form of all samples; a place that is float in one is float."""
    widths = {_width(form) for form in forms}
    if len(widths) > 1 or 0 in widths:
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
