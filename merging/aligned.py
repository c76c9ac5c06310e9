"""A checkpoint that speaks the vocabulary of a merge's output.

Embedding, output head and the head's bias have the rows of the output's tokenizer (`token_rows`
says which), config.json its size and its token ids; everything else is the wrapped checkpoint's.
So plans, kernels, candidates and hashes know nothing of vocabularies.
"""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from .checkpoint import Checkpoint, TensorInfo
from .derived import Read, materialise
from .recipe import ModelReference
from .speech import Speech, spoken
from .stream import byte_size
from .token_rows import RowPlan

ARITHMETIC = 1
"""Raised when `aligned_tensor` gives other bits: part of the content hash."""

SMALL = 32 << 20
"""Bytes of aligned tensors that are not worth a file in the cache."""

STEP = 4096
"""Rows that are averaged at a time."""


@dataclass(frozen=True, slots=True)
class AlignedTensor:
    """A tensor with the rows of the output; `donors`: where each model keeps its own."""

    info: TensorInfo
    plan: RowPlan
    donors: Mapping[ModelReference, tuple[Checkpoint, str]]


class AlignedCheckpoint:
    """A checkpoint in the output's vocabulary, as a `Checkpoint`; the folder is the base's."""

    def __init__(
        self,
        base: Checkpoint,
        speech: Speech,
        aligned: Mapping[str, AlignedTensor],
        cache: Path,
    ) -> None:
        self.base = base
        self.speech = speech
        self.folder = base.folder
        self.config = base.config if speech.ids is None else spoken(base.config, speech.ids)
        self.tensors = {**base.tensors, **{name: one.info for name, one in aligned.items()}}
        self.changed: frozenset[str] = frozenset(aligned)
        self._aligned = aligned
        self._cache = cache
        self._lock = threading.Lock()
        self._read: Read | None = None

    @cached_property
    def content_hash(self) -> str:
        """See `Checkpoint`; covers every model that may lend a row."""
        family = [one.content_hash for one in self.speech.family]
        parts = [f"aligned {ARITHMETIC}", self.base.content_hash, *family, self.speech.spec]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    def stored_dtype(self, name: str) -> str:
        """The dtype of the model's own tensor: beside models of others an aligned one is wider."""
        return self.base.tensors.get(name, self.tensors[name]).dtype

    def tensor(self, name: str) -> torch.Tensor:
        """See `Checkpoint`."""
        if name not in self.changed:
            return self.base.tensor(name)
        with self._lock:
            if self._read is None:
                self._read = self._materialise()
        return self._read(name)

    def _materialise(self) -> Read:
        layout = {name: self.tensors[name] for name in sorted(self.changed)}
        if sum(map(byte_size, layout.values())) <= SMALL:
            kept = {name: self._compute(name) for name in layout}
            return kept.__getitem__
        file = self._cache / "aligned" / f"{self.content_hash}.safetensors"
        return materialise(file, layout, self._compute)

    def _compute(self, name: str) -> torch.Tensor:
        return aligned_tensor(self._aligned[name])


def aligned_tensor(one: AlignedTensor) -> torch.Tensor:
    """The tensor with the output's rows; means in float32 (padding: float64), rounded once."""
    tensors = {model: donor.tensor(name) for model, (donor, name) in one.donors.items()}
    out = torch.zeros(one.info.shape, dtype=getattr(torch, one.info.dtype))
    for model, (to, rows) in one.plan.taken.items():
        out[torch.tensor(to)] = tensors[model][torch.tensor(rows)].to(out.dtype)
    for row, found in one.plan.means.items():
        total = torch.zeros(out.shape[1:])
        for model, own in found:
            total += tensors[model][own].float()
        out[row] = total / len(found)
    if one.plan.padding:
        padding = torch.tensor(one.plan.padding)
        out[padding] = _mean_of_others(out, one.plan.padding)
    return out


def _mean_of_others(out: torch.Tensor, padding: Sequence[int]) -> torch.Tensor:
    """The mean of the rows that are no padding, added one after another, whatever the threads."""
    real = torch.ones(len(out), dtype=torch.bool)
    real[torch.tensor(padding)] = False
    total = np.zeros(tuple(out.shape[1:]))
    for start in range(0, len(out), STEP):
        piece = out[start : start + STEP][real[start : start + STEP]]
        total = np.add.reduce(piece.double().numpy(), axis=0, initial=0.0) + total
    return torch.from_numpy(np.asarray(total / int(real.sum()))).to(out.dtype)
