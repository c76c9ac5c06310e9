"""Where NaN or Inf begins in a model: the first layer whose output or weights hold it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _FoundError(Exception):
    """Ends the pass once the module is known."""


def first_bad(model: "PreTrainedModel", again: Callable[[], object]) -> str | None:
    """The name of the first module, in the order they run, that gives NaN or Inf; None if none.

    The innermost one: `model.layers.3.mlp.down_proj`, with the name of its own tensor that is not
    finite, if one is.

    Args:
        model: The live model.
        again: Runs the pass that went wrong.
    """
    named = {module: name for name, module in model.named_modules()}
    culprit: list[nn.Module] = []

    def look(module: nn.Module, _inputs: object, output: object) -> None:
        if not all(bool(torch.isfinite(tensor).all()) for tensor in _tensors(output)):
            culprit.append(module)
            raise _FoundError

    hooks = [module.register_forward_hook(look) for module in named]
    try:
        again()
    except _FoundError:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    if not culprit:
        return None
    name = named[culprit[0]] or type(model).__name__
    own = [key for key, one in culprit[0].named_parameters() if not torch.isfinite(one).all()]
    return f"{name} (its {own[0]} holds NaN or Inf)" if own else name


def _tensors(output: object) -> list[Tensor]:
    """Floating-point tensors of a module's output, those in tuples too."""
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, tuple | list):
        return [tensor for part in output for tensor in _tensors(part)]
    if isinstance(output, dict):
        return [tensor for part in output.values() for tensor in _tensors(part)]
    return []
