"""Writes one safetensors file tensor by tensor, so that no more than one tensor is in memory.

Sizes are known before the weights are, so the header goes first. Tensors stand in the library's
own order: wide dtypes first, then by name, which keeps each one aligned.
"""

import json
import os
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import torch

from .checkpoint import TensorInfo
from .headers import DTYPES


def file_order(layout: Mapping[str, TensorInfo]) -> list[str]:
    """The names of a file's tensors in the order in which they stand there."""
    return sorted(layout, key=lambda name: (-_width(layout[name]), name))


def byte_size(info: TensorInfo) -> int:
    """Bytes of one tensor."""
    return prod(info.shape) * _width(info)


def write_file(
    file: Path, layout: Mapping[str, TensorInfo], produce: Callable[[str], torch.Tensor]
) -> None:
    """Writes a safetensors file; `produce` is asked for each tensor once, in the file's order.

    Args:
        file: the new file; its bytes are on the disk when this returns.
        layout: shape and dtype of every tensor.
        produce: a CPU tensor of that shape and dtype, for a name.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    names = file_order(layout)
    with file.open("wb") as stream:
        stream.write(_header(layout, names))
        for name in names:
            tensor = produce(name)
            if TensorInfo(tuple(tensor.shape), _name(tensor.dtype)) != layout[name]:
                raise RuntimeError(
                    f"{name}: promised {layout[name]}, got {tensor.shape} {tensor.dtype}"
                )
            stream.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        stream.flush()
        os.fsync(stream.fileno())


def _header(layout: Mapping[str, TensorInfo], names: list[str]) -> bytes:
    codes = {dtype: code for code, (dtype, _) in DTYPES.items()}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in names:
        info = layout[name]
        stop = start + byte_size(info)
        header[name] = {
            "dtype": codes[info.dtype],
            "shape": list(info.shape),
            "data_offsets": [start, stop],
        }
        start = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _width(info: TensorInfo) -> int:
    return next(width for dtype, width in DTYPES.values() if dtype == info.dtype)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
