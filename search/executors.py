"""Executors: where candidates are built and scored; they know no trials, budgets or ledger.

One executor exists so far, inline: in this process, into one live model. Others (processes, Ray)
fill the same Protocol.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from evaluation.task import ItemResult
from merging.checkpoint import Checkpoint
from merging.document import Document
from merging.plan import TensorJob, plan_recipe, recipe_hash
from merging.recipe import ModelReference, Recipe
from merging.recipe_reader import read_recipe
from merging.sloped import Slope

if TYPE_CHECKING:
    import torch

    from evaluation.harness import Harness
    from merging.candidate import LiveModel
    from merging.layer_pool import LayerPool


@dataclass(frozen=True, slots=True)
class Merge:
    """A recipe with every number resolved, ready to be built; `hash` names its weights."""

    recipe: Recipe
    jobs: tuple[TensorJob, ...]
    hash: str


@dataclass(frozen=True, slots=True)
class GoldItems:
    """Items of a task whose gold answers' loss is asked for, as it stands in for a metric."""

    task: str
    metric: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GoldSlopes:
    """A loss, lower is better, and its derivative by the numbers of every merged tensor.

    `slopes` in the order of the merge's jobs; empty where only the loss was asked for.
    """

    loss: float
    slopes: tuple[Slope, ...] = ()


class Executor(Protocol):
    """Builds candidates and scores them.

    `build` replaces the candidate built before. `score` scores the candidate built last on items
    of a task, by their indices, and raises NonFiniteError where it gives NaN or Inf. The same
    merge and indices give the same numbers.
    """

    settings: str
    """Hash of everything but recipe and items that can change a score; changes when memory ran out
    and fewer tokens run at once."""

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """Resolves a recipe given as plain data; raises MergeError."""
        ...

    def build(self, merge: Merge) -> None:
        """Writes the candidate into the live model."""
        ...

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Item key to result."""
        ...

    def gradient(
        self, merge: Merge, asked: Sequence[GoldItems], *, slopes: bool = True
    ) -> Sequence[GoldSlopes]:
        """The losses of a merge, one for each of `asked`, with their derivatives.

        What `score` scores stays the candidate built last. Raises EvaluationError for items
        without a gold answer, UnsupportedError for a method without a derivative, NonFiniteError.
        """
        ...


class InlineExecutor:
    """Builds into one live model of this process and scores there.

    Where candidates differ in their layers, `pool` gives each the model that it would load as.
    """

    def __init__(
        self,
        document: Document,
        checkpoints: Mapping[ModelReference, Checkpoint],
        live: "LiveModel",
        harness: "Harness",
        settings: str,
        threads: int,
        pool: "LayerPool | None" = None,
    ) -> None:
        """`document` is the study's recipe, for the places in messages."""
        self.settings = settings
        self._document = document
        self._checkpoints = checkpoints
        self._live = live
        self.harness = harness
        self._threads = threads
        self._wanted: Merge | None = None
        self._held: Merge | None = None
        self._pool = pool

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """Reads, plans and hashes a recipe."""
        recipe, _ = read_recipe(self._document.with_data(data), strict=True)
        jobs = plan_recipe(recipe, self._checkpoints)
        hashes = {model: found.content_hash for model, found in self._checkpoints.items()}
        return Merge(recipe, jobs, recipe_hash(jobs, hashes, recipe.mask_seed))

    def build(self, merge: Merge) -> None:
        """Writes the merge into the live model, in place."""
        self._wanted = merge
        self._write(merge)

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Scores the live model."""
        if self._wanted is not None and self._held is not self._wanted:
            self._write(self._wanted)  # a gradient was taken of another candidate
        return self.harness.score(task, indices)

    def gradient(
        self, merge: Merge, asked: Sequence[GoldItems], *, slopes: bool = True
    ) -> Sequence[GoldSlopes]:
        """One backward pass a task, over the live model."""
        from merging.live_slopes import live_slopes

        live = self._write(merge)
        found = []
        for one in asked:
            if not slopes:
                loss = self.harness.gold_loss(one.task, one.metric, one.indices)
                found.append(GoldSlopes(loss.value))
                continue
            with self.harness.gold_gradient(one.task, one.metric, one.indices) as loss:
                seed = merge.recipe.mask_seed
                own = live_slopes(live, merge.jobs, self._tensor, seed, loss.of)
                found.append(GoldSlopes(loss.value, tuple(own)))
        return found

    def _write(self, merge: Merge) -> "LiveModel":
        from merging.candidate import build_candidate

        live = self._live if self._pool is None else self._pool.of(merge.jobs)
        self.harness.runner.hold(live.model)
        self._held = None  # a build that fails half way leaves neither candidate
        build_candidate(
            live, merge.jobs, self._tensor, merge.recipe.mask_seed, threads=self._threads
        )
        self._held = merge
        return live

    def _tensor(self, model: ModelReference, name: str) -> "torch.Tensor":
        return self._checkpoints[model].tensor(name)
