"""Checkpoints that are only there as pytorch_model.bin: opened when the user allows it.

Torch's weights-only reader builds tensors and refuses anything else; files in its zip format are
memory-mapped.
"""

import pickle
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch

from .checkpoint import TensorInfo
from .errors import SourceError
from .hashing import hash_files
from .headers import member, read_index, require_file

WEIGHTS = "pytorch_model.bin"
INDEX = "pytorch_model.bin.index.json"


class PickledCheckpoint:
    """A folder of pytorch_model.bin files as a `Checkpoint`."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, object],
        weights: Mapping[str, torch.Tensor],
        files: tuple[Path, ...],
        cache: Path,
    ) -> None:
        self.folder = folder
        self.config = config
        self.tensors = {
            name: TensorInfo(tuple(weight.shape), str(weight.dtype).removeprefix("torch."))
            for name, weight in weights.items()
        }
        self._weights = weights
        self._files = files
        self._cache = cache

    @cached_property
    def content_hash(self) -> str:
        """See `Checkpoint`."""
        from .stored import described

        return hash_files([*self._files, *described(self.folder)], self._cache)

    def tensor(self, name: str) -> torch.Tensor:
        """See `Checkpoint`."""
        return self._weights[name]


def open_pickled(folder: Path, config: Mapping[str, object], cache: Path) -> PickledCheckpoint:
    """Opens the pickled weights of a folder; names that share a storage are taken once.

    Raises:
        SourceError: a file is missing, damaged, or holds anything but tensors.
    """
    if (folder / WEIGHTS).exists():
        files = [member(folder, WEIGHTS)]
    else:
        shards = sorted(set(read_index(member(folder, INDEX)).values()))
        files = [member(folder, shard) for shard in shards]
    weights: dict[str, torch.Tensor] = {}
    seen: set[tuple[int, tuple[int, ...], tuple[int, ...]]] = set()
    for file in files:
        for name, weight in load_pickled(file).items():
            if name in weights:
                raise SourceError(f"{file}: tensor {name!r} is in another file of {folder} too")
            view = (weight.data_ptr(), tuple(weight.shape), weight.stride())
            if weight.numel() and view in seen:
                continue
            seen.add(view)
            weights[name] = weight
    return PickledCheckpoint(folder, config, weights, tuple(files), cache)


def load_pickled(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of one pickled file, by name.

    Raises:
        SourceError: missing, damaged, or anything in it but tensors.
    """
    require_file(file)
    try:
        data = torch.load(
            file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file) or None
        )
    except (
        pickle.UnpicklingError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
    ) as error:
        reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{file}: cannot be read as plain weights: {reason}") from error
    if not isinstance(data, dict):
        raise SourceError(f"{file}: expected tensors by name, got {type(data).__name__}")
    for name, weight in data.items():
        if not isinstance(name, str) or not isinstance(weight, torch.Tensor):
            raise SourceError(
                f"{file}: expected tensors by name, got {name!r}: {type(weight).__name__}"
            )
    return data
