"""The engine of compiled kernels: hands spans of a tensor to a pool of threads.

Spans, at most 32, are runs of chunks of 2^18 elements, and nothing that a span computes depends on
another, so the number of threads changes no bit. Sparse methods need a reading of the tensors
before the last one: for the norm that rescaling matches, for the magnitude that TIES cuts at, for
DELLA's ranks.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from ..methods.formula import OtherFormula, Sparsity, TaskVectors, WeightedMean
from . import compiled, masks, others, primitives
from .delta import Delta, cut, ends, rank_mask
from .engine import Keys
from .jit import Array
from .numbers import BLOCK, band, common_divisor, kept, limits, rescaling, rows

CHUNK = 1 << 18
SPANS = 32
CODES = {
    torch.float32: primitives.FLOAT32,
    torch.bfloat16: primitives.BFLOAT16,
    torch.float16: primitives.FLOAT16,
}
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Compiled:
    """An `Engine` on the CPU; `out` is bfloat16, float16 or float32 there.

    pool: its threads run the kernels, the caller's own where it is None.
    """

    pool: Executor | None

    def weighted_mean(
        self, tensors: Sequence[torch.Tensor], formula: WeightedMean, out: torch.Tensor
    ) -> None:
        """See `Engine`."""
        inputs = [_readable(tensor) for tensor in tensors]
        table = np.array([_entry(tensor) for tensor in inputs], np.int64)
        weights = np.array(formula.weights, np.float32)
        divisor: Any = np.float32(1 if formula.divisor is None else formula.divisor)
        target = np.array(_entry(out), np.int64)

        def work(start: int, stop: int) -> None:
            compiled.weighted_mean(target, table, weights, divisor, start, stop)

        self._run(work, out.numel())

    def task_vectors(
        self,
        base: torch.Tensor,
        experts: Sequence[torch.Tensor],
        formula: TaskVectors,
        keys: Sequence[Keys],
        out: torch.Tensor,
    ) -> None:
        """See `Engine`."""
        inputs = [_readable(tensor) for tensor in (base, *experts)]
        table = np.array([_entry(tensor) for tensor in inputs], np.int64)
        words, shape = np.array(keys, np.uint32), tuple(base.shape)
        sparse = [
            self._sparse(Delta(table[0], table[1 + e], words[e], shape), sparsity)
            for e, sparsity in enumerate(formula.sparsities)
        ]
        rules = np.array([one.rule for one in sparse], np.int64)
        factors = np.array([one.factor for one in sparse], np.float32)
        weights = np.array(formula.weights, np.float32)
        divisor: Any = np.float32(common_divisor(formula) or 0)
        numbers: Any = np.float32(formula.scale)
        target, pairs = np.array(_entry(out), np.int64), np.stack([factors, weights], 1)

        def work(start: int, stop: int) -> None:
            fixed = (target, table, rules, words, pairs)
            compiled.task_vectors(*fixed, formula.elect, divisor, numbers, start, stop)

        self._run(work, out.numel())

    def other(
        self,
        base: torch.Tensor | None,
        experts: Sequence[torch.Tensor],
        formula: OtherFormula,
        out: torch.Tensor,
    ) -> None:
        """See `Engine`."""
        others.evaluate(base, experts, formula, out, self._run)

    def _sparse(self, delta: Delta, sparsity: Sparsity) -> "_Sparse":
        """Turns a rule into what the kernel reads, by looking at the delta once or more."""
        mask = None
        if sparsity.rule == "all":
            return _Sparse((compiled.ALL, 0, 0, 0, 0), 1.0, None)
        if sparsity.rule == "random":
            rule = (compiled.RANDOM, masks.threshold(sparsity.density), 0, 0, 0)
        elif sparsity.rule == "magnitude":
            rule = (compiled.CUT, *cut(delta, kept(sparsity, delta.elements), self._run), 0, 0)
        elif sparsity.rule == "band":
            edges = band(sparsity, delta.elements)
            rule = (compiled.BAND, *ends(delta, *edges, self._run))
        else:
            width, inner = rows(delta.shape)
            mask = rank_mask(delta, width, inner, limits(sparsity, width), self._run)
            rule = (compiled.BYTES, mask.ctypes.data, 0, 0, 0)
        factor = self._factor(delta, np.array(rule, np.int64)) if sparsity.rescale else 1.0
        return _Sparse(rule, factor, mask)

    def _factor(self, delta: Delta, rule: Array) -> float:
        norms = np.empty((-(-delta.elements // BLOCK), 2), np.float64)

        def work(start: int, stop: int) -> None:
            compiled.norms(delta.base, delta.expert, rule, delta.keys, norms, start, stop)

        self._run(work, delta.elements)
        return rescaling(norms[:, 0].tolist(), norms[:, 1].tolist())

    def _run(
        self, work: Callable[[int, int], Result], elements: int, unit: int = CHUNK
    ) -> list[Result]:
        """The work on spans of whole units, in their order; a single span needs no thread."""
        units = -(-elements // unit)
        parts = min(SPANS, units)
        if self.pool is None or parts == 1:
            return [work(0, elements)]
        edges = [units * part // parts * unit for part in range(parts)] + [elements]
        return list(self.pool.map(work, edges, edges[1:]))


@dataclass(frozen=True, slots=True)
class _Sparse:
    """A rule as the kernel reads it (a kind and four numbers), and what must live."""

    rule: tuple[int, int, int, int, int]
    factor: float
    mask: Array | None


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as kernels can read it: on the CPU, contiguous, aligned, of a known dtype."""
    host = tensor.detach().cpu().contiguous()
    if host.dtype not in CODES:
        return host.to(torch.float32)
    return host.clone() if host.data_ptr() % host.element_size() else host


def _entry(tensor: torch.Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), CODES[tensor.dtype]
