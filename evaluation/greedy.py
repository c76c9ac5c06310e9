"""The greedy loop: prompts are read once, then every unfinished row gets one token a step.

Shapes: a batch has `rows` rows; the columns are the prompts' width, padded on the left, and behind
them one for each new token. A row that is done leaves, and the last one takes its place, so the
work of a step falls with the rows that still write. Only the last position of a pass goes through
the output head. Which models this fits is found out in `decoding.py`.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
)

from .errors import NonFiniteError
from .greedy_cache import make_room
from .prompts import Prompts, Reading

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPARE = {"cpu": 1}
"""Columns of padding that even the longest row has. With a mask transformers gives the kernel all
queries of a head's group at once; without one, a step in bfloat16 takes a CPU up to twice as long.
"""


class Rows:
    """The rows of a batch that still write, in slots; `order[slot]` is a row of the batch.

    `column` is the first that no pass has read.
    """

    def __init__(self, model: "PreTrainedModel", prompts: Prompts, reading: Reading) -> None:
        rows, width = prompts.tokens.shape
        self.model, self.prompts, self.reading = model, prompts, reading
        # Models with ALiBi take no positions: theirs come from the mask.
        self.positions = "position_ids" in inspect.signature(model.forward).parameters
        self.spare = SPARE.get(model.device.type, 0)
        self.column, self.order = self.spare + width, list(range(rows))
        columns = self.column + prompts.max_new_tokens
        self.cache, self.layers = make_room(model.config, rows, columns)
        self.padding = self.column - prompts.lengths
        tokens = np.pad(prompts.tokens, ((0, 0), (self.spare, prompts.max_new_tokens)))
        self.tokens = torch.from_numpy(tokens).to(model.device)
        mask = (np.arange(columns) >= self.padding[:, None]).astype(np.int64)
        self.mask = torch.from_numpy(mask).to(model.device)

    def read(self) -> Tensor:
        """Logits (rows, vocabulary) behind the prompts."""
        shared, first = self.reading.shared, int(self.padding[0])
        if shared:
            self._forward(0, 1, first, first, first + shared)
        logits = []
        for low, high in self.reading.passes:
            start = int(self.padding[low])
            if shared:
                for layer in self.layers:
                    layer.spread(first, shared, low, high, start)
            logits.append(self._forward(low, high, start, start + shared, self.column))
        return torch.cat(logits)

    def put(self, tokens: Sequence[int]) -> None:
        """Writes the next token of each slot."""
        new = torch.tensor(tokens, device=self.tokens.device)
        self.tokens[: len(tokens), self.column] = new

    def keep(self, going: Sequence[bool]) -> None:
        """Lets go of the other slots; the last ones move into the gaps."""
        count = sum(going)
        gaps = [slot for slot in range(count) if not going[slot]]
        moved = [slot for slot in range(count, len(going)) if going[slot]]
        if gaps:
            for layer in self.layers:
                layer.copy(moved, gaps, self.column)
            for tensor in (self.tokens, self.mask):
                tensor[gaps] = tensor[moved]
            self.padding[gaps] = self.padding[moved]
        for gap, slot in zip(gaps, moved, strict=True):
            self.order[gap] = self.order[slot]
        del self.order[count:]

    def step(self) -> Tensor:
        """Logits (slots, vocabulary) behind the tokens that were put last."""
        count = len(self.order)
        start, self.column = int(self.padding[:count].min()) - self.spare, self.column + 1
        return self._forward(0, count, start, self.column - 1, self.column)

    def written(self) -> tuple[Tensor, Tensor]:
        """Tokens (slots, columns) so far as `generate` has them, and each slot's padding."""
        count = len(self.order)
        padding = torch.from_numpy(self.padding[:count] - self.spare).to(self.tokens.device)
        return self.tokens[:count, self.spare : self.column], padding

    def _forward(self, low: int, high: int, start: int, end: int, stop: int) -> Tensor:
        """One pass over columns `end` to `stop` of some rows, which have read from `start` on."""
        for layer in self.layers:
            layer.open(low, high, start, end)
        mask, options = self.mask[low:high, start:stop], {}
        if self.positions:
            places = (mask.cumsum(-1) - 1).clamp(min=0)
            options["position_ids"] = places[:, end - start :]
        output = self.model(
            input_ids=self.tokens[low:high, end:stop],
            attention_mask=mask if (self.padding[low:high] > start).any() else None,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
            **options,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits


def write(
    rows: Rows, done: Callable[[Sequence[int]], bool], names: Sequence[str]
) -> list[list[int]]:
    """New tokens of every row of the batch, up to where `done` says that they suffice.

    Raises:
        NonFiniteError: the next token's logits are NaN or Inf; names the request.
    """
    texts: list[list[int]] = [[] for _ in rows.order]
    logits = rows.read()
    while True:
        chosen = best_tokens(penalised(rows, logits), rows, names)
        for row, token in zip(rows.order, chosen, strict=True):
            texts[row].append(token)
        going = [not done(texts[row]) for row in rows.order]
        if not any(going):
            return texts
        rows.put(chosen)
        rows.keep(going)
        logits = rows.step()


def best_tokens(logits: Tensor, rows: Rows, names: Sequence[str]) -> list[int]:
    """The likeliest token of each slot, the first of equals.

    Raises:
        NonFiniteError: the best logit is NaN or Inf.
    """
    if logits.device.type == "cpu":  # numpy's is ten times faster, and says NaN is the best too
        table = logits.numpy()
        chosen = table.argmax(axis=1)
        finite = np.isfinite(table[np.arange(len(table)), chosen])
    else:
        best, tokens = logits.max(dim=-1)
        chosen, finite = tokens.cpu().numpy(), torch.isfinite(best).cpu().numpy()
    if not finite.all():
        bad = (rows.order[slot] for slot in np.flatnonzero(~finite))
        number = min(rows.prompts.owners[row][0] for row in bad)
        raise NonFiniteError(f"{names[number]}: the model's logits are NaN or Inf")
    return [int(token) for token in chosen]


def penalised(rows: Rows, logits: Tensor) -> Tensor:
    """Logits after what the checkpoint's generation config asks of greedy decoding."""
    config = rows.model.generation_config
    tokens, padding = rows.written()
    applied = LogitsProcessorList()
    if (penalty := getattr(config, "repetition_penalty", None)) not in (None, 1.0):
        applied.append(RepetitionPenaltyLogitsProcessor(float(penalty), padding))
    if size := getattr(config, "no_repeat_ngram_size", None):
        applied.append(NoRepeatNGramLogitsProcessor(size))
    if suppressed := getattr(config, "suppress_tokens", None):
        applied.append(SuppressTokensLogitsProcessor(suppressed, device=str(logits.device)))
    return applied(tokens, logits) if applied else logits  # type: ignore[arg-type]
