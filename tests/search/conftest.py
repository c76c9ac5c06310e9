"""Spaces from the text of a recipe, checkpoints small enough to plan merges of many layers.

And a search in closed form: a toy executor over two experts.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file

from evaluation.task import Item, ItemResult, Metric
from merging.checkpoint import Checkpoint
from merging.document import Document, parse_document
from merging.errors import MergeError
from merging.plan import TensorJob, plan_recipe
from merging.recipe import ModelReference
from merging.recipe_reader import read_recipe
from merging.sources import open_checkpoint
from search.coordinates import Coordinates
from search.executors import Merge
from search.ledger import Candidate, Ledger
from search.loop import Search
from search.objectives import Budget, Objective
from search.observer import Step
from search.proposals import Proposal, ProposalRequest, Proposer, propose
from search.scoring import Scorer
from search.space import Space, space_from
from search.trials import Proposing
from search.warm_start import references, warm_starts

MODELS = ("base", "math", "code", "prose")


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Document]:
    """`recipe(text)`: a recipe with ranges, from line 2 of `study.yaml`."""
    return lambda text: parse_document("recipe:\n" + text, "study.yaml").child("recipe")


@pytest.fixture(scope="session")
def make_space(recipe: Callable[..., Document]) -> Callable[..., Space]:
    """`make_space(text, layers=6)`: the search space of a recipe."""
    return lambda text, layers=6: space_from(recipe(text), layers=layers)


@pytest.fixture(scope="session")
def jobs_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[TensorJob, ...]]:
    """`jobs_of(data, layers)`: the plan of plain recipe data over models of that many layers."""
    opened: dict[int, dict[ModelReference, Checkpoint]] = {}

    def plan(data: Mapping[str, Any], layers: int) -> tuple[TensorJob, ...]:
        if layers not in opened:
            opened[layers] = write_models(tmp_path_factory.mktemp("models"), layers)
        document = Document("filled.yaml", data, {}, {})
        return plan_recipe(read_recipe(document, strict=True)[0], opened[layers])

    return plan


def write_models(root: Path, layers: int) -> dict[ModelReference, Checkpoint]:
    """Checkpoints of two matrices a layer, all of them zero."""
    names = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
    for layer in range(layers):
        names += [
            f"model.layers.{layer}.{part}.weight" for part in ("self_attn.q_proj", "mlp.up_proj")
        ]
    config = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "vocab_size": 2,
        "hidden_size": 2,
    }
    for model in MODELS:
        folder = root / model
        folder.mkdir()
        save_file({name: torch.zeros(2, 2) for name in names}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    references = [ModelReference(model) for model in MODELS]
    return {model: open_checkpoint(model, folder=root) for model in references}


RECIPE = """\
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0.0, 1.0], start: 0.5}}}
    - {model: code, parameters: {weight: {range: [0.0, 1.0], start: 0.25}}}
  dtype: float32
"""


@dataclass(frozen=True, slots=True)
class ToyTask:
    """Twelve items whose result is what the toy executor says; `metrics` has one mean."""

    name: str
    higher_is_better: bool

    @property
    def metrics(self) -> dict[str, Metric]:
        """One, the mean."""
        return {
            "skill": Metric("skill", self.higher_is_better, 1, lambda rows: float(rows.mean()))
        }

    @property
    def items(self) -> list[Item]:
        """The twelve."""
        return [
            Item(f"{self.name}{n}", n, f"g{n}", "all", (), f"p{n}", {"n": n}, f"{n}?")
            for n in range(12)
        ]

    def score(self, item: Item, responses: Sequence[object]) -> ItemResult:
        """The toy executor gives results without asking."""
        raise NotImplementedError


@dataclass(slots=True)
class ToyExecutor:
    """An executor in closed form: task `up` likes math, task `down` (lower is better) likes code.

    `spoil` is called with (weights, task, indices) before a block is scored, and may raise.
    """

    settings: str = "toy"
    built: list[str] = field(default_factory=list)
    scored: list[tuple[str, str, int]] = field(default_factory=list)
    """(recipe hash, task, index) of every item ever scored."""
    spoil: Callable[[Mapping[str, float], str, Sequence[int]], object] = lambda *_: None
    _now: Any = None

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """The weights of the models, in the place of a recipe; too large a sum is refused."""
        weights = {one["model"]: one["parameters"]["weight"] for one in data["models"]}
        total = sum(weights.values())
        if data["merge_method"] == "linear":
            weights = {model: weight / total for model, weight in weights.items()}
        elif total > 1.95:
            raise MergeError("too much of everything")
        text = json.dumps([data["merge_method"], weights])
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return Merge(cast(Any, weights), (), digest, data)

    def build(self, merge: Merge) -> None:
        """Keeps what is to be scored."""
        self.built.append(merge.hash)
        self._now = merge

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """In closed form, and a hundredth an item."""
        weights: Mapping[str, float] = cast(Any, self._now.recipe)
        self.spoil(weights, task, indices)
        self.scored += [(self._now.hash, task, index) for index in indices]
        math, code = weights.get("math", 0.0), weights.get("code", 0.0)
        skill = math - 0.2 * code if task == "up" else -code + 0.3 * math
        return {f"{task}{index}": {"skill": (skill + index / 100,)} for index in indices}


class Watcher:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.ends: list[Candidate] = []
        self.before: list[Candidate] = []
        self.notes: list[str] = []
        self.phases: list[tuple[str, int]] = []
        self.steps: list[Step] = []

    def phase(self, name: str, candidates: int = 0) -> None:
        """Keeps it."""
        self.phases.append((name, candidates))

    def step(self, step: Step) -> None:
        """Keeps it."""
        self.steps.append(step)

    def scoring(self, candidate: Candidate) -> None:
        """Nothing to keep."""

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Keeps them."""
        self.before.extend(trials)

    def ended(self, candidate: Candidate) -> None:
        """Keeps it."""
        self.ends.append(candidate)

    def note(self, text: str) -> None:
        """Keeps it."""
        self.notes.append(text)


class NoLog:
    """In the place of the Optuna study where that is not what is tested: it takes a second."""

    def add(self, trials: Sequence[Candidate], *, ended: bool = False) -> None:
        """Keeps nothing."""


class HereProposer:
    """Proposes at once, in this process."""

    def submit(self, request: ProposalRequest) -> "Future[Proposal]":
        """The proposal, made at once."""
        future: Future[Proposal] = Future()
        future.set_result(propose(request))
        return future


@dataclass(frozen=True, slots=True)
class World:
    """A search in closed form over a recipe of two experts."""

    space: Space

    def search(self, ledger: Ledger, **changes: Any) -> Search:
        """A search of six trials; `changes` to its fields, or `splits`, `sampler`, `seed`."""
        tasks = {"up": ToyTask("up", True), "down": ToyTask("down", False)}
        splits = {task: {"search": range(6), "select": range(6, 9), "test": range(9, 12)}
                  for task in tasks}  # fmt: skip
        executor = changes.pop("executor", None) or ToyExecutor()
        objectives = (
            Objective("up", (("up", "skill"),), True),
            Objective("down", (("down", "skill"),), False),
        )
        proposing = Proposing(
            space=self.space,
            coordinates=Coordinates(self.space),
            warm_starts=warm_starts(self.space),
            sampler=changes.pop("sampler", "random"),
            seed=changes.pop("seed", 0),
            mask_seed=0,
            objectives=objectives,
            trials=6,
        )
        scorer = Scorer(ledger, executor, tasks, changes.pop("splits", splits))
        search = Search(
            ledger=ledger,
            executor=executor,
            tasks=tasks,
            scorer=scorer,
            proposing=proposing,
            references=references(self.space),
            objectives=objectives,
            constraints=(),
            budget=Budget(6, None, None),
            reserved_items=0,
            log=cast(Any, NoLog()),
            observer=Watcher(),
        )
        return replace(search, **changes)

    def run(self, search: Search) -> str:
        """Searches, proposing in this process."""
        return search.run(self.proposer())

    def proposer(self) -> Proposer:
        """Proposes at once, in this process."""
        return cast(Proposer, HereProposer())


@pytest.fixture(scope="session")
def world(make_space: Callable[..., Space]) -> World:
    """A search in closed form."""
    return World(make_space(RECIPE))


def killed_often(make: Callable[[], Search], run: Callable[[Search], Any], after: int) -> Any:
    """Runs searches over one ledger, each killed before its block number `after`, until one ends.

    Returns what `run` gave, how often it was killed, and everything that was scored.
    """
    scored: list[Any] = []
    for stops in range(1000):
        again = make()
        executor = cast(ToyExecutor, again.executor)
        blocks: list[int] = []

        def stop(weights: object, task: str, indices: Sequence[int], blocks=blocks) -> None:
            blocks.append(1)
            if len(blocks) == after:
                raise KeyboardInterrupt

        executor.spoil = stop
        try:
            found = run(again)
        except KeyboardInterrupt:
            continue
        finally:
            scored += executor.scored
        return found, stops, scored
    raise AssertionError("it never ended")
