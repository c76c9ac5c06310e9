"""How many tokens run together: chosen once from the machine's memory, halved when it runs out.

The choice depends on the model's shape and on all memory of the device, never on what happens to
be free: the same machine chooses the same budget, and so gets the same bits.
"""

import os
from typing import TYPE_CHECKING, Any

import torch

from .budget_bytes import READ, SHARE, widest_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SMALLEST = 64
LARGEST = {"cpu": 2048}
"""More tokens at once are no faster: a CPU is busy with these."""
LARGEST_ELSEWHERE = 32768

EXHAUSTED = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
"""What errors of the many allocators say."""


def fitting_budget(model: "PreTrainedModel") -> int:
    """The largest power of two of tokens whose pass takes at most SHARE of the memory."""
    room = SHARE * memory_bytes(model.device)
    budget = LARGEST.get(model.device.type, LARGEST_ELSEWHERE)
    while budget > SMALLEST and budget * bytes_a_token(model) > room:
        budget //= 2
    return budget


def bytes_a_token(model: "PreTrainedModel") -> int:
    """What a pass holds for a token at its widest, roughly."""
    config: Any = model.config.get_text_config(decoder=True)
    return widest_bytes({name: getattr(config, name, 0) for name in READ})


def memory_bytes(device: torch.device) -> int:
    """All memory of a device, or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_ran_out(error: BaseException) -> bool:
    """Whether an error of torch or Python says so."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in EXHAUSTED)
