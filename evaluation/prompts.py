"""Prompts to batches: which are read and which write together.

A batch holds prompts in the order of their length, padded on the left, the longest first. What
bounds it is the memory of its keys and values; its prompts are read in passes under the token
budget, and what they all begin with is read once. The layout is a function of the requests and
the budget: same plan, same bits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .batches import Ints
from .encoding import Encoder, prompt_tokens
from .errors import EvaluationError
from .padding import PASSES
from .task import Request

MAX_ROWS = 64
"""Weights are read once a step for all rows: with more a CPU gains nothing, and padding grows."""
CACHE_FACTOR = 8
"""Tokens kept in the cache may be this many times the token budget of one pass."""

Asked = tuple[tuple[str, ...], int, tuple[int, ...]]
"""`until`, `max_new_tokens`, prompt tokens: requests that agree in these get the same text."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How text is written: by the `own` loop, or by transformers' `generate` and why.

    `padded`: prompts of several lengths may stand in one batch.
    """

    own: bool
    reason: str = ""
    padded: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """How prompts are read: what all begin with (`shared` tokens) once, the rest in passes.

    `passes` are rows (from, to) whose prompts are padded to the first of them. With something
    shared, those of a pass have one length: nothing stands between a prompt and its start.
    """

    shared: int
    passes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """A batch of prompts, padded on the left: tokens (rows, width), lengths (rows,) falling.

    `owners[row]` are the requests that ask for this row's text. Without a `reading` it is
    transformers' `generate` that reads and writes the batch.
    """

    tokens: Ints
    lengths: Ints
    owners: tuple[tuple[int, ...], ...]
    until: tuple[str, ...]
    max_new_tokens: int
    reading: Reading | None

    @property
    def read(self) -> int:
        """Tokens of prompts that go through a forward pass, padding left out."""
        shared = self.reading.shared if self.reading else 0
        return int(self.lengths.sum()) - shared * (len(self.lengths) - 1)

    @property
    def padded(self) -> int:
        """The same with padding."""
        reading = self.reading or Reading(0, ((0, len(self.lengths)),))
        return padded_tokens(reading, self.lengths.tolist())


def prepare_prompts(
    encoder: Encoder,
    requests: Mapping[int, Request],
    names: Sequence[str],
    token_budget: int,
    decoding: Decoding,
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
        if batches and fits(batches[-1], asked, token_budget, decoding):
            batches[-1].append(asked)
        else:
            batches.append([asked])
    pad = encoder.tokenizer.pad_token_id
    pad = encoder.prefix if pad is None else int(pad)
    return tuple(lay_out(batch, owners, pad, token_budget, decoding) for batch in batches)


def fits(batch: Sequence[Asked], asked: Asked, token_budget: int, decoding: Decoding) -> bool:
    """Whether one more prompt may join; the first is the longest."""
    until, new, tokens = batch[0]
    rows = len(batch) + 1
    return (
        (until, new) == asked[:2]
        and rows <= MAX_ROWS
        and (decoding.own or rows * len(tokens) <= token_budget)
        and (decoding.padded or len(tokens) == len(asked[2]))
        and rows * (len(tokens) + new) <= CACHE_FACTOR * token_budget
    )


def lay_out(
    batch: Sequence[Asked],
    owners: Mapping[Asked, Sequence[int]],
    pad: int,
    token_budget: int,
    decoding: Decoding,
) -> Prompts:
    """The arrays of one batch."""
    until, new, longest = batch[0]
    prompts = [prompt for _, _, prompt in batch]
    tokens = np.full((len(batch), len(longest)), pad, dtype=np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, len(longest) - len(prompt) :] = prompt
    lengths = [len(prompt) for prompt in prompts]
    reading = plan_reading(prompts, token_budget) if decoding.own else None
    numbers = tuple(tuple(owners[asked]) for asked in batch)
    return Prompts(tokens, np.array(lengths), numbers, until, new, reading)


def plan_reading(prompts: Sequence[tuple[int, ...]], token_budget: int) -> Reading:
    """Reads what prompts of falling length share once, where that costs less than each alone."""
    lengths = [len(prompt) for prompt in prompts]
    shared = common_start(prompts)
    together = Reading(0, cut_passes(lengths, token_budget))
    apart = Reading(shared, cut_passes([n - shared for n in lengths], token_budget, equal=True))

    def cost(reading: Reading) -> int:
        started = len(reading.passes) + (reading.shared > 0)
        return padded_tokens(reading, lengths) + started * (token_budget // PASSES)

    return apart if shared and cost(apart) < cost(together) else together


def padded_tokens(reading: Reading, lengths: Sequence[int]) -> int:
    """Tokens that go through a forward pass, with padding."""
    rests = ((high - low) * (lengths[low] - reading.shared) for low, high in reading.passes)
    return reading.shared + sum(rests)


def common_start(prompts: Sequence[tuple[int, ...]]) -> int:
    """Tokens that all prompts begin with; each keeps at least one of its own."""
    first, last = min(prompts), max(prompts)  # what these share, all between them share too
    most = min(map(len, prompts)) - 1
    return next((k for k in range(most) if first[k] != last[k]), most)


def cut_passes(
    lengths: Sequence[int], token_budget: int, equal: bool = False
) -> tuple[tuple[int, int], ...]:
    """Rows (from, to) of falling length, rows x width within the budget, or a single row."""
    cuts = [0]
    for row in range(1, len(lengths)):
        width = lengths[cuts[-1]]
        if (row + 1 - cuts[-1]) * width > token_budget or (equal and lengths[row] < width):
            cuts.append(row)
    return tuple(pairwise([*cuts, len(lengths)]))
