"""Greedy text in batches, by transformers' own `generate`: every architecture it knows works.

What a checkpoint's generation config says about greedy decoding (repetition penalty, several EOS)
is kept, all else is not (`KEPT`). A row ends at EOS, at the first of its `until`
strings, or after `max_new_tokens`; the text is cut before whichever came first. Rows wait for the
longest of their batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from .encoding import Encoder, prompt_tokens
from .errors import EvaluationError, NonFiniteError
from .packing import Ints
from .task import Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_ROWS = 64
KEPT = (
    "bos_token_id eos_token_id pad_token_id repetition_penalty no_repeat_ngram_size bad_words_ids "
    "suppress_tokens begin_suppress_tokens sequence_bias min_length min_new_tokens "
    "forced_bos_token_id forced_eos_token_id exponential_decay_length_penalty use_cache"
).split()
"""What a checkpoint may say about greedy decoding. Clocks (max_time), other searches and stop
strings, which change a score from run to run or need what is not here, are left out."""
CACHE_FACTOR = 8
"""Tokens kept in the cache may be this many times the token budget of one pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """A batch of prompts, padded on the left: tokens (rows, width), lengths (rows,).

    `owners[row]` are the requests that ask for this row's text.
    """

    tokens: Ints
    lengths: Ints
    owners: tuple[tuple[int, ...], ...]
    until: tuple[str, ...]
    max_new_tokens: int


Asked = tuple[tuple[str, ...], int, tuple[int, ...]]
"""`until`, `max_new_tokens`, prompt tokens: requests that agree in these get the same text."""


def prepare_prompts(
    encoder: Encoder, requests: Mapping[int, Request], names: Sequence[str], token_budget: int
) -> tuple[Prompts, ...]:
    """Batches of `generate` requests, keyed by number; long prompts first, repeated ones once."""
    owners: dict[Asked, list[int]] = {}
    for number, request in requests.items():
        try:
            tokens = prompt_tokens(encoder, request)
        except EvaluationError as fault:
            raise type(fault)(f"{names[number]}: {fault}") from None
        owners.setdefault((request.until, request.max_new_tokens, tokens), []).append(number)
    ordered = sorted(owners, key=lambda asked: (asked[0], asked[1], -len(asked[2]), asked[2]))
    batches: list[list[Asked]] = []
    for asked in ordered:
        if batches and fits(batches[-1], asked, token_budget):
            batches[-1].append(asked)
        else:
            batches.append([asked])
    pad = encoder.tokenizer.pad_token_id
    pad = encoder.prefix if pad is None else int(pad)
    return tuple(lay_out(batch, owners, pad) for batch in batches)


def fits(batch: Sequence[Asked], asked: Asked, token_budget: int) -> bool:
    """Whether one more prompt may join; the first is the longest."""
    until, new, tokens = batch[0]
    rows = len(batch) + 1
    return (
        (until, new) == asked[:2]
        and rows <= MAX_ROWS
        and rows * len(tokens) <= token_budget
        and rows * (len(tokens) + new) <= CACHE_FACTOR * token_budget
    )


def lay_out(batch: Sequence[Asked], owners: Mapping[Asked, Sequence[int]], pad: int) -> Prompts:
    """The arrays of one batch."""
    until, new, longest = batch[0]
    tokens = np.full((len(batch), len(longest)), pad, dtype=np.int64)
    for row, (_, _, prompt) in enumerate(batch):
        tokens[row, len(longest) - len(prompt) :] = prompt
    lengths = np.array([len(prompt) for _, _, prompt in batch], dtype=np.int64)
    return Prompts(tokens, lengths, tuple(tuple(owners[asked]) for asked in batch), until, new)


def generate(
    model: "PreTrainedModel", encoder: Encoder, prompts: Prompts, names: Sequence[str]
) -> dict[int, str]:
    """Greedy texts of one batch, by request number.

    Raises:
        NonFiniteError: a next token's logits are NaN or Inf; names the request.
    """
    width = prompts.tokens.shape[1]
    columns = np.arange(width)[None, :]
    mask = (columns >= width - prompts.lengths[:, None]).astype(np.int64)
    stops = stop_strings(encoder, prompts.until)
    ends, config = end_tokens(model, encoder), greedy_config(model, encoder, prompts)
    with configured(model, config):
        output = model.generate(  # type: ignore[operator]
            input_ids=torch.from_numpy(prompts.tokens).to(model.device),
            attention_mask=torch.from_numpy(mask).to(model.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([FiniteLogits(prompts.owners, names)]),
            stopping_criteria=StoppingCriteriaList([StopStrings(encoder, stops, width)]),
        )
    texts = (cut(encoder, row, ends, stops) for row in output[:, width:].tolist())
    return {k: text for numbers, text in zip(prompts.owners, texts, strict=True) for k in numbers}


def greedy_config(
    model: "PreTrainedModel", encoder: Encoder, prompts: Prompts
) -> GenerationConfig:
    """What the checkpoint's generation config says about greedy decoding, bounded."""
    kept = {name: getattr(model.generation_config, name, None) for name in KEPT}
    config = GenerationConfig(**kept, do_sample=False, num_beams=1)  # type: ignore[no-untyped-call]
    config.return_dict_in_generate, config.max_new_tokens = False, prompts.max_new_tokens
    if config.pad_token_id is None:
        config.pad_token_id = (*end_tokens(model, encoder), encoder.prefix)[0]
    return config


@contextmanager
def configured(model: "PreTrainedModel", config: GenerationConfig) -> Iterator[None]:
    """While open, the model has this config: `generate` fills in from the model's what is None."""
    before = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = before


def end_tokens(model: "PreTrainedModel", encoder: Encoder) -> tuple[int, ...]:
    """The tokens that end a text: the checkpoint's, and the tokenizer's EOS."""
    ends = model.generation_config.eos_token_id
    listed = [] if ends is None else ends if isinstance(ends, list) else [int(ends)]
    own = encoder.tokenizer.eos_token_id
    return tuple(dict.fromkeys([*listed, *([] if own is None else [int(own)])]))


def stop_strings(encoder: Encoder, until: Sequence[str]) -> tuple[str, ...]:
    """`until` and the written form of EOS, as lm-eval has it; empty strings stop nothing."""
    end = encoder.tokenizer.eos_token
    return tuple(stop for stop in (*until, *([str(end)] if end else [])) if stop)


def cut(encoder: Encoder, tokens: Sequence[int], ends: Sequence[int], stops: Sequence[str]) -> str:
    """The text of new tokens up to the first end token or stop string."""
    end = next((k for k, token in enumerate(tokens) if token in ends), len(tokens))
    text = encoder.decode(list(tokens[:end]))
    for stop in stops:
        text = text.split(stop, 1)[0]
    return text


class FiniteLogits(LogitsProcessor):
    """Refuses a step whose best logit is NaN or Inf."""

    def __init__(self, owners: Sequence[Sequence[int]], names: Sequence[str]) -> None:
        self.owners, self.names = owners, names

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores` (rows, vocabulary), unchanged."""
        bad = ~torch.isfinite(scores.amax(dim=-1))
        if bool(bad.any()):
            number = min(self.owners[row][0] for row in bad.nonzero()[:, 0].tolist())
            raise NonFiniteError(f"{self.names[number]}: the model's logits are NaN or Inf")
        return scores


class StopStrings(StoppingCriteria):
    """Ends a row as soon as one of the strings stands in what it wrote."""

    def __init__(self, encoder: Encoder, stops: Sequence[str], width: int) -> None:
        self.encoder, self.stops, self.width = encoder, stops, width
        # A token of text is at least one byte, so a stop cannot reach further back than its bytes.
        self.back = max((len(stop.encode()) for stop in stops), default=0) + 1

    def __call__(self, input_ids: Tensor, scores: Tensor | None, **_: object) -> Tensor:
        """Whether each row of `input_ids` (rows, width + new) is done."""
        tail = input_ids[:, max(self.width, input_ids.shape[1] - self.back) :].tolist()
        texts = [str(self.encoder.tokenizer.decode(row)) for row in tail]
        done = [any(stop in text for stop in self.stops) for text in texts]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
