"""Memory of mapped files that is given back: less of it is resident, and the values stay."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from merging.hashing import cache_folder
from merging.pages import forget_pages, mapped_at
from merging.stored import open_folder


def resident(address: int) -> int:
    """KiB of the mapping at an address that are in memory."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        fields = line.split()
        if "-" in fields[0] and not fields[0].endswith(":"):
            low, high = (int(part, 16) for part in fields[0].split("-"))
            inside = low <= address < high
        elif inside and fields[0] == "Rss:":
            return int(fields[1])
    raise AssertionError("not mapped")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone gives pages back")
def test_a_tensor_is_forgotten_and_read_again(pico_family, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    large = torch.arange(1 << 21, dtype=torch.int32).view(torch.float32)
    tensors = {"large": large, "other": torch.ones(4)}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    checkpoint = open_folder(folder, allow_pickle=False, cache=cache_folder())
    view = checkpoint.tensor("large")
    assert torch.equal(view.view(torch.int32), large.view(torch.int32))
    before = resident(view.data_ptr())
    checkpoint.forget("large")
    assert before > 8000 and resident(view.data_ptr()) < 200
    assert torch.equal(checkpoint.tensor("large").view(torch.int32), large.view(torch.int32))


def test_memory_that_is_no_file_is_left_alone(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(1 << 20))
    ours = torch.ones(1 << 20)
    forget_pages(ours, mapped_at(file))
    assert mapped_at(file) == [] and (ours == 1).all()
