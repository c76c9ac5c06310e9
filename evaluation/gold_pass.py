"""The loss of gold answers on the live weights, and its gradient: plain padded batches.

All rows of an item run in one batch, so that its cross-entropy is one graph. An item too large for
that takes two passes: its log-likelihoods without a graph give the derivative of the loss by each
of them, then batch by batch with a graph. Log-probabilities and losses are float32 whatever the
model's dtype, and so are the sums of gradients over batches.

The model is left as it was: parameters untouched, no gradient kept, nothing that requires one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Batch, Limits
from .budget import SMALLEST, bytes_a_token, memory_bytes
from .budget_bytes import SHARE
from .encoding import Span
from .errors import NonFiniteError
from .gold import Gold
from .guards import named, told_when_exhausted, torch_threads
from .head import logits_at
from .packing import shared_rows
from .padding import padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from .runner import Runner

LOGITS_ELEMENTS = 2**26
"""Bound of one batch's logits: kept for the way back, several times over."""


@dataclass(slots=True)
class GoldLoss:
    """A loss, in the unit of `Gold`, over `items` of them.

    `gradients` are float32, by parameter, as long as the context that gave them is open.
    """

    value: float
    items: int
    gradients: dict[nn.Parameter, Tensor] = field(default_factory=dict)

    def of(self, parameter: nn.Parameter) -> Tensor | None:
        """The gradient with respect to a parameter; None where the loss does not depend on it."""
        return self.gradients.get(parameter)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Items that run together: their golds, spans, and which request each span belongs to."""

    golds: tuple[Gold, ...]
    spans: tuple[Span, ...]
    owners: tuple[int, ...]
    """The request, counted over all golds, of each span."""
    batches: tuple[Batch, ...]
    label: str


def gold_loss(runner: "Runner", golds: Sequence[Gold], labels: Sequence[str]) -> GoldLoss:
    """The loss alone, by the same batches.

    Raises:
        EvaluationError: a request that this model cannot answer; its label comes first.
        NonFiniteError: the loss is NaN or Inf.
    """
    total = math.fsum(gold.weight for gold in golds)
    with torch_threads(runner.settings.threads), told_when_exhausted(runner.settings):
        with torch.no_grad():
            parts = [_loss(runner, one) for one in bundles(runner, golds, labels)]
    return GoldLoss(_checked(parts, labels) / total, len(golds))


@contextmanager
def gold_gradient(
    runner: "Runner", golds: Sequence[Gold], labels: Sequence[str]
) -> Iterator[GoldLoss]:
    """The loss with its gradients, which are there while the context is open.

    Raises:
        As `gold_loss`.
    """
    total = math.fsum(gold.weight for gold in golds)
    with torch_threads(runner.settings.threads), _teaching(runner.model) as gradients:
        with told_when_exhausted(runner.settings), torch.enable_grad():
            parts = [_back(runner, one, total) for one in bundles(runner, golds, labels)]
        loss = GoldLoss(_checked(parts, labels) / total, len(golds), gradients())
        yield loss
        loss.gradients.clear()


def bundles(runner: "Runner", golds: Sequence[Gold], labels: Sequence[str]) -> Iterator[Bundle]:
    """Items in batches within the token budget, the longest first."""
    limits = _limits(runner)
    known: list[list[list[Span]]] = []
    for gold, label in zip(golds, labels, strict=True):
        with named(label):
            known.append([list(runner.spans(request)) for request in gold.requests])
    sizes = [max(len(span.tokens) for spans in one for span in spans) for one in known]
    waiting: list[int] = []
    rows = asked = 0
    for number in sorted(range(len(golds)), key=lambda k: (-sizes[k], k)):
        more = sum(map(len, known[number]))
        targets = sum(len(span.targets) for spans in known[number] for span in spans)
        width = sizes[waiting[0]] if waiting else sizes[number]
        full = (rows + more) * width > limits.tokens or asked + targets > limits.positions
        if waiting and full:
            yield _bundle(waiting, golds, known, labels, limits)
            waiting, rows, asked = [], 0, 0
        waiting.append(number)
        rows, asked = rows + more, asked + targets
    if waiting:
        yield _bundle(waiting, golds, known, labels, limits)


def _bundle(
    numbers: Sequence[int],
    golds: Sequence[Gold],
    known: Sequence[Sequence[Sequence[Span]]],
    labels: Sequence[str],
    limits: Limits,
) -> Bundle:
    spans: list[Span] = []
    owners: list[int] = []
    request = 0
    for number in numbers:
        for own in known[number]:
            spans += own
            owners += [request] * len(own)
            request += 1
    rows = shared_rows(spans, limits.alone)
    chosen = tuple(golds[number] for number in numbers)
    batches = tuple(padded(rows, spans, limits))
    return Bundle(chosen, tuple(spans), tuple(owners), batches, labels[numbers[0]])


def _limits(runner: "Runner") -> Limits:
    """What a pass with a graph may hold: a graph keeps every layer's states."""
    model, budget = runner.model, runner.settings.token_budget
    config = model.config.get_text_config(decoder=True)
    layers = int(getattr(config, "num_hidden_layers", 0) or 1)
    room = SHARE * memory_bytes(model.device)
    while budget > SMALLEST and budget * bytes_a_token(model) * layers > room:
        budget //= 2
    positions = max(1, LOGITS_ELEMENTS // runner.vocabulary)
    return Limits(budget, positions, longest=0, alone=runner.declared.alone)


def _loss(runner: "Runner", bundle: Bundle) -> float:
    return float(combine(bundle, _sums(runner, bundle, bundle.batches)))


def _back(runner: "Runner", bundle: Bundle, total: float) -> float:
    """One bundle's loss, its share of the gradient added to the parameters'."""
    if len(bundle.batches) == 1:
        loss = combine(bundle, _sums(runner, bundle, bundle.batches))
        (loss / total).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())
    with torch.no_grad():
        sums = _sums(runner, bundle, bundle.batches)
    sums.requires_grad_()
    loss = combine(bundle, sums)
    (along,) = torch.autograd.grad(loss / total, sums)
    for batch in bundle.batches:
        (_sums(runner, bundle, (batch,)) * along).sum().backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def combine(bundle: Bundle, sums: Tensor) -> Tensor:
    """The summed loss of a bundle's items from the log-likelihoods (requests,) of theirs."""
    losses, start = [], 0
    for gold in bundle.golds:
        own = sums[start : start + len(gold.requests)]
        start += len(gold.requests)
        if gold.right is None:
            losses.append(-own[0] * gold.scale)
        else:
            shares = torch.log_softmax(own / own.new_tensor(gold.sizes), dim=0)
            losses.append(-shares[gold.right])
    return torch.stack(losses).sum()


def _sums(runner: "Runner", bundle: Bundle, batches: Sequence[Batch]) -> Tensor:
    """The log-likelihood of every request, as far as these batches answer it: float64."""
    device = runner.model.device
    requests = sum(len(gold.requests) for gold in bundle.golds)
    sums = torch.zeros(requests, dtype=torch.float64, device=device)
    for batch in batches:
        tokens = torch.from_numpy(batch.tokens).to(device)
        if runner.passes.remembers:  # rope that remembers the longest pass
            with torch.no_grad():
                runner.model(input_ids=tokens[:, :1], use_cache=False)
        positions = torch.from_numpy(batch.positions).to(device)
        logits = logits_at(runner.model, runner.head, tokens, positions)
        logp = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        counts = np.diff([*batch.starts, len(batch.at)])
        owners = np.repeat(np.array(bundle.owners)[batch.spans], counts)
        at, targets, owner = (
            torch.from_numpy(one).to(device) for one in (batch.at, batch.targets, owners)
        )
        sums = sums.index_add(0, owner, logp[at, targets].double())
    return sums


def _checked(parts: Sequence[float], labels: Sequence[str]) -> float:
    total = math.fsum(parts)
    if not math.isfinite(total):
        raise NonFiniteError(f"{labels[0]}: the loss of the gold answers is NaN or Inf")
    return total


@contextmanager
def _teaching(model: "PreTrainedModel") -> Iterator[Callable[[], dict[nn.Parameter, Tensor]]]:
    """Lets parameters have gradients, sums them in float32, and puts everything back.

    Yields a function that hands the sums over.
    """
    parameters = [one for one in model.parameters() if one.is_floating_point()]
    before = [(one, one.requires_grad, one.grad) for one in parameters]
    coarse: dict[nn.Parameter, Tensor] = {}
    handles = []

    def add(parameter: Tensor) -> None:
        grad, parameter.grad = parameter.grad, None
        if grad is not None and isinstance(parameter, nn.Parameter):
            own = coarse.get(parameter)
            coarse[parameter] = grad.float() if own is None else own.add_(grad)

    def found() -> dict[nn.Parameter, Tensor]:
        fine = {one: one.grad for one in parameters if one.grad is not None}
        return fine | coarse

    try:
        for one in parameters:
            one.grad = None
            one.requires_grad_(True)
            if one.dtype != torch.float32:
                hook = one.register_post_accumulate_grad_hook(add)  # type: ignore[no-untyped-call]
                handles.append(hook)
        yield found
    finally:
        for handle in handles:
            handle.remove()
        coarse.clear()
        for one, required, grad in before:
            one.grad = grad
            one.requires_grad_(required)
