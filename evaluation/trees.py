"""Inputs that begin alike, as trees: what they share is computed once.

An input is a path from the root. A tree is written down in preorder, each token with its depth
(its position for the model) and the end of its subtree, so that token i sees token j where
j <= i < ends[j]: its ancestors and nothing else. A beginning that many trees share (few-shot
examples, a description) becomes their stem: computed once for all of them, and seen by every
token.

What joins what is decided by cost, in tokens through the layers: attention between q tokens and k
others weighs q * k / ATTENTION of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .batches import Ints

ATTENTION = 4096
"""Keys at which a query costs as much as its token in the layers: six times the hidden size, and
here a constant, because a plan should not change with the model."""
SHORTEST_STEM = 16
"""Tokens; a shorter beginning is not worth a pass of its own."""
DEEPEST = 64
"""Nested beginnings that are looked into for a stem."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Some inputs without their stem.

    tokens, depths, ends (t,): in preorder; `trunk` leading tokens are seen by all after them;
    paths[k] are the places in `tokens` of the k-th input, whose number is rows[k].
    """

    tokens: Ints
    depths: Ints
    ends: Ints
    trunk: int
    rows: tuple[int, ...]
    paths: tuple[Ints, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Grove:
    """Trees that share a stem, which is empty where none pays."""

    stem: Ints
    trees: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs in lexicographic order.

    shared[k]: tokens that input k shares with the one before it; free[k]: tokens of input k before
    the first position that is asked for (a stem answers nothing).
    """

    tokens: Sequence[Ints]
    shared: Sequence[int]
    free: Sequence[int]


def make_inputs(tokens: Sequence[Ints], free: Sequence[int]) -> Inputs:
    """Inputs with what neighbours share."""
    shared = [0, *(common(one, two) for one, two in zip(tokens, tokens[1:], strict=False))]
    return Inputs(tokens, shared[: len(tokens)], free)


def common(one: Ints, two: Ints) -> int:
    """How many leading tokens are equal."""
    length = min(len(one), len(two))
    different = np.flatnonzero(one[:length] != two[:length])
    return int(different[0]) if len(different) else length


def grow(inputs: Inputs, budget: int, pass_cost: int) -> list[Grove]:
    """All inputs as groves, at least cost.

    Args:
        inputs: In order.
        budget: Tokens of a tree; a single longer input is a tree of its own.
        pass_cost: What one more pass costs, in tokens.
    """
    if not inputs.tokens:
        return []
    _, runs = _best_runs(inputs, 0, len(inputs.tokens), budget, pass_cost, DEEPEST)
    return [_grove(inputs, low, high, stem, budget) for low, high, stem in runs]


Run = tuple[int, int, int]
"""Inputs from, to, and the length of their stem."""


def _best_runs(
    inputs: Inputs, low: int, high: int, budget: int, pass_cost: int, levels: int
) -> tuple[float, list[Run]]:
    """The cheapest way to give inputs low..high stems: none, one for all, or each part its own."""
    best = (_cost(inputs, low, high, 0, budget), [(low, high, 0)])
    if high - low < 2 or not levels or max(inputs.shared[low + 1 : high]) < SHORTEST_STEM:
        return best
    meeting = min(inputs.shared[low + 1 : high])
    stem = min(meeting, *inputs.free[low:high])
    if stem >= SHORTEST_STEM:
        cost = stem + pass_cost + _cost(inputs, low, high, stem, budget)
        best = min(best, (cost, [(low, high, stem)]))
    cuts = [k for k in range(low + 1, high) if inputs.shared[k] == meeting]
    parts = [
        _best_runs(inputs, a, b, budget, pass_cost, levels - 1)
        for a, b in zip([low, *cuts], [*cuts, high], strict=True)
    ]
    return min(best, (sum(cost for cost, _ in parts), _joined(parts)))


def _joined(parts: Sequence[tuple[float, list[Run]]]) -> list[Run]:
    """The runs of all parts; neighbours without a stem are one run."""
    runs: list[Run] = []
    for low, high, stem in (run for _, found in parts for run in found):
        if runs and stem == runs[-1][2] == 0:
            runs[-1] = (runs[-1][0], high, 0)
        else:
            runs.append((low, high, stem))
    return runs


def _cost(inputs: Inputs, low: int, high: int, stem: int, budget: int) -> float:
    """What the trees of inputs low..high cost behind a stem."""
    return sum(cost for _, _, cost in _cut(inputs, low, high, stem, budget))


def _cut(
    inputs: Inputs, low: int, high: int, stem: int, budget: int
) -> Iterator[tuple[int, int, float]]:
    """Where neighbours join a tree: as long as that costs less than a tree of their own."""
    first, size, trunk, cost = low, 0, 0, 0.0
    for k in range(low, high):
        alone = len(inputs.tokens[k]) - stem
        own = _tree_cost(alone, alone, stem)
        keep = inputs.shared[k] - stem
        joined = size + alone - keep
        together = _tree_cost(joined, min(trunk, keep), stem)
        if k > first and 0 < keep and joined <= budget and together <= cost + own:
            size, trunk, cost = joined, min(trunk, keep), together
            continue
        if k > first:
            yield first, k, cost
        first, size, trunk, cost = k, alone, alone, own
    yield first, high, cost


def _tree_cost(size: int, trunk: int, stem: int) -> float:
    """Tokens, and attention: causal along the trunk, of everything to everything behind it."""
    behind = size - trunk
    return size + (trunk * trunk / 2 + behind * size + stem * size) / ATTENTION


def _grove(inputs: Inputs, low: int, high: int, stem: int, budget: int) -> Grove:
    trees = [_tree(inputs, a, b, stem) for a, b, _ in _cut(inputs, low, high, stem, budget)]
    return Grove(inputs.tokens[low][:stem], tuple(trees))


def _tree(inputs: Inputs, low: int, high: int, stem: int) -> Tree:
    """Inputs low..high as one tree."""
    pieces, depths, paths = [], [], []
    path = np.zeros(0, dtype=np.int64)
    size = 0
    ends: list[tuple[Ints, int]] = []
    for k in range(low, high):
        keep = max(inputs.shared[k] - stem, 0) if k > low else 0
        fresh = inputs.tokens[k][stem + keep :]
        ends.append((path[keep:], size))
        path = np.concatenate([path[:keep], np.arange(size, size + len(fresh))])
        pieces.append(fresh)
        depths.append(np.arange(stem + keep, stem + keep + len(fresh)))
        paths.append(path)
        size += len(fresh)
    found = np.full(size, size, dtype=np.int64)
    for left, end in ends:
        found[left] = end
    trunk = int(np.argmax(found < size)) if (found < size).any() else size
    return Tree(
        np.concatenate(pieces),
        np.concatenate(depths),
        found,
        trunk,
        tuple(range(low, high)),
        tuple(paths),
    )
