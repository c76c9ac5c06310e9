"""Around a run: the model is what the settings say, faults get a name, threads are set."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from .budget import memory_ran_out
from .errors import EvaluationError, ExhaustedError
from .settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check_model(model: "PreTrainedModel", settings: Settings) -> None:
    """Refuses a model that is not what the settings say.

    Raises:
        EvaluationError: naming both.
    """
    dtype = str(model.dtype).removeprefix("torch.")
    if dtype != settings.dtype:
        raise EvaluationError(f"dtype: the settings say {settings.dtype}, the model is in {dtype}")
    if model.device.type != torch.device(settings.device).type:
        raise EvaluationError(
            f"device: the settings say {settings.device}, the model is on {model.device}"
        )


@contextmanager
def named(name: str) -> Iterator[None]:
    """Puts `name` before the message of an error in a request."""
    try:
        yield
    except EvaluationError as fault:
        raise type(fault)(f"{name}: {fault}") from None


@contextmanager
def told_when_exhausted(settings: Settings) -> Iterator[None]:
    """Makes one error of the many forms in which memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        text = f"out of memory in a pass over up to {settings.token_budget} tokens"
        raise ExhaustedError(f"{text}; a smaller --token-budget takes less") from None


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Torch's threads inside an operation, put back afterwards: sums depend on them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
