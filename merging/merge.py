"""One tensor of a merge: a job and its checkpoints' tensors become the merged tensor.

Values depend on the job, the tensors and the mask seed alone, never on threads or engines (on the
CPU). Integer and bool tensors (buffers) are taken from the base, or the first model, unchanged.
Not here: where tensors come from (`merging.checkpoint`), what a job is made of (`merging.plan`),
where results go.
"""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

import torch

from .errors import MergeError
from .kernels.engine import Engine
from .kernels.known import Known
from .kernels.masks import mask_keys
from .kernels.twin import Twin
from .methods.formula import Numbers, OtherFormula, TaskVectors, WeightedMean
from .methods.method import Method
from .methods.table import find_method
from .plan import TensorJob, TensorSource
from .recipe import ModelReference
from .stepwise.job import merge_job

if TYPE_CHECKING:
    from .kernels.cpu import Ranks
    from .kernels.jit import Array

Tensors = Callable[[ModelReference, str], torch.Tensor]
"""Gives a model's tensor by the name it has in the checkpoint."""

DTYPES = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "float64": torch.float64,
}


def merge_tensor(
    job: TensorJob,
    tensors: Tensors,
    mask_seed: int,
    *,
    out: torch.Tensor | None = None,
    threads: int = 1,
    pool: Executor | None = None,
    engine: Literal["kernel", "torch"] = "kernel",
    known: Known | None = None,
) -> torch.Tensor:
    """Merges one tensor.

    Args:
        job: what to do, every number resolved; defaults may be left out.
        tensors: where the inputs come from; each is asked for once.
        mask_seed: the seed of the random methods' masks.
        out: filled and returned if given: the merged shape, any dtype, strides and device. Values
            are rounded to the job's dtype first, so a float32 model scores what a bfloat16 export
            holds.
        threads: how many the kernels use where no pool is given; changes no bit.
        pool: threads that outlive this call; making them costs as much as a small tensor.
        engine: "kernel" is compiled, for the CPU; "torch" computes where `out`, or else the base,
            lies. A job with a dtype for its steps has an engine of its own, on the CPU.
        known: what calls with the same tensors found out; changes no bit.

    Returns:
        The merged tensor in the job's dtype, or `out`.

    Raises:
        MergeError: shapes differ, a number is missing or out of range, the dtype is not known.
    """
    method = find_method(job.method)
    fetched = _fetch(method, job, tensors)
    if job.stepwise is not None:
        return _deliver(_stepwise(method, job, fetched, mask_seed), job, out)
    first = fetched[0]
    if not first.is_floating_point():
        return _deliver(first.clone(), job, out)
    numbers = _numbers(method, job) if job.sources else Numbers((), {})
    device = first.device if out is None else out.device
    place = device if engine == "torch" else torch.device("cpu")
    target = _target(first.shape, job, out, place)
    with ExitStack() as stack:
        if pool is None and threads > 1 and engine == "kernel":
            pool = stack.enter_context(ThreadPoolExecutor(threads))
        chosen = _engine(engine, target, pool, _ranks(job, known))
        _evaluate(method, job, numbers, fetched, mask_seed, chosen, target)
    return _deliver(target, job, out)


def job_inputs(job: TensorJob, tensors: Tensors) -> tuple[Method, Numbers, list[torch.Tensor]]:
    """What a job is evaluated on: its method, its numbers, and its tensors, the base first.

    Raises:
        MergeError: as `merge_tensor`.
    """
    method = find_method(job.method)
    fetched = _fetch(method, job, tensors)
    return method, _numbers(method, job) if job.sources else Numbers((), {}), fetched


def _fetch(method: Method, job: TensorJob, tensors: Tensors) -> list[torch.Tensor]:
    """The base, where deltas are taken from it, and the sources, all of one shape."""
    if method.base == "required" and job.base is None:
        raise MergeError(f"{job.name}: {method.name} needs a base model; give base_model")
    alone = job.base is not None and not job.sources
    sources = [job.base] if job.base and (method.base_apart or alone) else []
    sources += job.sources
    if not sources:
        raise MergeError(f"{job.name}: nothing to merge; list a model that has this tensor")
    fetched = [tensors(source.model, source.name) for source in sources]
    for source, tensor in zip(sources, fetched, strict=True):
        if tensor.shape != fetched[0].shape:
            raise MergeError(
                f"{job.name}: {_described(source, tensor)}, {_described(sources[0], fetched[0])}; "
                "a merge needs equal shapes"
            )
    return fetched


def _described(source: TensorSource, tensor: torch.Tensor) -> str:
    return f"{source.model.path} has shape {list(tensor.shape)}"


def _stepwise(
    method: Method, job: TensorJob, fetched: list[torch.Tensor], mask_seed: int
) -> torch.Tensor:
    """The merged tensor in the job's dtype, each step rounded as mergekit rounds it."""
    for name in (job.dtype, job.stepwise):
        if fetched[0].is_floating_point() and name not in DTYPES:
            raise MergeError(f"{job.name}: cannot merge in dtype {name!r}")
    numbers = _numbers(method.loosened(), job)
    apart = method.base_apart and job.base is not None
    base, experts = (fetched[0], fetched[1:]) if apart else (None, fetched)
    steps = DTYPES.get(job.stepwise or "", torch.float32)
    merged = merge_job(job, numbers, base, experts, mask_seed, steps)
    return merged.to(DTYPES[job.dtype]) if merged.is_floating_point() else merged


def _numbers(method: Method, job: TensorJob) -> Numbers:
    """The numbers of the job, checked, with the table's defaults."""
    try:
        experts = tuple(method.complete("model", source.parameters) for source in job.sources)
        return Numbers(experts, method.complete("global", job.parameters))
    except MergeError as error:
        raise MergeError(f"{job.name}: {error}") from None


def _target(
    shape: torch.Size, job: TensorJob, out: torch.Tensor | None, place: torch.device
) -> torch.Tensor:
    """Where an engine writes: `out` if it can be filled as it is, else a tensor of its own."""
    if job.dtype not in DTYPES:
        raise MergeError(
            f"{job.name}: cannot merge in dtype {job.dtype!r}; known: {', '.join(DTYPES)}"
        )
    dtype = DTYPES[job.dtype]
    fits = out is not None and out.shape == shape and out.is_contiguous()
    if out is not None and fits and (out.dtype, out.device) == (dtype, place):
        return out.detach()
    return torch.empty(shape, dtype=dtype, device=place)


def _engine(
    name: Literal["kernel", "torch"],
    target: torch.Tensor,
    pool: Executor | None,
    ranks: "Ranks | None",
) -> Engine:
    """The engine asked for; torch for dtypes that the kernels do not write."""
    if name == "torch" or target.dtype == torch.float64:
        return Twin()
    from .kernels.cpu import Compiled  # numba is paid for where it is used

    return Compiled(pool, ranks)


def _ranks(job: TensorJob, known: Known | None) -> "Ranks | None":
    """Looks up an expert's ranks by the names of the two tensors that they come from."""
    base = job.base
    if known is None or base is None:
        return None

    def look_up(expert: int, make: "Callable[[], Array]") -> "Array":
        source = job.sources[expert]
        return known.ranks((base.model, base.name, source.model, source.name), make)

    return look_up


def _evaluate(
    method: Method,
    job: TensorJob,
    numbers: Numbers,
    fetched: list[torch.Tensor],
    mask_seed: int,
    engine: Engine,
    target: torch.Tensor,
) -> None:
    if target.numel() == 0:
        return
    if target.dim() == 0:  # engines take a number to have a dimension
        fetched, target = [tensor.reshape(1) for tensor in fetched], target.view(1)
    if not job.sources:
        target.copy_(fetched[0])
        return
    try:
        formula = method.merge(numbers)
    except MergeError as error:
        raise MergeError(f"{job.name}: {error}") from None
    apart = method.base_apart and job.base is not None
    base, experts = (fetched[0], fetched[1:]) if apart else (None, fetched)
    if isinstance(formula, WeightedMean):
        engine.weighted_mean(experts, formula, target)
    elif isinstance(formula, TaskVectors) and base is not None:
        keys = [
            mask_keys(mask_seed, job.name, position, target.numel())
            for position in range(len(experts))
        ]
        engine.task_vectors(base, experts, formula, keys, target)
    elif not isinstance(formula, TaskVectors):
        _other(job, base, experts, formula, engine, target)


def _other(
    job: TensorJob,
    base: torch.Tensor | None,
    experts: list[torch.Tensor],
    formula: OtherFormula,
    engine: Engine,
    target: torch.Tensor,
) -> None:
    try:
        engine.other(base, experts, formula, target)
    except MergeError as error:
        raise MergeError(f"{job.name}: {error}") from None


def _deliver(merged: torch.Tensor, job: TensorJob, out: torch.Tensor | None) -> torch.Tensor:
    """The merged tensor, or `out` with its values."""
    if out is None:
        return merged
    if out.shape != merged.shape:
        raise MergeError(
            f"{job.name}: the merged tensor has shape {list(merged.shape)}, "
            f"the place for it {list(out.shape)}"
        )
    if out.data_ptr() != merged.data_ptr():
        out.detach().copy_(merged)
    return out
