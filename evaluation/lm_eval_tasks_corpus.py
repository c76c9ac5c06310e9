"""BLEU, chrF, chrF++ and TER, functions of a whole corpus, kept as their sufficient statistics.

sacrebleu counts matches sentence by sentence, adds the counts up, and computes the figure from
the sums (Post 2018, arXiv:1804.08771). The counts are what an item keeps: any part of the items
has exactly lm-eval's figure, and a bootstrap needs no text. They come from functions inside
sacrebleu, so that equality with lm-eval's own figure is tried on the task's references first;
where it fails, or where questions have different numbers of references (of which lm-eval takes as
many as the question with the fewest has), the texts are kept instead.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.api import metrics as lm_eval_metrics
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from .resampling import Numbers

_KINDS: Mapping[str, Callable[[], Any]] = {
    "bleu": lambda: BLEU(force=True),  # force: says nothing of texts that look tokenised
    "chrf": CHRF,
    "chrfpp": lambda: CHRF(word_order=2),
    "ter": TER,
}
"""lm-eval's aggregations by their Python names, as sacrebleu's metrics with the same settings."""
_TRIED = 8
"""Items on which equality is tried: the edits of TER take long to count."""


@dataclass(frozen=True, slots=True)
class CorpusAggregate:
    """A metric of sacrebleu on rows of an item's counts, shape (n, width)."""

    metric: Any
    references: int
    """Of each item."""

    def __call__(self, values: Numbers) -> float:
        """What lm-eval reports for these items."""
        return float(self.from_sums(values.sum(axis=0), np.array(float(len(values)))))

    def from_sums(self, sums: Numbers, counts: Numbers) -> Numbers:
        """The same from sums, shape (..., width)."""
        flat = sums.reshape(-1, sums.shape[-1])
        scores = [self.metric._aggregate_and_compute([row]).score for row in flat.tolist()]
        return np.array(scores, dtype=np.float64).reshape(sums.shape[:-1])

    def counts(self, value: object) -> tuple[float, ...]:
        """One item's counts from lm-eval's result of it.

        Raises:
            TypeError: it is no pair of references and a text.
        """
        references, answer = _pair(value)
        if len(references) != self.references:
            raise TypeError(f"expected {self.references} references, got {len(references)}")
        streams = [[reference] for reference in references]
        found = self.metric._extract_corpus_statistics([answer], streams)[0]
        return tuple(float(count) for count in found)


def corpus_aggregate(
    function: Callable[[list[Any]], Any], values: Sequence[object]
) -> CorpusAggregate | None:
    """The metric that `function` computes, None where it is none of sacrebleu's on texts.

    Args:
        function: lm-eval's aggregation.
        values: lm-eval's results of some items.
    """
    name = getattr(function, "__name__", "")
    if name not in _KINDS or getattr(lm_eval_metrics, name, None) is not function:
        return None
    try:
        references = [_pair(value)[0] for value in values]
        aggregate = CorpusAggregate(_KINDS[name](), len(references[0]))
        if any(len(one) != aggregate.references for one in references):
            return None
        tried = references[:_TRIED]
        others = tried[1:] + tried[:1]
        crossed = [[list(one), other[0]] for one, other in zip(tried, others, strict=True)]
        rows = np.array([aggregate.counts(pair) for pair in crossed])
        return aggregate if aggregate(rows) == function(crossed) else None
    except (TypeError, AttributeError):
        return None


def _pair(value: object) -> tuple[tuple[str, ...], str]:
    """References and answer of one item; of an answer in a list of one, that one."""
    if isinstance(value, list | tuple) and len(value) == 2:
        given, answer = value
        references = tuple(given) if isinstance(given, list | tuple) else (given,)
        if isinstance(answer, list) and len(answer) == 1:
            answer = answer[0]
        if references and all(isinstance(part, str) for part in (*references, answer)):
            return references, answer
    raise TypeError("its results are no pairs of texts")
