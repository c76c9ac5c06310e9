"""A live model and requests: log-likelihoods and greedy text, in request order.

`prepare` does what no weight can change (tokens, batches), once; `run` does the arithmetic, for
every candidate that is written into the same live model. Log-probabilities are taken in float32
whatever the model's dtype, and summed in float64.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .decoding import choose_decoding
from .encoding import Span, make_encoder, request_spans
from .errors import EvaluationError, NonFiniteError
from .generation import generate
from .head import logits_at, probe_head, vocabulary_size
from .packing import Batch, pack
from .prompts import Decoding, Prompts, prepare_prompts
from .settings import Settings as Settings
from .task import Request, Response

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOGITS_ELEMENTS = 2**28
"""Bound of one batch's logits: 1 GiB in float32."""
CHUNK_ELEMENTS = {"cpu": 2**20}
"""Bound of what is softmaxed at once: on a CPU it should stay in its cache (five times faster)."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Requests made ready for any candidate.

    `parts[k]` are the spans that add up to request k (none: it generates). `tokens` goes through a
    forward pass per run, `padded` with padding, new tokens of generation left out.
    """

    parts: tuple[tuple[int, ...], ...]
    spans: int
    batches: tuple[Batch, ...]
    prompts: tuple[Prompts, ...]
    labels: tuple[str, ...]
    tokens: int
    padded: int


class Runner:
    """Scores whatever weights the live `model` holds when `run` is called.

    Attributes:
        head: Whether only the asked positions go through the output head, and why not.
        decoding: How text is written, and why; None until a request asks for text.
        seconds: Time spent in `run` so far.
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
        self.encoder = make_encoder(model, tokenizer, settings.max_length)
        self.vocabulary = vocabulary_size(model)
        with torch_threads(settings.threads):
            self.head = probe_head(model, model.device)
        self.decoding: Decoding | None = None
        self.seconds = 0.0

    def prepare(self, requests: Sequence[Request], labels: Sequence[str] = ()) -> Prepared:
        """Tokens and batches of `requests`; `labels` name them in messages.

        Raises:
            EvaluationError: a request that cannot be answered; the message begins with its label.
        """
        names = tuple(labels) or tuple(f"request {k}" for k in range(len(requests)))
        numbers: dict[Span, int] = {}
        parts = []
        for request, name in zip(requests, names, strict=True):
            with named(name):
                spans = () if request.kind == "generate" else request_spans(self.encoder, request)
            parts.append(tuple(numbers.setdefault(span, len(numbers)) for span in spans))
        budget, positions = self.settings.token_budget, LOGITS_ELEMENTS // self.vocabulary
        budget = budget if self.head.gathered else min(budget, positions)
        batches = pack(tuple(numbers), budget, positions)
        asked = {k: request for k, request in enumerate(requests) if request.kind == "generate"}
        if asked and self.decoding is None:
            with torch_threads(self.settings.threads):
                self.decoding = choose_decoding(self.model)
        decoding = self.decoding or Decoding(False)
        prompts = prepare_prompts(self.encoder, asked, names, self.settings.token_budget, decoding)
        tokens = sum(int(b.lengths.sum()) for b in batches) + sum(p.read for p in prompts)
        padded = sum(b.tokens.size for b in batches) + sum(p.padded for p in prompts)
        return Prepared(tuple(parts), len(numbers), batches, prompts, names, tokens, padded)

    @torch.inference_mode()
    def run(self, prepared: Prepared) -> list[Response]:
        """Answers in request order; the same weights give the same bits.

        Raises:
            NonFiniteError: a logit that is asked for is NaN or Inf; names the first request of the
                batch in which it showed.
        """
        start = time.perf_counter()
        with torch_threads(self.settings.threads):
            sums, greedy = np.zeros(prepared.spans), np.ones(prepared.spans, dtype=bool)
            for batch in prepared.batches:
                sums[batch.spans], greedy[batch.spans] = self._score(batch)
                check_finite(sums, batch, prepared)
            texts: dict[int, str] = {}
            for prompts in prepared.prompts:
                texts |= generate(self.model, self.encoder, prompts, prepared.labels)
        self.seconds += time.perf_counter() - start
        return [
            Response(text=texts[k])
            if k in texts
            else Response(float(sum(sums[list(part)])), bool(greedy[list(part)].all()))
            for k, part in enumerate(prepared.parts)
        ]

    def _score(self, batch: Batch) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sum of log-probabilities and whether no token was likelier, for each span of a batch."""
        device = self.model.device
        tokens = torch.from_numpy(batch.tokens).to(device)
        positions = torch.from_numpy(batch.positions).to(device)
        logits = logits_at(self.model, self.head, tokens, positions)
        chosen, best = token_logprobs(logits, batch.at, batch.targets)
        sums = np.add.reduceat(chosen.astype(np.float64), batch.starts)
        return sums, np.logical_and.reduceat(chosen >= best, batch.starts)


def token_logprobs(
    logits: Tensor, at: NDArray[np.int64], targets: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log-probability of targets (n,) at rows `at` (n,) of logits (u, vocabulary), and the best.

    Softmax in float32, a chunk of rows at a time.
    """
    rows = max(1, CHUNK_ELEMENTS.get(logits.device.type, 2**25) // logits.shape[1])
    order = np.argsort(at, kind="stable")
    bounds = np.searchsorted(at[order], np.arange(0, logits.shape[0] + rows, rows))
    chosen = np.empty(len(at), dtype=np.float32)
    best = np.empty(logits.shape[0], dtype=np.float32)
    for chunk, (low, high) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        first = chunk * rows
        logp = torch.log_softmax(logits[first : first + rows], dim=-1, dtype=torch.float32)
        here = order[low:high]
        line = torch.from_numpy(at[here] - first).to(logits.device)
        column = torch.from_numpy(targets[here]).to(logits.device)
        chosen[here] = logp[line, column].cpu().numpy()
        best[first : first + rows] = logp.amax(dim=-1).cpu().numpy()
    return chosen, best[at]


def check_model(model: "PreTrainedModel", settings: Settings) -> None:
    """Refuses a model that is not what the settings say.

    Raises:
        EvaluationError: naming both.
    """
    dtype = str(model.dtype).removeprefix("torch.")
    if dtype != settings.dtype:
        raise EvaluationError(f"dtype: the settings say {settings.dtype}, the model is in {dtype}")
    if model.device.type != torch.device(settings.device).type:
        raise EvaluationError(
            f"device: the settings say {settings.device}, the model is on {model.device}"
        )


def check_finite(sums: NDArray[np.float64], batch: Batch, prepared: Prepared) -> None:
    """Refuses NaN and Inf among the spans of one batch.

    Raises:
        NonFiniteError: naming the first request concerned.
    """
    bad = {int(span) for span in batch.spans[~np.isfinite(sums[batch.spans])]}
    if bad:
        number = next(k for k, part in enumerate(prepared.parts) if not bad.isdisjoint(part))
        raise NonFiniteError(f"{prepared.labels[number]}: the model's logits are NaN or Inf")


@contextmanager
def named(name: str) -> Iterator[None]:
    """Puts `name` before the message of an error in a request."""
    try:
        yield
    except EvaluationError as fault:
        raise type(fault)(f"{name}: {fault}") from None


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Torch's threads inside an operation, put back afterwards: sums depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
