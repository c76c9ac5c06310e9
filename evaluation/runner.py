"""A live model and requests: log-likelihoods and greedy text, in request order.

`prepare` does what no weight can change (tokens, batches), once; `run` does the arithmetic, for
every candidate that is written into the same live model. Log-probabilities are taken in float32
whatever the model's dtype, and summed in float64.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from .batches import Batch, Group
from .budget import SMALLEST
from .decoding import choose_decoding
from .digests import config_digest, tokenizer_digest
from .encoding import (
    Narrow,
    Span,
    check_room,
    make_encoder,
    narrowed,
    request_spans,
    size,
    widened,
)
from .errors import ExhaustedError, NonFiniteError
from .generation import generate, kept_settings
from .guards import check_model, named, told_when_exhausted, torch_threads
from .head import Head, forward, probe_head, vocabulary_size
from .layout import Layout, declared_layout
from .layout_probe import probe_layout
from .nonfinite import first_bad
from .packing import pack
from .passes import Passes
from .prompts import Decoding, Prompts, prepare_prompts
from .settings import Settings as Settings
from .task import Request, Response

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOGITS_ELEMENTS = 2**28
"""Bound of one batch's logits: 1 GiB in float32."""


PROBED = 256
"""Requests of the longest inputs, among which the probe finds its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Requests made ready for any candidate.

    `parts[k]` are the spans that add up to request k (none: it generates). `tokens` goes through a
    forward pass per run, `padded` with padding, new tokens of generation left out.
    """

    parts: tuple[tuple[int, ...], ...]
    spans: int
    groups: tuple[Group, ...]
    prompts: tuple[Prompts, ...]
    labels: tuple[str, ...]
    tokens: int
    padded: int


class Runner:
    """Scores whatever weights the live `model` holds when `run` is called.

    Attributes:
        head: Whether only the asked positions go through the output head, and why not.
        layout: Whether inputs run as trees, and why not; known once `settle` or `prepare` was
            called.
        decoding: How text is written, and why; None until a request asks for text.
        seconds: Time spent in `run` so far.
        passes: The forward passes, with their own time.
    """

    def __init__(
        self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", settings: Settings
    ) -> None:
        """Checks the model against the settings and probes its output head.

        Raises:
            EvaluationError: the model's dtype or device is not the settings', or the tokenizer has
                neither BOS nor EOS.
        """
        check_model(model, settings)
        model.eval()  # type: ignore[no-untyped-call]
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self._settled = model
        self.encoder = make_encoder(model, tokenizer, settings.max_length)
        self.vocabulary = vocabulary_size(model)
        with torch_threads(settings.threads):
            self.head = probe_head(model, model.device)
        self.declared = declared_layout(model)
        self._known: dict[Request, Narrow] = {}
        self._tokenizer_digest = tokenizer_digest(tokenizer)
        self.passes = Passes(model, self.head, remembers=self.declared.alone is not None)
        self.layout: Layout | None = None
        self.decoding: Decoding | None = None
        self.seconds = 0.0

    def settle(self, requests: Sequence[Request], labels: Sequence[str] = ()) -> None:
        """Turns requests into tokens, and decides on the live weights how they are answered.

        Once, before any candidate is built: the weights should be the base's.

        Args:
            requests: All that will be asked: the longest inputs among them are probed.
            labels: Name them in messages.

        Raises:
            EvaluationError: a request that cannot be answered; the message begins with its label.
            ExhaustedError: memory ran out.
        """
        for request, name in zip(requests, labels_of(requests, labels), strict=True):
            with named(name):
                self._kept(request)
        with told_when_exhausted(self.settings):
            if self._known and self.layout is None:
                largest = sorted(self._known.values(), key=size, reverse=True)[:PROBED]
                self._settle_layout([span for known in largest for span in widened(known)])
            if self.decoding is None and any(one.kind == "generate" for one in requests):
                self._settle_decoding()

    def hold(self, model: "PreTrainedModel") -> None:
        """Answers by this model from now on: one of the same architecture with other layers.

        What was decided on the first one stays (layout, head, decoding, window): none of it counts
        layers. It stays in the fingerprint too, so that models of different depth compare.
        """
        self.model = self.passes.model = model

    def _kept(self, request: Request) -> Narrow:
        """The forward passes of a request, turned into tokens once."""
        if request.kind == "generate":
            check_room(self.encoder, request)
            return ()
        if (known := self._known.get(request)) is None:
            known = self._known[request] = narrowed(request_spans(self.encoder, request))
        return known

    def spans(self, request: Request) -> tuple[Span, ...]:
        """The forward passes whose targets add up to a request's log-likelihood.

        Raises:
            EvaluationError: a request that cannot be answered.
        """
        return widened(self._kept(request))

    def _settle_layout(self, spans: Sequence[Span]) -> None:
        passes = Passes(self.model, self.head, remembers=self.passes.remembers)

        def score(groups: Sequence[Group], count: int) -> NDArray[np.float64]:
            return passes.score(groups, count)[0]

        with torch_threads(self.settings.threads):
            self.layout = probe_layout(self.model, self.declared, spans, score)

    def _settle_decoding(self) -> None:
        with torch_threads(self.settings.threads):
            self.decoding = choose_decoding(self.model)

    def fingerprint(self) -> Mapping[str, object]:
        """Everything but weights and requests that can change an answer, as plain JSON values.

        Complete once requests are settled. The config of the model that was given first (the
        base's) is in it: a recipe's hash covers the models it names and the layers it takes of
        them, and every candidate runs under the base's config, for its own layers.
        """
        layout = None if self.layout is None else decisions(self.layout)
        decoding = None if self.decoding is None else decisions(self.decoding)
        return {
            **self.settings.fingerprint(),
            "layout": layout,
            "head": decisions(self.head),
            "decoding": decoding and {**decoding, **kept_settings(self._settled)},
            "attention": str(self._settled.config._attn_implementation),
            "window": self.encoder.max_length,
            "config": config_digest(self._settled),
            "tokenizer": self._tokenizer_digest,
        }

    def reasons(self) -> Mapping[str, str]:
        """Why something is done the slower way, for what is."""
        found = {"layout": self.layout, "head": self.head, "decoding": self.decoding}
        return {name: one.reason for name, one in found.items() if one and one.reason}

    def slow(self) -> str:
        """A sentence about inputs that run as padded rows; empty where none does."""
        if self.layout is None or (self.layout.trees and self.layout.longest is None):
            return ""
        if not self.layout.trees:
            return f"inputs run as padded rows, which is slower: {self.layout.reason}"
        most, bound = max(map(size, self._known.values()), default=0), self.layout.longest
        told = f"inputs of more than {bound} tokens run as padded rows, which is slower"
        return told if bound is not None and most > bound else ""

    def prepare(self, requests: Sequence[Request], labels: Sequence[str] = ()) -> Prepared:
        """Tokens and batches of `requests`; `labels` name them in messages.

        Raises:
            EvaluationError: a request that cannot be answered; the message begins with its label.
        """
        names = labels_of(requests, labels)
        numbers: dict[Span, int] = {}
        parts = []
        for request, name in zip(requests, names, strict=True):
            with named(name):
                spans = widened(self._kept(request))
            parts.append(tuple(numbers.setdefault(span, len(numbers)) for span in spans))
        groups = self._packed(tuple(numbers))
        asked = {k: request for k, request in enumerate(requests) if request.kind == "generate"}
        prompts = self._prompts(asked, names)
        batches = [batch for group in groups for batch in group.batches]
        stems = sum(len(group.stem) for group in groups)
        tokens = stems + sum(int(b.lengths.sum()) for b in batches) + sum(p.read for p in prompts)
        padded = stems + sum(b.tokens.size for b in batches) + sum(p.padded for p in prompts)
        return Prepared(tuple(parts), len(numbers), groups, prompts, names, tokens, padded)

    def _packed(self, spans: Sequence[Span]) -> tuple[Group, ...]:
        if spans and self.layout is None:
            self._settle_layout(spans)
        if self.layout is None:
            return ()
        budget, positions = self.settings.token_budget, LOGITS_ELEMENTS // self.vocabulary
        budget = budget if self.head.gathered else min(budget, positions)
        return pack(spans, self.layout.limits(budget, positions))

    def _prompts(self, asked: Mapping[int, Request], names: Sequence[str]) -> tuple[Prompts, ...]:
        if asked and self.decoding is None:
            self._settle_decoding()
        decoding, budget = self.decoding or Decoding(False), self.settings.token_budget
        return prepare_prompts(self.encoder, asked, names, budget, decoding)

    def halve_budget(self) -> int:
        """Takes half as many tokens at once from now on: other settings, so other results.

        Raises:
            ExhaustedError: they are too few to be halved.
        """
        half = self.settings.token_budget // 2
        if half < SMALLEST:
            raise ExhaustedError(
                f"out of memory with {self.settings.token_budget} tokens at once: the model and "
                "what it is asked need more than there is; free some, or take another --device"
            )
        self.settings = replace(self.settings, token_budget=half)
        self.passes.forget_masks()
        return half

    @torch.inference_mode()
    def run(self, prepared: Prepared) -> list[Response]:
        """Answers in request order; the same weights give the same bits.

        Raises:
            NonFiniteError: a logit that is asked for is NaN or Inf; names the first request of the
                batch in which it showed, and the layer where it began.
            ExhaustedError: memory ran out; `halve_budget` and a new plan may help.
        """

        def check(batch: Batch, sums: NDArray[np.float64], again: Callable[[], object]) -> None:
            check_finite(self.model, sums, batch, prepared, again)

        start = time.perf_counter()
        with torch_threads(self.settings.threads), told_when_exhausted(self.settings):
            sums, greedy = self.passes.score(prepared.groups, prepared.spans, check)
            texts: dict[int, str] = {}
            for prompts in prepared.prompts:
                texts |= self._written(prompts, prepared.labels)
        self.seconds += time.perf_counter() - start
        return [
            Response(text=texts[k])
            if k in texts
            else Response(float(sum(sums[list(part)])), bool(greedy[list(part)].all()))
            for k, part in enumerate(prepared.parts)
        ]

    def _written(self, prompts: Prompts, labels: Sequence[str]) -> dict[int, str]:
        """Texts of one batch, by request number."""
        try:
            return generate(self.model, self.encoder, prompts, labels)
        except NonFiniteError as fault:
            tokens = torch.from_numpy(prompts.tokens).to(self.model.device)
            began = first_bad(self.model, lambda: forward(self.model, tokens))
            where = f", beginning in {began}" if began else ", only behind some new tokens"
            raise NonFiniteError(f"{fault}{where}") from None


def labels_of(requests: Sequence[Request], labels: Sequence[str]) -> tuple[str, ...]:
    """What messages call each request."""
    return tuple(labels) or tuple(f"request {k}" for k in range(len(requests)))


def decisions(found: Layout | Head | Decoding) -> dict[str, object]:
    """What was decided, without the reason: its figures may differ where nothing else does."""
    return {name: value for name, value in asdict(found).items() if name != "reason"}


def check_finite(
    model: "PreTrainedModel",
    sums: NDArray[np.float64],
    batch: Batch,
    prepared: Prepared,
    again: Callable[[], object],
) -> None:
    """Refuses NaN and Inf among the spans of one batch.

    Raises:
        NonFiniteError: naming the first request concerned and, from one more pass, the layer.
    """
    bad = {int(span) for span in batch.spans[~np.isfinite(sums[batch.spans])]}
    if bad:
        number = next(k for k, part in enumerate(prepared.parts) if not bad.isdisjoint(part))
        began = first_bad(model, again) or "what follows the output head"
        raise NonFiniteError(
            f"{prepared.labels[number]}: the model's logits are NaN or Inf, beginning in {began}"
        )
