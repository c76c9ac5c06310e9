"""Many tensors merged at once: how a candidate's jobs are spread over threads.

A tensor that is a large part of the whole is merged by all threads together; of the others each is
merged by one, in batches, the large ones first. What is computed does not depend on it.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import torch

from .kernels.known import Known
from .merge import Tensors, merge_tensor
from .plan import TensorJob
from .stepwise.engine import one_thread

BATCH = 1 << 18
"""Elements that are worth handing to a thread."""


def merge_into(
    places: Mapping[str, torch.Tensor],
    jobs: Sequence[TensorJob],
    tensors: Tensors,
    mask_seed: int,
    *,
    threads: int,
    known: Known | None = None,
) -> None:
    """Merges each job into the place of its name.

    Args:
        places: see `out` of `merge_tensor`.
        jobs: one for each place.
        tensors: a model's stored tensor by its checkpoint name; called by several threads.
        mask_seed: of the methods that draw.
        threads: how many.
        known: what earlier calls with the same tensors found out.

    Raises:
        MergeError: as `merge_tensor`.
    """
    sizes = {job.name: places[job.name].numel() for job in jobs}
    ordered = sorted(jobs, key=lambda job: -sizes[job.name])
    large = max(BATCH, sum(sizes.values()) // (8 * threads))
    shared = [job for job in ordered if sizes[job.name] > large and threads > 1]

    def work(batch: Sequence[TensorJob]) -> None:
        with torch.no_grad():  # of this thread
            for job in batch:
                place = places[job.name]
                merge_tensor(job, tensors, mask_seed, out=place, known=known)

    with ExitStack() as stack:
        if any(job.stepwise is not None for job in jobs):
            stack.enter_context(one_thread())
        stack.enter_context(torch.no_grad())
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        for job in shared:
            place = places[job.name]
            merge_tensor(job, tensors, mask_seed, out=place, pool=pool, known=known)
        batches = _batches(ordered[len(shared) :], sizes)
        if threads == 1:
            for batch in batches:
                work(batch)
        else:
            list(pool.map(work, batches))


def _batches(jobs: Sequence[TensorJob], sizes: Mapping[str, int]) -> list[list[TensorJob]]:
    batches: list[list[TensorJob]] = []
    filled = BATCH
    for job in jobs:
        if filled >= BATCH:
            batches.append([])
            filled = 0
        batches[-1].append(job)
        filled += sizes[job.name]
    return batches
