"""The engine of compiled kernels: hands spans of a tensor to a pool of threads.

Spans are fixed chunks of 2^18 elements, and nothing that a span computes depends on another, so
the number of threads changes no bit. Sparse methods need a reading of the tensors before the last
one: for the norm that rescaling matches, and for the magnitude that TIES cuts at.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from ..methods.formula import Sparsity, TaskVectors, WeightedMean
from . import compiled, masks, selection
from .engine import Keys
from .jit import Array
from .numbers import common_divisor, kept, limits, rescaling, rows

CHUNK = 1 << 18
CODES = {
    torch.float32: compiled.FLOAT32,
    torch.bfloat16: compiled.BFLOAT16,
    torch.float16: compiled.FLOAT16,
}
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Compiled:
    """An `Engine` on the CPU; `out` is bfloat16, float16 or float32 there."""

    pool: Executor

    def weighted_mean(
        self, tensors: Sequence[torch.Tensor], formula: WeightedMean, out: torch.Tensor
    ) -> None:
        """See `Engine`."""
        inputs = [_readable(tensor) for tensor in tensors]
        table = np.array([_entry(tensor) for tensor in inputs], np.int64)
        weights = np.array(formula.weights, np.float32)
        divisor: Any = np.float32(1 if formula.divisor is None else formula.divisor)
        target = np.array(_entry(out), np.int64)
        self._run(
            lambda start, stop: compiled.weighted_mean(
                target, table, weights, divisor, start, stop
            ),
            out.numel(),
        )

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
        sparse = [
            self._sparse(
                _Delta(table[0], entry, tuple(base.shape), np.array(key, np.uint32)), rule
            )
            for entry, rule, key in zip(table[1:], formula.sparsities, keys, strict=True)
        ]
        rules = np.array([one.rule for one in sparse], np.int64)
        factors = np.array(
            [(one.factor, weight) for one, weight in zip(sparse, formula.weights, strict=True)],
            np.float32,
        )
        divisor: Any = np.float32(common_divisor(formula) or 0)
        scale: Any = np.float32(formula.scale)
        target, words = np.array(_entry(out), np.int64), np.array(keys, np.uint32)
        self._run(
            lambda start, stop: compiled.task_vectors(
                target,
                table[0],
                table[1:],
                rules,
                words,
                factors,
                formula.elect,
                divisor,
                scale,
                start,
                stop,
            ),
            out.numel(),
        )

    def _sparse(self, delta: "_Delta", sparsity: Sparsity) -> "_Sparse":
        """Turns a rule into what the kernel reads, by looking at the delta once or more."""
        mask = None
        if sparsity.rule == "all":
            return _Sparse((compiled.ALL, 0, 0, 0), 1.0, None)
        if sparsity.rule == "random":
            rule = (compiled.RANDOM, masks.threshold(sparsity.density), 0, 0)
        elif sparsity.rule == "magnitude":
            rule = (compiled.CUT, *self._cut(delta, kept(sparsity, delta.elements)), 0)
        else:
            mask = self._rank_mask(delta, sparsity)
            rule = (compiled.BYTES, 0, 0, mask.ctypes.data)
        factor = self._factor(delta, np.array(rule, np.int64)) if sparsity.rescale else 1.0
        return _Sparse(rule, factor, mask)

    def _factor(self, delta: "_Delta", rule: Array) -> float:
        norms = np.empty((-(-delta.elements // compiled.BLOCK), 2), np.float64)
        self._run(
            lambda start, stop: compiled.norms(
                delta.base, delta.expert, rule, delta.keys, norms, start, stop
            ),
            delta.elements,
        )
        return rescaling(norms[:, 0].tolist(), norms[:, 1].tolist())

    def _cut(self, delta: "_Delta", count: int) -> tuple[int, int]:
        """The smallest magnitude that is kept, and the last element of that magnitude that is."""
        upper: Array = np.sum(self._words(delta, _upper_counts), axis=0)
        high, count = _reach(upper, count)
        lower: Array = np.sum(self._words(delta, lambda words: _lower_counts(words, high)), axis=0)
        low, wanted = _reach(lower, count)
        cut = high << selection.HALF | low
        if wanted == lower[low]:
            return cut, delta.elements - 1
        ties = np.cumsum(self._words(delta, lambda words: selection.count_equal(words, cut)))
        chunk = int(np.searchsorted(ties, wanted))
        before, start = int(ties[chunk - 1]) if chunk else 0, chunk * CHUNK
        words = delta.words(start, min(start + CHUNK, delta.elements))
        return cut, start + selection.find_equal(words, cut, wanted - before)

    def _rank_mask(self, delta: "_Delta", sparsity: Sparsity) -> Array:
        """Which elements the rank rule keeps: uint8 [elements]."""
        width, inner = rows(delta.shape)
        below, mask = limits(sparsity, width), np.empty(delta.elements, np.uint8)

        def fill(start: int, stop: int) -> None:
            words, bounds = delta.words(start, stop), np.empty(stop - start, np.uint32)
            selection.rank_limits(words, width, inner, below, bounds)
            compiled.mask(bounds, delta.keys, mask[start:stop], start, stop)

        slab = width * inner
        self._run(fill, delta.elements, max(1, CHUNK // slab) * slab)
        return mask

    def _words(self, delta: "_Delta", work: Callable[[Array], Result]) -> list[Result]:
        return self._run(lambda start, stop: work(delta.words(start, stop)), delta.elements)

    def _run(
        self, work: Callable[[int, int], Result], elements: int, chunk: int = CHUNK
    ) -> list[Result]:
        """The work on every span, in order of the spans; a single one needs no thread."""
        spans = [(start, min(start + chunk, elements)) for start in range(0, elements, chunk)]
        if len(spans) == 1:
            return [work(*spans[0])]
        return list(self.pool.map(lambda span: work(*span), spans))


@dataclass(frozen=True, slots=True)
class _Delta:
    """One expert's difference from the base, as kernels read it."""

    base: Array
    expert: Array
    shape: tuple[int, ...]
    keys: Array

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def words(self, start: int, stop: int) -> Array:
        """The bits of the magnitudes: uint32 [stop - start]."""
        words = np.empty(stop - start, np.uint32)
        compiled.magnitudes(self.base, self.expert, words, start, stop)
        return words


@dataclass(frozen=True, slots=True)
class _Sparse:
    """A rule as the kernel reads it (kind, number, index, address), and what must live."""

    rule: tuple[int, int, int, int]
    factor: float
    mask: Array | None


def _upper_counts(words: Array) -> Array:
    counts = np.zeros(1 << (31 - selection.HALF), np.int64)
    selection.count_upper(words, counts)
    return counts


def _lower_counts(words: Array, upper: int) -> Array:
    counts = np.zeros(1 << selection.HALF, np.int64)
    selection.count_lower(words, upper, counts)
    return counts


def _reach(counts: Array, wanted: int) -> tuple[int, int]:
    """The bin in which the wanted-th from the top lies, and how many of it are wanted."""
    reached = np.cumsum(counts[::-1])
    bin_ = int(np.searchsorted(reached, wanted))
    return len(counts) - 1 - bin_, wanted - int(reached[bin_] - counts[::-1][bin_])


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor as kernels can read it: on the CPU, contiguous, aligned, of a known dtype."""
    host = tensor.detach().cpu().contiguous()
    if host.dtype not in CODES:
        return host.to(torch.float32)
    return host.clone() if host.data_ptr() % host.element_size() else host


def _entry(tensor: torch.Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), CODES[tensor.dtype]
