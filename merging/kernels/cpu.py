"""The engine of compiled kernels: hands spans of a tensor to a pool of threads.

Spans, at most 32, are runs of chunks of 2^18 elements, and nothing that a span computes depends on
another, so the number of threads changes no bit. Sparse methods need a reading of the tensors
before the last one: for the norm that rescaling matches, for the magnitude that TIES cuts at, for
DELLA's ranks.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from ..methods.formula import OtherFormula, Sparsity, TaskVectors, WeightedMean
from . import compiled, delta, fused, masks, norms, others, rules
from .elements import LIKE
from .engine import Keys
from .jit import Array
from .numbers import BLOCK, band, factors, kept, rank_limits, rescaling, rows
from .operands import readable

CHUNK = 1 << 18
SPANS = 32
Result = TypeVar("Result")


class Ranks(Protocol):
    """Gives an expert's ranks, if they are known; else has them made."""

    def __call__(self, expert: int, make: Callable[[], Array], /) -> Array:
        """See the class."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """An `Engine` on the CPU; `out` is bfloat16, float16 or float32 there.

    pool: its threads run the kernels, the caller's own where it is None. ranks: see `Known`; None:
    they are made anew.
    """

    pool: Executor | None
    ranks: Ranks | None = None

    def weighted_mean(
        self, tensors: Sequence[torch.Tensor], formula: WeightedMean, out: torch.Tensor
    ) -> None:
        """See `Engine`."""
        inputs, target = _alike(tensors), _target(tensors, out)
        table, like = _table(inputs)
        weights = np.array(formula.weights, np.float32)
        divisor: Any = np.float32(1 if formula.divisor is None else formula.divisor)
        fixed = (target.data_ptr(), table, like, LIKE[target.dtype], weights, divisor)
        self._run(lambda start, stop: compiled.weighted_mean(*fixed, start, stop), out.numel())
        _deliver(target, out)

    def task_vectors(
        self,
        base: torch.Tensor,
        experts: Sequence[torch.Tensor],
        formula: TaskVectors,
        keys: Sequence[Keys],
        out: torch.Tensor,
    ) -> None:
        """See `Engine`."""
        inputs, target = _alike([base, *experts]), _target([base, *experts], out)
        table, like = _table(inputs)
        words, elements = np.array(keys, np.uint32), out.numel()
        deltas = [delta.Delta(table[0], one, like, elements) for one in table[1:]]
        sparse = self._sparse(deltas, formula.sparsities, tuple(base.shape))
        laws = [one.rule for one in sparse]
        table_ = np.array(laws, np.int64)
        numbers = factors(formula, self._rescalings(table, like, table_, words, formula, elements))
        likes = (like, LIKE[target.dtype])
        scale: Any = np.float32(formula.scale)
        options = (formula.elect, formula.normalize, scale)
        if len(laws) <= fused.MOST and len({law[0] for law in laws}) == 1:
            given = (target.data_ptr(), tuple(table.tolist()), *likes)
            pairs = (tuple(numbers[:, 0].tolist()), tuple(numbers[:, 1].tolist()))

            def work(start: int, stop: int) -> None:
                for first, last in rules.stretches(laws, start, stop):
                    held = tuple(map(rules.numbers_at, laws, words, itertools.repeat(first)))
                    fused.fused(*given, held, *pairs, *options, first, last)

        else:
            fixed = (target.data_ptr(), table, *likes, table_, words, numbers, *options)

            def work(start: int, stop: int) -> None:
                compiled.task_vectors(*fixed, start, stop)

        self._run(work, elements)
        _deliver(target, out)

    def other(
        self,
        base: torch.Tensor | None,
        experts: Sequence[torch.Tensor],
        formula: OtherFormula,
        out: torch.Tensor,
    ) -> None:
        """See `Engine`."""
        others.evaluate(base, experts, formula, out, self._run)

    def _sparse(
        self,
        deltas: Sequence[delta.Delta],
        sparsities: Sequence[Sparsity],
        shape: tuple[int, ...],
    ) -> list["_Sparse"]:
        """Turns rules into what the kernel reads, by looking at the deltas where it must."""
        pairs = list(zip(deltas, sparsities, strict=True))
        if any(sparsity.rule == "rank" for sparsity in sparsities):
            return [self._looked_at(*pair, index, shape) for index, pair in enumerate(pairs)]
        if self.pool is None or deltas[0].elements <= CHUNK:
            return [_Sparse(_plain(*pair)) for pair in pairs]
        return [_Sparse(rule) for rule in self.pool.map(_plain, deltas, sparsities)]

    def _looked_at(
        self, one: delta.Delta, sparsity: Sparsity, expert: int, shape: tuple[int, ...]
    ) -> "_Sparse":
        if sparsity.rule != "rank":
            return _Sparse(_plain(one, sparsity))

        def make() -> Array:
            return delta.ranks(one, *rows(shape), self._run)

        found = make() if self.ranks is None else self.ranks(expert, make)
        limits = rank_limits(sparsity, rows(shape)[0])
        return _Sparse(rules.ranked(*limits, found.ctypes.data), found)

    def _rescalings(
        self,
        table: Array,
        like: Any,
        rules_: Array,
        words: Array,
        formula: TaskVectors,
        elements: int,
    ) -> list[float]:
        """What each expert's masked delta is multiplied by for its norm's sake."""
        wanted = [one.rescale and one.rule != "all" for one in formula.sparsities]
        if not any(wanted):
            return [1.0] * len(wanted)
        blocks = np.empty((len(wanted), -(-elements // BLOCK), 2), np.float64)
        fixed = (table, like, rules_, words, blocks)
        self._run(lambda start, stop: norms.block_norms(*fixed, start, stop), elements)
        sums = np.empty((len(wanted), 2), np.float64)
        norms.totals(blocks, sums)
        pairs = zip(wanted, sums.tolist(), strict=True)
        return [rescaling(*pair) if asked else 1.0 for asked, pair in pairs]

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
    """A rule as the kernel reads it, and the ranks that must live as long."""

    rule: tuple[int, ...]
    ranks: Array | None = None


def _plain(one: delta.Delta, sparsity: Sparsity) -> tuple[int, ...]:
    """A rule that takes no ranks, as the kernel reads it."""
    if sparsity.rule == "random" and sparsity.density < 1:
        return rules.drawn(masks.threshold(sparsity.density))
    if sparsity.rule == "magnitude":
        return delta.cut(one, kept(sparsity, one.elements))
    if sparsity.rule == "band":
        return delta.band(one, *band(sparsity, one.elements))
    return rules.ALL


def _alike(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors as kernels read them, in one dtype: float32 if they differ."""
    inputs = [readable(tensor) for tensor in tensors]
    if len({tensor.dtype for tensor in inputs}) > 1:
        inputs = [tensor.to(torch.float32) for tensor in inputs]
    return inputs


def _target(tensors: Sequence[torch.Tensor], out: torch.Tensor) -> torch.Tensor:
    """Where a kernel writes: `out`, if it has the dtype of all inputs, or float32."""
    if out.dtype == torch.float32 or all(tensor.dtype == out.dtype for tensor in tensors):
        return out
    return torch.empty(out.shape, dtype=torch.float32)


def _deliver(target: torch.Tensor, out: torch.Tensor) -> None:
    if target is not out:
        out.copy_(target)


def _table(tensors: Sequence[torch.Tensor]) -> tuple[Array, Any]:
    """The addresses of tensors of one dtype: int64 [tensors]; and what tells the dtype."""
    return np.array([tensor.data_ptr() for tensor in tensors], np.int64), LIKE[tensors[0].dtype]
