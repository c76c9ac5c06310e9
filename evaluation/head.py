"""Only the positions that are asked for go through the output head.

A forward pre-hook on `get_output_embeddings()` gathers them, so whatever a model does with its
logits afterwards (Gemma-2's capping, Granite's and Cohere's scaling) still happens. A probe
compares it with the model's plain forward; where they differ the plain forward is used, with the
reason at hand.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .budget import memory_ran_out

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE_ROWS, PROBE_WIDTH = 2, 12


@dataclass(frozen=True, slots=True)
class Head:
    """How logits are had: `gathered` before the head, or taken out of the full logits, and why."""

    gathered: bool
    reason: str = ""


def logits_at(
    model: "PreTrainedModel", head: Head, tokens: Tensor, positions: Tensor, **options: Tensor
) -> Tensor:
    """Logits (u, vocabulary) at flat `positions` (u,) of `tokens` (rows, width)."""
    if head.gathered:
        with gather_before_head(model, positions):
            logits = forward(model, tokens, **options)
        return logits.reshape(-1, logits.shape[-1])
    logits = forward(model, tokens, **options)
    return logits.reshape(-1, logits.shape[-1]).index_select(0, positions)


def forward(model: "PreTrainedModel", tokens: Tensor, **options: Tensor) -> Tensor:
    """A pass without mask: padding stands on the right, where causal attention never looks."""
    logits: Tensor = model(input_ids=tokens, use_cache=False, **options).logits
    return logits


@contextmanager
def gather_before_head(model: "PreTrainedModel", positions: Tensor) -> Iterator[None]:
    """While open, the head sees hidden states (1, u, hidden) instead of (rows, width, hidden)."""

    def gather(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]
        return (hidden.reshape(-1, hidden.shape[-1]).index_select(0, positions)[None], *inputs[1:])

    handle = output_head(model).register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def output_head(model: "PreTrainedModel") -> nn.Module:
    """The module that turns hidden states into logits; None where a model names none."""
    head: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return head


def vocabulary_size(model: "PreTrainedModel") -> int:
    """Rows of the embedding."""
    weight = next(model.get_input_embeddings().parameters())
    return int(weight.shape[0])


@torch.inference_mode()
def probe_head(model: "PreTrainedModel", device: torch.device) -> Head:
    """Whether gathering gives this model's own logits, in its dtype, on a small batch.

    Weights that give NaN or Inf decide nothing about the architecture: equal non-finite values
    agree.
    """
    if not isinstance(output_head(model), nn.Module):
        return Head(False, "the model names no output head")
    vocabulary = vocabulary_size(model)
    tokens = (torch.arange(PROBE_ROWS * PROBE_WIDTH, device=device) * 7 + 3) % vocabulary
    tokens = tokens.reshape(PROBE_ROWS, PROBE_WIDTH)
    positions = torch.tensor([0, 3, PROBE_WIDTH - 1, PROBE_WIDTH + 5], device=device)
    want = logits_at(model, Head(False), tokens, positions).float()
    try:
        got = logits_at(model, Head(True), tokens, positions).float()
    except Exception as fault:  # any model code may stand between hook and head
        if memory_ran_out(fault):
            raise
        return Head(False, f"gathering before the head fails: {fault}")
    if got.shape != want.shape:
        return Head(False, f"gathering gives logits of shape {tuple(got.shape)}")
    gap = float((got - want).nan_to_num(0.0).abs().max())
    scale = float(want.nan_to_num(0.0, 0.0, 0.0).abs().max())
    bound = 16 * torch.finfo(model.dtype).eps * max(scale, 1.0)
    if gap > bound:
        return Head(False, f"gathering before the head moves logits by {gap:.3g}")
    return Head(True)
