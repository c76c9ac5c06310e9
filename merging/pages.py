"""Pages of mapped files: given back once read, so that streaming a model stays small.

A mapped page counts as memory of the process as long as it is mapped, though the system may take
it at any time. On systems other than Linux nothing is given back.
"""

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def forget_pages(tensor: "torch.Tensor", mapped: Iterable[tuple[int, int]]) -> None:
    """Unmaps the whole pages of a tensor until it is read again, if it is a view of a mapped file.

    Args:
        tensor: nobody has written to it; what was written would be lost.
        mapped: where the file is, `mapped_at`. Other memory is left alone.
    """
    page = mmap.PAGESIZE
    first = -(-tensor.data_ptr() // page) * page
    last = (tensor.data_ptr() + tensor.nbytes) // page * page
    if first < last and any(low <= first and last <= high for low, high in mapped):
        place, size = ctypes.c_void_p(first), ctypes.c_size_t(last - first)
        ctypes.CDLL(None).madvise(place, size, mmap.MADV_DONTNEED)


def mapped_at(file: Path) -> list[tuple[int, int]]:
    """Where this process has a file mapped: [first, last) addresses; empty where none can tell."""
    wanted = os.path.realpath(file)
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == wanted:
            low, _, high = fields[0].partition("-")
            found.append((int(low, 16), int(high, 16)))
    return found
