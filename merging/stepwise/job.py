"""One job of a plan, merged with mergekit's rounding."""

from collections.abc import Sequence

import torch

from ..errors import MergeError
from ..kernels.masks import mask_keys
from ..methods.formula import Numbers
from ..plan import TensorJob
from .engine import merge_stepwise
from .inputs import Inputs


def merge_job(
    job: TensorJob,
    numbers: Numbers,
    base: torch.Tensor | None,
    experts: Sequence[torch.Tensor],
    mask_seed: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Merges tensors that are converted to `dtype` first; without experts, gives the base.

    Raises:
        MergeError: numbers that mergekit fails on, or integers that differ between the models.
    """
    first, *others = experts if base is None else [base, *experts]
    if not first.is_floating_point():
        if not all(torch.equal(first, other) for other in others):
            raise MergeError(
                f"{job.name}: the models hold other integers here, which mergekit refuses; "
                "without --mergekit-exact the base's are taken"
            )
        return first.clone()
    given = Inputs(
        None if base is None else _converted(base, dtype),
        tuple(_converted(expert, dtype) for expert in experts),
        numbers,
        tuple(mask_keys(mask_seed, job.name, at, first.numel()) for at in range(len(experts))),
    )
    if not experts or not first.numel():
        return _converted(first, dtype)
    try:
        return merge_stepwise(job.method, given)
    except MergeError as error:
        raise MergeError(f"{job.name}: {error}") from None


def _converted(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.detach().to("cpu", dtype)
