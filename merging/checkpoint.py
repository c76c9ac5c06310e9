"""What the merge needs of a model's weights, wherever they come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Shape and dtype (`bfloat16`, `float32`, ...) of one stored tensor, read from a header."""

    shape: tuple[int, ...]
    dtype: str


class Checkpoint(Protocol):
    """A model's weights by checkpoint name, memory-mapped."""

    folder: Path
    """A local folder with the model's config and tokenizer."""
    config: Mapping[str, object]
    tensors: Mapping[str, TensorInfo]
    """Every stored tensor; a tied lm_head is not stored."""
    content_hash: str
    """Hex digest of the weights' bytes (and of the adapter's)."""

    def tensor(self, name: str) -> "torch.Tensor":
        """The stored tensor on the CPU, in its stored dtype, not to be written to."""
        ...
