"""Tensors as kernels take them: address and dtype code; and what spreads kernels over threads."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch

from .jit import Array
from .primitives import BFLOAT16, FLOAT16, FLOAT32

CODES = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.float16: FLOAT16}
Result = TypeVar("Result")


class Run(Protocol):
    """Does work on spans of whole units of the elements, maybe at once; results in their order."""

    def __call__(
        self, work: Callable[[int, int], Result], elements: int, unit: int = ..., /
    ) -> list[Result]:
        """See the class."""


def readable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as kernels can read it: on the CPU, contiguous, aligned, of a known dtype."""
    host = tensor.detach().cpu().contiguous()
    if host.dtype not in CODES:
        return host.to(torch.float32)
    return host.clone() if host.data_ptr() % host.element_size() else host


def entry(tensor: torch.Tensor) -> tuple[int, int]:
    """The address of a readable tensor, and its dtype's code."""
    return tensor.data_ptr(), CODES[tensor.dtype]


def entries(tensors: Sequence[torch.Tensor]) -> Array:
    """A row for each of some readable tensors: int64 [tensors, 2]."""
    return np.array([entry(tensor) for tensor in tensors], np.int64)
