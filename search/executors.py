"""Executors: where candidates are built and scored; they know no trials, budgets or ledger.

`inline` is one in this process. A `Pool` lends executors whose work is done elsewhere, by worker
processes or Ray actors, to as many threads of the coordinator at once as it has workers.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from evaluation.task import ItemResult
from merging.checkpoint import Checkpoint
from merging.document import Document
from merging.plan import TensorJob, plan_recipe, recipe_hash
from merging.recipe import ModelReference, Recipe
from merging.recipe_reader import read_recipe
from merging.sloped import Slope


@dataclass(frozen=True, slots=True)
class Merge:
    """A recipe with every number resolved, ready to be built; `hash` names its weights."""

    recipe: Recipe
    jobs: tuple[TensorJob, ...]
    hash: str
    data: Mapping[str, Any] = field(default_factory=dict)
    """The recipe as plain data, from which another process makes the same merge."""


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


@dataclass(frozen=True, slots=True)
class Terms:
    """How an executor scores: `settings` is the hash of what `scoring` says, as plain JSON.

    `slow` is a sentence about what is done the slower way, and may be empty; `machine` names the
    hardware, which may change the last bits of a score.
    """

    settings: str
    scoring: Mapping[str, object]
    token_budget: int
    slow: str = ""
    machine: str = ""


class Executor(Protocol):
    """Builds candidates and scores them.

    `build` replaces the candidate built before. `score` scores the candidate built last on items
    of a task, by their indices, and raises NonFiniteError where it gives NaN or Inf. The same
    merge and indices give the same numbers.
    """

    @property
    def settings(self) -> str:
        """Hash of everything but recipe and items that can change a score.

        Changes when memory ran out and fewer tokens run at once.
        """
        ...

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


class Pool(Protocol):
    """Executors elsewhere: each is a worker, which one thread of the coordinator holds at a time.

    Whoever has lent one gives a block of work a lease: a worker that dies or is late is replaced,
    and the block is done again by another. CrashedError where a merge has cost several workers.
    """

    @property
    def workers(self) -> int:
        """How many can work at once; may change while a search runs."""
        ...

    def lend(self, wanted: str = "") -> AbstractContextManager[Executor]:
        """An executor for one thread; waits for one to be free.

        Rather the one that holds the merge of the hash `wanted`.
        """
        ...

    def refresh(self) -> None:
        """Takes in workers that can be had now, and lets go of those that are gone."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether all work was ended."""
        ...

    def stop(self) -> None:
        """Ends all work at once: whoever holds an executor is told StoppedError."""
        ...


@dataclass(frozen=True, slots=True)
class Planner:
    """Recipes to merges, of one study's models; `document` is its recipe, for messages."""

    document: Document
    checkpoints: Mapping[ModelReference, Checkpoint]

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """Reads, plans and hashes a recipe."""
        recipe, _ = read_recipe(self.document.with_data(data), strict=True)
        jobs = plan_recipe(recipe, self.checkpoints)
        hashes = {model: found.content_hash for model, found in self.checkpoints.items()}
        return Merge(recipe, jobs, recipe_hash(jobs, hashes, recipe.mask_seed), data)
