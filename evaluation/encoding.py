"""Text to tokens, by the rules of lm-eval's HFLM, so that scores can be compared with it.

A pair is encoded as one string and split where the context's tokens end; trailing whitespace of
the context belongs to the continuation; an empty context becomes BOS (EOS where there is none); a
text that begins with BOS gets no second one. What is too long loses its left end. A text alone is
cut into windows of the model's length in which every token is predicted once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import EvaluationError
from .task import Request

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_LENGTH = 2048
UNSET_LENGTH = 10**12
"""Tokenizers that know no window say 1e30."""


@dataclass(frozen=True, slots=True)
class Span:
    """A forward pass and what is asked of it: the last positions of `tokens` predict `targets`."""

    tokens: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Encoder:
    """A tokenizer with the model's window and the token that stands for an empty context."""

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    prefix: int
    prefix_text: str

    def encode(self, text: str, special: bool = True) -> list[int]:
        """Token ids; the tokenizer's own BOS is added unless `text` brings it."""
        special = special and not text.startswith(self.prefix_text)
        ids = self.tokenizer.encode(text, add_special_tokens=special)
        return [int(token) for token in ids]

    def decode(self, tokens: list[int]) -> str:
        """The text of generated tokens, special ones left out."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))


def make_encoder(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", max_length: int | None
) -> Encoder:
    """An encoder for `model`; `max_length` overrides its window.

    Raises:
        EvaluationError: the tokenizer has neither BOS nor EOS.
    """
    prefix = tokenizer.bos_token_id
    if prefix is None:
        prefix = tokenizer.eos_token_id
    if prefix is None:
        raise EvaluationError(
            f"tokenizer {tokenizer.name_or_path or type(tokenizer).__name__}: it has neither a "
            "BOS nor an EOS token, and one is needed in the place of an empty context; "
            "add bos_token to its tokenizer_config.json"
        )
    window = max_length or window_of(model, tokenizer)
    return Encoder(tokenizer, window, int(prefix), str(tokenizer.decode([prefix])))


def window_of(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> int:
    """The longest input of a model, in tokens: its text config, its tokenizer, else 2048."""
    config = getattr(model.config, "text_config", None) or model.config
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if (value := getattr(config, name, None)) is not None:
            return int(value)
    length = getattr(tokenizer, "model_max_length", None)
    return int(length) if length is not None and length < UNSET_LENGTH else DEFAULT_LENGTH


def encode_pair(encoder: Encoder, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of the context (at least one) and of the continuation."""
    if not context:
        tokens = encoder.encode(continuation, special=False)
        if tokens[:1] == [encoder.prefix]:
            return tokens[:1], tokens[1:]
        return [encoder.prefix], tokens
    stripped = context.rstrip()
    if not stripped:
        return encode_pair(encoder, "", context + continuation)
    before = encoder.encode(stripped)
    whole = encoder.encode(context + continuation)
    # A tokenizer's normaliser may leave nothing of a context.
    return before or [encoder.prefix], whole[len(before) :]


def pair_span(encoder: Encoder, context: str, continuation: str) -> Span:
    """The pass that gives log p(continuation | context); what is too long loses its left end.

    Raises:
        EvaluationError: no token is left to predict, or the continuation alone exceeds the window.
    """
    before, after = encode_pair(encoder, context, continuation)
    if not after:
        raise EvaluationError(
            f"the text to be scored, {shorten(continuation)}, adds no token to its context "
            f"{shorten(context)}; give it at least one character of its own"
        )
    if len(after) > encoder.max_length:
        raise EvaluationError(
            f"the text to be scored, {shorten(continuation)}, has {len(after)} tokens, more than "
            f"the model's window of {encoder.max_length}; shorten it, or leave out the prompt: "
            "plain text is scored in windows"
        )
    tokens = (before + after)[-(encoder.max_length + 1) :]
    return Span(tuple(tokens[:-1]), tuple(after))


def rolling_spans(encoder: Encoder, text: str) -> Iterator[Span]:
    """Windows that predict each token of `text` once; later ones keep as much context as fits."""
    tokens, length = encoder.encode(text), encoder.max_length
    for start in range(0, len(tokens), length):
        end = min(start + length, len(tokens))
        behind = tokens[end - length - 1 :] if start else [encoder.prefix, *tokens]
        inputs = behind[: min(end, length)]
        yield Span(tuple(inputs), tuple(tokens[start:end]))


def request_spans(encoder: Encoder, request: Request) -> tuple[Span, ...]:
    """The forward passes that answer a `loglikelihood` or `rolling` request."""
    if request.kind == "rolling":
        return tuple(rolling_spans(encoder, request.context))
    return (pair_span(encoder, request.context, request.continuation),)


def check_room(encoder: Encoder, request: Request) -> int:
    """The tokens that are left for a prompt.

    Raises:
        EvaluationError: the new tokens alone fill the window.
    """
    room = encoder.max_length - request.max_new_tokens
    if room < 1:
        raise EvaluationError(
            f"max_new_tokens: expected fewer than the model's window of {encoder.max_length} "
            f"tokens, got {request.max_new_tokens}"
        )
    return room


def prompt_tokens(encoder: Encoder, request: Request) -> tuple[int, ...]:
    """The tokens a `generate` request starts from; the left end makes room for the new ones.

    Raises:
        EvaluationError: the new tokens alone fill the window.
    """
    room = check_room(encoder, request)
    tokens = encoder.encode(request.context) if request.context else []
    return tuple(tokens[-room:]) or (encoder.prefix,)


def shorten(text: str, length: int = 60) -> str:
    """`text` quoted for a message, its middle left out when it is long."""
    if len(text) > length:
        text = f"{text[: length // 2]} ... {text[-length // 2 :]}"
    return repr(text)


Narrow = tuple[tuple[NDArray[np.int32], int], ...]
"""Spans in four bytes a token: each one's tokens with the last target, and the targets' number."""


def narrowed(spans: Sequence[Span]) -> Narrow:
    """Spans to be kept: all targets but the last are tokens of the input, one place on."""
    return tuple(
        (np.array((*span.tokens, span.targets[-1]), dtype=np.int32), len(span.targets))
        for span in spans
    )


def widened(known: Narrow) -> tuple[Span, ...]:
    """The spans again."""
    listed = [(tuple(map(int, tokens)), count) for tokens, count in known]
    return tuple(Span(tokens[:-1], tokens[-count:]) for tokens, count in listed)


def size(known: Narrow) -> int:
    """Tokens of the longest input."""
    return max((len(tokens) - 1 for tokens, _ in known), default=0)
