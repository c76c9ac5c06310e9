"""Forward passes over a plan: the summed log-probability of each span on the live weights.

Log-probabilities are taken in float32 whatever the model's dtype, and summed in float64. What the
masks of a plan are follows from the plan alone, so they are kept beside it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .attention import KeyValue, Masks, UnfitError, Walk, make_masks, walking
from .batches import Batch, Forest, Group, Tile
from .head import Head, logits_at

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CHUNK_ELEMENTS = {"cpu": 2**20}
"""Bound of what is softmaxed at once: on a CPU it should stay in its cache (five times faster)."""
MASK_BYTES = 2**28
"""Masks that are kept; beyond that they are made anew in each pass."""

Sums = NDArray[np.float64]
Greedy = NDArray[np.bool_]
Check = Callable[[Batch, Sums, Callable[[], object]], None]
"""Looks at a batch's sums; may run the batch's pass again to see where it went wrong."""


def unchecked(batch: Batch, sums: Sums, again: Callable[[], object]) -> None:
    """Lets everything pass."""


@dataclass(slots=True)
class Passes:
    """A live model and how its logits are had.

    `seconds` is the time its forward passes took so far.
    """

    model: "PreTrainedModel"
    head: Head
    remembers: bool = False
    """Whether rope remembers the longest pass so far: a pass over one token makes it forget."""
    seconds: float = 0.0
    _masks: "WeakKeyDictionary[Batch, Masks]" = field(default_factory=WeakKeyDictionary)

    def score(
        self, groups: Sequence[Group], spans: int, check: Check = unchecked
    ) -> tuple[Sums, Greedy]:
        """For each of so many spans the sum of its log-probabilities, and if none was likelier.

        Raises:
            UnfitError: the model's attention cannot walk trees.
        """
        sums, greedy = np.zeros(spans), np.ones(spans, dtype=bool)
        for group in groups:
            stem = self._stem(group.stem) if len(group.stem) else ()
            for batch in group.batches:
                logits = self._logits(batch, stem)
                chosen, first = token_logprobs(logits, batch.at, batch.targets)
                sums[batch.spans] = np.add.reduceat(chosen.astype(np.float64), batch.starts)
                greedy[batch.spans] = np.logical_and.reduceat(first, batch.starts)
                check(batch, sums, partial(self._again, group, batch))
        return sums, greedy

    def forget_masks(self) -> None:
        """Lets go of the masks of plans that are no longer asked for."""
        self._masks.clear()

    def _again(self, group: Group, batch: Batch) -> Tensor:
        """A batch's logits with its stem read anew."""
        return self._logits(batch, self._stem(group.stem) if len(group.stem) else ())

    def _logits(self, batch: Batch, stem: Sequence[KeyValue]) -> Tensor:
        """The logits of a batch's positions (u, vocabulary)."""
        device = self.model.device
        tokens = torch.from_numpy(batch.tokens).to(device)
        positions = torch.from_numpy(batch.positions).to(device)
        forest = batch.forest
        self._forget(tokens)
        if forest is None:
            return self._timed(tokens, positions)
        walk = Walk(forest.tiles, self._masks_of(batch, forest, stem), stem)
        return self._walked(walk, tokens, positions, forest.depths)

    def _stem(self, tokens: NDArray[np.int64]) -> list[KeyValue]:
        """What later passes attend to of a common beginning: keys and values, layer by layer."""
        kept: list[KeyValue] = []
        size = len(tokens)
        walk = Walk([Tile(0, size, size)], [None], kept=kept)
        row = torch.from_numpy(tokens).to(self.model.device)[None]
        last = torch.tensor([size - 1], device=row.device)
        self._forget(row)
        self._walked(walk, row, last, np.arange(size))
        return kept

    def _forget(self, tokens: Tensor) -> None:
        if self.remembers:
            self.model(input_ids=tokens[:, :1], use_cache=False)

    def _walked(
        self, walk: Walk, tokens: Tensor, positions: Tensor, depths: NDArray[np.int64]
    ) -> Tensor:
        places = torch.from_numpy(depths).to(tokens.device)[None]
        with walking(self.model, walk):
            logits = self._timed(tokens, positions, position_ids=places)
        if not walk.calls:
            raise UnfitError("its attention does not go through transformers' table")
        return logits

    def _timed(self, tokens: Tensor, positions: Tensor, **options: Tensor) -> Tensor:
        start = time.perf_counter()
        logits = logits_at(self.model, self.head, tokens, positions, **options)
        if tokens.is_cuda:
            torch.cuda.synchronize(tokens.device)
        self.seconds += time.perf_counter() - start
        return logits

    def _masks_of(self, batch: Batch, forest: Forest, stem: Sequence[KeyValue]) -> Masks:
        dtype, size = self.model.dtype, stem[0][0].shape[2] if stem else 0
        found = self._masks.get(batch)
        if found is not None and all(mask is None or mask.dtype == dtype for mask in found):
            return found
        found = make_masks(forest, size, dtype, self.model.device)
        held = [mask for masks in (*self._masks.values(), found) for mask in masks]
        if sum(mask.nbytes for mask in held if mask is not None) <= MASK_BYTES:
            self._masks[batch] = found
        return found


def token_logprobs(
    logits: Tensor, at: NDArray[np.int64], targets: NDArray[np.int64]
) -> tuple[NDArray[np.float32], Greedy]:
    """Log-probability of targets (n,) at rows `at` (n,) of logits (u, vocabulary).

    And whether the target is the one that greedy decoding takes: of equally likely tokens the
    first. Softmax in float32, a chunk of rows at a time.
    """
    rows = max(1, CHUNK_ELEMENTS.get(logits.device.type, 2**25) // logits.shape[1])
    order = np.argsort(at, kind="stable")
    bounds = np.searchsorted(at[order], np.arange(0, logits.shape[0] + rows, rows))
    chosen = np.empty(len(at), dtype=np.float32)
    taken = np.empty(logits.shape[0], dtype=np.int64)
    for chunk, (low, high) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        first = chunk * rows
        logp = torch.log_softmax(logits[first : first + rows], dim=-1, dtype=torch.float32)
        here = order[low:high]
        line = torch.from_numpy(at[here] - first).to(logits.device)
        column = torch.from_numpy(targets[here]).to(logits.device)
        chosen[here] = logp[line, column].cpu().numpy()
        taken[first : first + rows] = logp.argmax(dim=-1).cpu().numpy()
    return chosen, taken[at] == targets
