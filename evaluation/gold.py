"""What a task's gold answer costs a model: a smooth loss that ranks like the task's metric.

choices   cross-entropy of the gold choice against the others, over their log-likelihoods (divided
          by their lengths where the metric is): it falls as accuracy rises, and has a derivative
text      negative log-likelihood; in bits over bytes where the metric is bits per byte
generate  negative log-likelihood of the target behind the prompt, in nats an item: minus the log
          of the probability that sampling would write exactly that

A metric is a step function of the weights; gradients of merge coefficients are taken of these.
Not here: what no gold answer is known of (`NoGoldError` says why), and any arithmetic on models
(`gold_pass`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .errors import NoGoldError
from .rules import ChoiceRule, MatchRule, Rule, TextRule
from .task import Item, Request

LENGTHS = ("acc_norm", "acc_bytes")
"""Metrics that divide a choice's log-likelihood by its length, in characters or in bytes."""


@dataclass(frozen=True, slots=True)
class Gold:
    """The loss of one item.

    With `right` an index: the cross-entropy of that request's log-likelihood against the others',
    each divided by its size; None: minus the one log-likelihood, times `scale`. The loss of
    several items is the sum of theirs over the sum of their `weight`s.
    """

    requests: tuple[Request, ...]
    right: int | None = None
    sizes: tuple[float, ...] = ()
    scale: float = 1.0
    weight: float = 1.0


def choice_gold(
    requests: Sequence[Request], right: int, metric: str, choices: Sequence[str] | None = None
) -> Gold:
    """The loss of a question with choices; `choices` are their texts, where lengths count."""
    sizes = [1.0] * len(requests)
    if metric in LENGTHS and choices is not None:
        texts = [one if metric == "acc_norm" else one.encode() for one in choices]
        sizes = [float(max(1, len(one))) for one in texts]
    return Gold(tuple(requests), right, tuple(sizes))


def text_gold(request: Request, text: str) -> Gold:
    """Bits per byte of a text."""
    return Gold((request,), scale=1 / math.log(2), weight=float(len(text.encode())))


def target_gold(prompt: Request, target: str) -> Gold:
    """The loss of a text that is to be written behind a prompt.

    Raises:
        NoGoldError: it is empty.
    """
    if not target.strip():
        raise NoGoldError("the target is empty")
    return Gold(
        (replace(prompt, kind="loglikelihood", continuation=target, until=(), max_new_tokens=0),)
    )


def rule_gold(item: Item, rule: Rule, metric: str, joint: str) -> Gold:
    """The loss of an item of a native task.

    Args:
        item: The item.
        rule: Scores it.
        metric: The metric that is optimised.
        joint: What stands between a prompt and its answer.

    Raises:
        NoGoldError: the rule knows no gold answer.
    """
    if isinstance(rule, ChoiceRule):
        sizes = rule.lengths if metric == "acc_norm" else (1,) * len(rule.lengths)
        return Gold(item.requests, rule.gold, tuple(map(float, sizes)))
    if isinstance(rule, TextRule):
        return text_gold(item.requests[0], rule.target)
    if isinstance(rule, MatchRule):
        return target_gold(item.requests[0], (joint if item.text else "") + rule.target)
    raise NoGoldError("it is scored by the user's own function, which names no gold answer")
