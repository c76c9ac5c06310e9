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

    @property
    def folder(self) -> Path:
        """A local folder with the model's config and tokenizer."""
        ...

    @property
    def config(self) -> Mapping[str, object]:
        """What config.json says."""
        ...

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every stored tensor; an lm_head that is tied to the embedding is not among them."""
        ...

    @property
    def content_hash(self) -> str:
        """Hex digest of what scores depend on: weights, config, tokenizer (and the adapter).

        Computed when first asked for.

        Raises:
            SourceError: a file cannot be read, or changed meanwhile.
        """
        ...

    def tensor(self, name: str) -> "torch.Tensor":
        """The stored tensor on the CPU, in its stored dtype, not to be written to.

        Raises:
            SourceError: the file cannot be read.
            KeyError: `name` is not in `tensors`.
        """
        ...
