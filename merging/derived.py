"""Tensors that are computed from a checkpoint's own: made when first asked for, kept, mapped.

They are written once to a file of the cache, whose name says all that they depend on, and are
memory-mapped from there; where the cache cannot be written they stay in memory.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from .checkpoint import TensorInfo
from .errors import SourceError
from .headers import read_header
from .stream import write_file

Read = Callable[[str], torch.Tensor]


def materialise(file: Path, layout: Mapping[str, TensorInfo], compute: Read) -> Read:
    """What reads the tensors of `layout` by name.

    Args:
        file: where they are kept, or were kept by an earlier run.
        layout: shape and dtype of each.
        compute: makes one of them.
    """
    try:
        if not _holds(file, layout):
            _write_atomically(file, layout, compute)
        handle = safe_open(file, "pt")
    except (OSError, SafetensorError):
        kept = {name: compute(name) for name in layout}
        return kept.__getitem__
    read: Read = handle.get_tensor
    return read


def _holds(file: Path, layout: Mapping[str, TensorInfo]) -> bool:
    """Whether a file of the cache is whole."""
    try:
        return file.is_file() and read_header(file) == layout
    except SourceError:
        return False


def _write_atomically(file: Path, layout: Mapping[str, TensorInfo], produce: Read) -> None:
    """Processes may race: each writes a file of its own, the last name stands."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    os.close(descriptor)
    try:
        write_file(Path(temporary), layout, produce)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # a cut after the name, before the numbers: zeros
        os.replace(temporary, file)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
