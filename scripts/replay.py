"""Searches replayed from the table of `bench_table.py`: eutectic's own loop, no model.

`Replay` is an executor: it answers for a recipe what the family answered when the table was
built. Between the recipes of the table the log-likelihoods are interpolated (cubic radial basis
functions over the 40 nearest recipes, https://docs.scipy.org), so that there is something between
two points to be found; what is true of a recipe is its accuracy on all questions of the table. A
study's own questions are drawn from them with replacement, so that a replay can be wrong about the
truth as a real search can. Imported by `bench_search.py` and `bench_honesty.py` only.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bench_table import CHUNK, SKILLS, chunk_file, recipes
from numpy.typing import NDArray

from evaluation.margins import margin_name
from evaluation.resampling import RatioOfSums
from evaluation.task import Item, ItemResult, Metric, Request

Array = NDArray[np.float64]
NEIGHBOURS = 40


@dataclass(frozen=True, slots=True)
class Table:
    """Recipes, shape (recipes, 6), and what they answered, shape (recipes, questions, 4)."""

    weights: Array
    answers: NDArray[np.float32]
    gold: NDArray[np.int64]
    """The right choice of each question, questions of the three skills in turn."""
    strata: Sequence[str]

    @property
    def questions(self) -> int:
        """Of one skill."""
        return len(self.gold) // len(SKILLS)

    def right(self, weights: Array) -> NDArray[np.bool_]:
        """Which questions a recipe answers right, shape (questions of all skills,)."""
        return self.found(weights).argmax(axis=1) == self.gold

    def margins(self, weights: Array) -> Array:
        """How far the right choice is ahead of the best other, shape (questions,)."""
        found = self.found(weights).astype(np.float64)
        each = np.arange(len(found))
        mine = found[each, self.gold].copy()
        found[each, self.gold] = -np.inf
        return mine - found.max(axis=1)

    def found(self, weights: Array) -> Array:
        """Log-likelihoods of a recipe, shape (questions of all skills, 4)."""
        near = np.argsort(((self.weights - weights) ** 2).sum(axis=1), kind="stable")
        near = near[:NEIGHBOURS]
        if np.allclose(self.weights[near[0]], weights, atol=1e-6):
            return self.answers[near[0]]
        return interpolated(self.weights[near], self.answers[near], weights)

    def truth(self, weights: Array) -> Array:
        """Accuracy of each skill on all questions of the table."""
        right = self.right(weights).reshape(len(SKILLS), -1)
        return right.mean(axis=1)


def interpolated(points: Array, answers: NDArray[np.float32], at: Array) -> Array:
    """Answers between recipes, shape (questions, 4)."""
    from scipy.interpolate import RBFInterpolator

    flat = answers.reshape(len(points), -1).astype(np.float64)
    centre = points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points - centre, full_matrices=False)
    axes = axes[sizes > 1e-9]  # recipes of a grid lie in fewer dimensions than six
    inside = RBFInterpolator((points - centre) @ axes.T, flat, kernel="cubic")
    found: Array = inside(((at - centre) @ axes.T)[None])[0].reshape(-1, 4)
    return found


def load_table(folder: Path, sets: Sequence[str], questions: int) -> Table:
    """The sets of recipes that lie in a folder, on the first so many questions of each skill."""
    weights, answers = [], []
    for name in sets:
        rows = recipes(name)
        for chunk in range(-(-len(rows) // CHUNK)):
            file = chunk_file(folder, name, chunk, range(0, 300))
            if file.is_file():
                found = np.load(file)
                runs = [found]
                for first in range(300, questions, 300):
                    runs.append(
                        np.load(chunk_file(folder, name, chunk, range(first, first + 300)))
                    )
                weights.append(rows[CHUNK * chunk : CHUNK * (chunk + 1)])
                answers.append(_joined(runs))
    gold, strata = _gold(folder, questions)
    return Table(np.concatenate(weights), np.concatenate(answers), gold, strata)


def _joined(runs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Runs of questions of every skill, one behind the other."""
    parts = [run.reshape(len(run), len(SKILLS), -1, 4) for run in runs]
    return np.concatenate(parts, axis=2).reshape(len(runs[0]), -1, 4)


def _gold(folder: Path, questions: int) -> tuple[NDArray[np.int64], list[str]]:
    family = next(folder.glob("demo-*/tasks"))
    rows = []
    for skill in SKILLS:
        lines = (family / f"{skill}.jsonl").read_text(encoding="utf-8").splitlines()
        rows += [json.loads(line) for line in lines[:questions]]
    return np.array([row["answer"] for row in rows]), [str(row["symbols"]) for row in rows]


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """Questions drawn from one skill's; `drawn` are their places in the table."""

    name: str
    drawn: NDArray[np.int64]
    items: tuple[Item, ...]
    metrics: Mapping[str, Metric] = field(
        default_factory=lambda: {"acc": Metric("acc", True, 1, RatioOfSums())}
    )

    def score(self, item: Item, responses: Sequence[object]) -> ItemResult:
        """Answers come from the table."""
        raise NotImplementedError


def draw_task(table: Table, skill: str, count: int, rng: np.random.Generator) -> ReplayTask:
    """So many questions of a skill, drawn with replacement."""
    offset = SKILLS.index(skill) * table.questions
    drawn = offset + rng.integers(table.questions, size=count)
    asked = tuple(Request("loglikelihood", "", f"{choice}") for choice in range(4))
    items = tuple(
        Item(f"{skill}{n}", n, f"{skill}{n}", table.strata[place], asked, "", {}, f"{skill}{n}")
        for n, place in enumerate(drawn)
    )
    return ReplayTask(skill, drawn, items)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe in the place of a merge."""

    weights: tuple[float, ...]
    hash: str
    recipe: Any = None
    jobs: tuple[()] = ()


@dataclass(slots=True)
class Replay:
    """An executor over a table; `names` are the models whose weights are searched, in order."""

    table: Table
    tasks: Mapping[str, ReplayTask]
    settings: str = "replay"
    items: int = 0
    """Item evaluations so far, whoever asked."""
    _built: Recipe | None = None
    _margins: dict[str, Array] = field(default_factory=dict)

    def prepare(self, data: Mapping[str, Any]) -> Any:
        """The six weights of a recipe's three experts."""
        weights = [0.0] * 6
        models = {one["model"]: one.get("parameters", {}).get("weight", 1.0)
                  for one in data["models"]}  # fmt: skip
        if data["merge_method"] == "linear":
            total = sum(float(one) for one in models.values())
            models = {name: float(one) / total for name, one in models.items()}
        for name, weight in models.items():
            if name in SKILLS:
                both = weight if isinstance(weight, list) else [weight, weight]
                at = 2 * SKILLS.index(name)
                weights[at : at + 2] = [float(one) for one in both]
        text = json.dumps(weights)
        return Recipe(tuple(weights), hashlib.blake2b(text.encode(), digest_size=8).hexdigest())

    def build(self, merge: Any) -> None:
        """Looks the recipe up."""
        if merge.hash not in self._margins:
            self._margins[merge.hash] = self.table.margins(np.array(merge.weights))
        self._built = merge

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """What the recipe answers to the questions."""
        assert self._built is not None
        self.items += len(indices)
        chosen = self.tasks[task]
        margins = self._margins[self._built.hash][chosen.drawn[list(indices)]]
        return {
            chosen.items[index].key: {
                "acc": (float(one > 0),),
                margin_name("acc"): (float(f"{one:.6g}"),),
            }
            for index, one in zip(indices, margins, strict=True)
        }
