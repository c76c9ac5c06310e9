"""`model+adapter`: a checkpoint with a LoRA adapter applied, as if it had been saved so.

The changed tensors are computed when the first of them is asked for and kept under a name made of
both content hashes (`derived`). The other tensors are the base's own.
"""

import hashlib
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from .checkpoint import Checkpoint
from .derived import Read, materialise
from .errors import SourceError
from .hashing import hash_files
from .headers import member, read_header
from .lora import Change, changed, changes
from .lora_config import CONFIG, read_config
from .pickled import load_pickled

WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
ARITHMETIC = 1
"""Raised when `lora.changed` gives other bits: part of the name in the cache."""


class AdaptedCheckpoint:
    """A base with an adapter's changes, as a `Checkpoint`; folder and config are the base's."""

    def __init__(
        self,
        base: Checkpoint,
        found: Mapping[str, Change],
        files: tuple[Path, ...],
        cache: Path,
    ) -> None:
        self.base = base
        self.folder = base.folder
        self.config = base.config
        self.tensors = base.tensors
        self.changed: frozenset[str] = frozenset(found)
        self._changes = found
        self._files = files
        self._cache = cache
        self._lock = threading.Lock()
        self._read: Read | None = None

    @cached_property
    def content_hash(self) -> str:
        """See `Checkpoint`."""
        adapter = hash_files(self._files, self._cache)
        text = f"adapted {ARITHMETIC}\0{self.base.content_hash}\0{adapter}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

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
        file = self._cache / "adapted" / f"{self.content_hash}.safetensors"
        return materialise(file, layout, self._compute)

    def _compute(self, name: str) -> torch.Tensor:
        return changed(self.base.tensor(name), self._changes[name])


def apply_adapter(
    base: Checkpoint, folder: Path, *, allow_pickle: bool, cache: Path
) -> AdaptedCheckpoint:
    """Applies the adapter of a folder to a checkpoint; nothing large is read yet.

    Raises:
        SourceError: missing or damaged files, or an adapter that does not fit the base.
        UnsupportedError: anything but plain LoRA.
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: expected the folder of a PEFT adapter")
    config = read_config(folder)
    file = _weights_file(folder, allow_pickle)
    weights = load_pickled(file) if file.name == PICKLED else _load(file)
    found = changes(base, config, weights, str(file))
    if not found:
        raise SourceError(f"{file}: no tensor in it, so the adapter changes nothing")
    return AdaptedCheckpoint(base, found, (file, member(folder, CONFIG)), cache)


def _weights_file(folder: Path, allow_pickle: bool) -> Path:
    if (folder / WEIGHTS).exists():
        return member(folder, WEIGHTS)
    if not (folder / PICKLED).exists():
        raise SourceError(f"{folder}: expected {WEIGHTS}")
    if not allow_pickle:
        raise SourceError(
            f"{folder}: only a pickled adapter ({PICKLED}), which can carry code; if you trust "
            "where it comes from, --allow-pickle reads it (weights only)"
        )
    return member(folder, PICKLED)


def _load(file: Path) -> dict[str, torch.Tensor]:
    """The adapter's tensors, memory-mapped."""
    names = read_header(file)
    try:
        handle = safe_open(file, "pt")
        return {name: handle.get_tensor(name) for name in names}  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise SourceError(f"{file}: cannot be read: {error}") from error
