"""Evaluates a method as mergekit 0.1.5 does: its operations, in its order and dtypes.

Written from what those operations are observed to be, so that `--mergekit-exact` gives the bits
that mergekit gives. The engines of `merging.kernels` are nearer to the exact result and much
faster; this one exists to agree. torch adds long sums in one part for each of its threads, and
rounds the parts, so it is held to one thread here: mergekit's bits on several threads can differ
in the last place where a norm or an L1 sum of more than 32,768 elements counts.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import torch

from . import angles, elementwise, means, task_vectors
from .inputs import Inputs

STEPWISE: Mapping[str, Callable[[Inputs], torch.Tensor]] = MappingProxyType(
    {
        "linear": means.linear,
        "slerp": angles.slerp,
        "nuslerp": angles.nuslerp,
        "multislerp": angles.multislerp,
        "karcher": angles.karcher,
        "model_stock": means.model_stock,
        "task_arithmetic": task_vectors.task_arithmetic,
        "ties": task_vectors.ties,
        "dare_linear": task_vectors.dare_linear,
        "dare_ties": task_vectors.dare_ties,
        "breadcrumbs": task_vectors.breadcrumbs,
        "breadcrumbs_ties": task_vectors.breadcrumbs_ties,
        "della_linear": task_vectors.della_linear,
        "della": task_vectors.della,
        "sce": elementwise.sce,
        "ram": elementwise.ram,
        "ramplus_tl": elementwise.ramplus_tl,
        "nearswap": means.nearswap,
        "arcee_fusion": elementwise.arcee_fusion,
        "passthrough": means.passthrough,
    }
)
"""Every method of mergekit by name."""


def merge_stepwise(method: str, given: Inputs) -> torch.Tensor:
    """Merges CPU tensors of one dtype, rounding at every step.

    Returns:
        A tensor of that dtype, or of float32 where mergekit ends in it (`ramplus_tl`,
        `arcee_fusion`).

    Raises:
        MergeError: numbers that mergekit fails on.
    """
    with torch.no_grad(), one_thread():
        return STEPWISE[method](given)


@contextmanager
def one_thread() -> Iterator[None]:
    """Holds torch to one thread, and puts back what was.

    MKL has one number for the whole process: what merges on several threads of its own enters
    this before they do, or one of them takes another's 1 for what to put back.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
