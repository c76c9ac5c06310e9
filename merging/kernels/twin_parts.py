"""What both halves of the torch twin calculate with: one rounding an operation, see `twin`."""

from collections.abc import Sequence

import torch


def added(terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """0 + the first + the second and so on."""
    total = torch.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def single(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A contiguous float32 copy on the device, or the tensor where it is one."""
    return tensor.detach().to(device, torch.float32).contiguous()


def number(value: float, device: torch.device) -> torch.Tensor:
    """A float32 on the device, with a dimension: numbers of none are fused differently."""
    return torch.tensor([value], dtype=torch.float32, device=device)
