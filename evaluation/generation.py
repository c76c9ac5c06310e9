"""Greedy text in batches: by the loop of `greedy.py`, or by transformers' `generate`.

What a checkpoint's generation config says about greedy decoding (repetition penalty, several EOS)
is kept, all else is not (`KEPT`). A row ends at EOS, at the first of its `until` strings, or after
`max_new_tokens`; the text is cut before whichever came first. By `generate`, which every
architecture has, rows wait for the longest of their batch.
"""

from collections.abc import Iterator, Sequence
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

from .encoding import Encoder
from .errors import NonFiniteError
from .greedy import Rows, write
from .prompts import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEPT = (
    "bos_token_id eos_token_id pad_token_id repetition_penalty no_repeat_ngram_size bad_words_ids "
    "suppress_tokens begin_suppress_tokens sequence_bias min_length min_new_tokens "
    "forced_bos_token_id forced_eos_token_id exponential_decay_length_penalty"
).split()
"""What a checkpoint may say about greedy decoding. Clocks (max_time), other searches and stop
strings, which change a score from run to run or need what is not here, are left out."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What ends a text: tokens of the checkpoint and tokenizer, strings, a number of tokens.

    `back`: how many of the last tokens can hold a string.
    """

    encoder: Encoder
    tokens: frozenset[int]
    strings: tuple[str, ...]
    most: int
    back: int

    def written(self, tokens: Sequence[int]) -> bool:
        """Whether new tokens, of which only the last one was not asked about yet, are a text."""
        return len(tokens) >= self.most or tokens[-1] in self.tokens or self.stopped(tokens)

    def stopped(self, tokens: Sequence[int]) -> bool:
        """Whether one of the strings stands in the last tokens."""
        text = str(self.encoder.tokenizer.decode(list(tokens[-self.back :])))
        return any(string in text for string in self.strings)

    def cut(self, tokens: Sequence[int]) -> str:
        """The text of new tokens up to the first end token or string."""
        end = next((k for k, token in enumerate(tokens) if token in self.tokens), len(tokens))
        text = self.encoder.decode(list(tokens[:end]))
        for string in self.strings:
            text = text.split(string, 1)[0]
        return text


def make_ending(model: "PreTrainedModel", encoder: Encoder, prompts: Prompts) -> Ending:
    """How the texts of one batch end.

    The written form of EOS is a stop string, as lm-eval has it; empty strings stop nothing.
    """
    end = encoder.tokenizer.eos_token
    strings = tuple(text for text in (*prompts.until, *([str(end)] if end else [])) if text)
    # A token of text is at least one byte, so a string cannot reach further back than its bytes.
    back = max((len(string.encode()) for string in strings), default=0) + 1
    ends = frozenset(end_tokens(model, encoder))
    return Ending(encoder, ends, strings, prompts.max_new_tokens, back)


def generate(
    model: "PreTrainedModel", encoder: Encoder, prompts: Prompts, names: Sequence[str]
) -> dict[int, str]:
    """Greedy texts of one batch, by request number.

    Raises:
        NonFiniteError: a next token's logits are NaN or Inf; names the request.
    """
    ending = make_ending(model, encoder, prompts)
    if prompts.reading:
        tokens = write(Rows(model, prompts, prompts.reading), ending.written, names)
    else:
        tokens = write_by_transformers(model, encoder, prompts, names)
    texts = (ending.cut(row) for row in tokens)
    return {k: text for numbers, text in zip(prompts.owners, texts, strict=True) for k in numbers}


def write_by_transformers(
    model: "PreTrainedModel", encoder: Encoder, prompts: Prompts, names: Sequence[str]
) -> list[list[int]]:
    """New tokens of every row of the batch, with what was written behind their end.

    Raises:
        NonFiniteError: a next token's logits are NaN or Inf; names the request.
    """
    width = prompts.tokens.shape[1]
    columns = np.arange(width)[None, :]
    mask = (columns >= width - prompts.lengths[:, None]).astype(np.int64)
    ending, config = make_ending(model, encoder, prompts), greedy_config(model, encoder, prompts)
    with configured(model, config):
        output = model.generate(  # type: ignore[operator]
            input_ids=torch.from_numpy(prompts.tokens).to(model.device),
            attention_mask=torch.from_numpy(mask).to(model.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([FiniteLogits(prompts.owners, names)]),
            stopping_criteria=StoppingCriteriaList([StopStrings(ending, width)]),
        )
    tokens: list[list[int]] = output[:, width:].tolist()
    return tokens


def greedy_config(
    model: "PreTrainedModel", encoder: Encoder, prompts: Prompts
) -> GenerationConfig:
    """What the checkpoint's generation config says about greedy decoding, bounded."""
    kept = {name: getattr(model.generation_config, name, None) for name in KEPT}
    config = GenerationConfig(**kept, do_sample=False, num_beams=1)  # type: ignore[no-untyped-call]
    config.return_dict_in_generate, config.max_new_tokens = False, prompts.max_new_tokens
    config.use_cache = True
    if config.pad_token_id is None:
        config.pad_token_id = (*end_tokens(model, encoder), encoder.prefix)[0]
    return config


def kept_settings(model: "PreTrainedModel") -> dict[str, object]:
    """What the checkpoint's generation config says about greedy decoding, as plain values."""
    kept = {name: getattr(model.generation_config, name, None) for name in KEPT}
    return {name: value for name, value in kept.items() if value is not None}


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

    def __init__(self, ending: Ending, width: int) -> None:
        self.ending, self.width = ending, width

    def __call__(self, input_ids: Tensor, scores: Tensor | None, **_: object) -> Tensor:
        """Whether each row of `input_ids` (rows, width + new) is done."""
        start = max(self.width, input_ids.shape[1] - self.ending.back)
        done = [self.ending.stopped(row) for row in input_ids[:, start:].tolist()]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
