"""One replayed search: eutectic's own, or one as other tools do it, and what is true of it.

Everything is measured in item evaluations, references included. Imported by `bench_search.py`.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from bench_table import HIGHEST, SKILLS
from numpy.typing import NDArray
from replay import Array, Replay, ReplayTask, Table, draw_task

from merging.document import parse_document
from search.coordinates import Coordinates
from search.front import hypervolume, pareto_front
from search.ledger import Candidate, Ledger
from search.loop import Search
from search.objectives import Budget, Objective
from search.proposals import Proposal, ProposalRequest, propose
from search.samplers import choose_sampler
from search.scoring import Scorer
from search.space import Space, space_from
from search.trials import Proposing
from search.warm_start import references, warm_starts

SPLITS = ("search", "select", "test")
UP = (True, True, True)


@dataclass(frozen=True, slots=True)
class World:
    """A study over the table: its questions, its space, and the truth about recipes."""

    table: Table
    skills: Sequence[str]
    tasks: dict[str, ReplayTask]
    splits: dict[str, dict[str, range]]
    space: Space
    together: bool
    """Whether the mean of the skills is the one objective."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """One a skill, or their mean."""
        if self.together:
            parts = tuple((skill, "acc") for skill in self.skills)
            return (Objective("mean", parts, True),)
        return tuple(Objective(skill, ((skill, "acc"),), True) for skill in self.skills)

    @property
    def items(self) -> int:
        """Items of one candidate on the search split."""
        return sum(len(split["search"]) for split in self.splits.values())

    def truth(self, weights: Array) -> Array:
        """True objective values of a recipe of six weights."""
        found = self.table.truth(weights)[[SKILLS.index(skill) for skill in self.skills]]
        return found.mean(keepdims=True) if self.together else found


def make_world(
    table: Table,
    seed: int,
    counts: Sequence[int],
    *,
    anchors: int = 2,
    skills: Sequence[str] = SKILLS,
    together: bool = False,
    step: float | None = None,
) -> World:
    """A study whose questions are drawn anew; `counts` of search, select and test, a skill."""
    rng = np.random.default_rng(seed)
    tasks = {skill: draw_task(table, skill, sum(counts), rng) for skill in skills}
    ends = np.cumsum([0, *counts])
    split = {name: range(ends[n], ends[n + 1]) for n, name in enumerate(SPLITS)}
    form = f"range: [0.0, {HIGHEST}]" + (f", anchors: {anchors}" if anchors > 1 else "")
    form += f", step: {step}" if step else ""
    models = "".join(
        f"    - {{model: {skill}, parameters: {{weight: {{{form}}}}}}}\n" for skill in skills
    )
    text = f"recipe:\n  merge_method: task_arithmetic\n  base_model: base\n  models:\n{models}"
    space = space_from(parse_document(text, "replay.yaml").child("recipe"), layers=4)
    return World(table, skills, tasks, dict.fromkeys(skills, split), space, together)


class Here:
    """Proposes at once, in this process; `seconds` is what that took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def submit(self, request: ProposalRequest) -> "Future[Proposal]":
        """The proposal."""
        future: Future[Proposal] = Future()
        future.set_result(propose(request))
        self.seconds.append(future.result().seconds)
        return future


class _Silent:
    """Observer and Optuna log of a search that nobody watches."""

    def scoring(self, candidate: Candidate) -> None:
        """Nothing."""

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Nothing."""

    def ended(self, candidate: Candidate) -> None:
        """Nothing."""

    def add(self, trials: Sequence[Candidate]) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search had found when so many items were spent; `truth` of its front or best."""

    items: int
    truth: Array


def own_search(
    world: World,
    ledger: Ledger,
    *,
    seed: int,
    budget: Budget,
    sampler: str = "auto",
    racing: bool = True,
    warm: bool = True,
    **race: float,
) -> Search:
    """The search of eutectic over a replayed study."""
    executor = Replay(world.table, world.tasks)
    coordinates = Coordinates(world.space)
    trials = budget.trials or (budget.items or 0) // world.items
    chosen, _ = choose_sampler(
        sampler, objectives=len(world.objectives), coordinates=coordinates, trials=trials
    )
    proposing = Proposing(
        world.space,
        coordinates,
        warm_starts(world.space) if warm else (),
        chosen,
        seed,
        seed,
        world.objectives,
        budget.trials,
    )
    silent = cast(Any, _Silent())
    tasks = cast(Any, world.tasks)
    search = Search(
        ledger,
        cast(Any, executor),
        tasks,
        Scorer(ledger, cast(Any, executor), tasks, world.splits),
        proposing,
        references(world.space),
        world.objectives,
        (),
        budget,
        0,
        silent,
        silent,
        racing,
    )
    if race:
        search.contestants = replace(
            search.contestants, race=replace(search.contestants.race, **race)
        )
    return search


@contextlib.contextmanager
def fast_ledger() -> Iterator[Ledger]:
    """A ledger that lives in memory only as long as it is open."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        with Ledger(f"sqlite:///{folder}/study.db") as ledger:
            yield ledger


def weights_of(search: Search, candidate: Candidate) -> Array:
    """The six weights of a candidate."""
    return np.array(cast(Any, search.executor.prepare(candidate.data)).weights)


def histories(
    world: World, search: Search, at: Sequence[int], best: Callable[[Search], list[Candidate]]
) -> list[Found]:
    """Runs a search to each of several budgets of items in turn: what it would return there."""
    found = []
    for items in at:
        search.budget = Budget(None, items, None)
        search.run(cast(Any, Here()))
        chosen = best(search)
        truth = np.array([world.truth(weights_of(search, one)) for one in chosen])
        spent = sum(one.items for kind in ("reference", "trial")
                    for one in search.ledger.candidates(cast(Any, kind)))  # fmt: skip
        found.append(Found(spent, truth))
    return found


def own_front(search: Search) -> list[Candidate]:
    """The front of what was scored in full, references included, on the search split."""
    everyone = [*search.ledger.candidates("reference"), *search.ledger.candidates("trial")]
    done = [one for one in everyone if one.scores is not None]
    scores = [one.scores for one in done]
    return [
        done[place] for place in pareto_front(cast(Any, scores), [True] * len(scores[0] or ()))
    ]


def true_volume(world: World, truth: Array) -> float:
    """Hypervolume of true values, on the scale of the true references."""
    weights = [np.zeros(6)]
    for skill in world.skills:
        alone = np.zeros(6)
        alone[2 * SKILLS.index(skill) : 2 * SKILLS.index(skill) + 2] = 1.0
        weights.append(alone)
    reference = np.array([world.truth(one) for one in weights])
    return hypervolume(truth, [True] * truth.shape[1], reference)


@dataclass(slots=True)
class Rival:
    """A black box for other tools: unit cube to objective values on the first so many questions.

    `asked` are the points with their values, in order.
    """

    world: World
    per_task: int
    asked: list[tuple[Array, Array]]

    def __call__(self, point: NDArray[np.float64]) -> Array:
        """Objective values of a point, higher better."""
        world = self.world
        weights = np.clip(point, 0.0, 1.0) * HIGHEST
        right = world.table.right(weights)
        values = np.array([
            right[world.tasks[skill].drawn[: self.per_task]].mean() for skill in world.skills
        ])  # fmt: skip
        values = values.mean(keepdims=True) if world.together else values
        self.asked.append((weights, values))
        return values

    @property
    def cost(self) -> int:
        """Items of one evaluation."""
        return self.per_task * len(self.world.skills)

    def at(self, items: int) -> Found:
        """What is true of the front of the evaluations that so many items paid for."""
        asked = self.asked[: items // self.cost]
        values = np.array([value for _, value in asked])
        front = pareto_front(values, [True] * values.shape[1])
        truth = np.array([self.world.truth(asked[place][0]) for place in front])
        return Found(len(asked) * self.cost, truth)


def random_rival(rival: Rival, evaluations: int, seed: int) -> None:
    """Uniform points."""
    for point in np.random.default_rng(seed).random((evaluations, 6)):
        rival(point)


def nsga2_rival(rival: Rival, evaluations: int, seed: int, population: int = 24) -> None:
    """NSGA-II of pymoo with its defaults, as mergenetic runs it."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize

    class Problem(ElementwiseProblem):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(n_var=6, n_obj=len(rival.world.objectives), xl=0.0, xu=1.0)

        def _evaluate(self, x: Array, out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"] = -rival(x)

    minimize(Problem(), NSGA2(pop_size=population), ("n_eval", evaluations), seed=seed)


def cma_rival(rival: Rival, evaluations: int, seed: int) -> None:
    """CMA-ES of pycma on the weighted sum, as mergekit-evolve: start at 1/M, sigma 1/6."""
    import cma

    start = np.full(6, 1 / 3 / HIGHEST)
    strategy = cma.CMAEvolutionStrategy(start, 1 / 6, {"seed": seed + 1, "verbose": -9})
    while len(rival.asked) < evaluations:
        points = strategy.ask()
        strategy.tell(points, [-float(rival(np.asarray(one)).mean()) for one in points])


def optuna_rival(rival: Rival, evaluations: int, seed: int) -> None:
    """Optuna as it comes: TPE, from nothing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["maximize"] * len(rival.world.objectives),
        sampler=optuna.samplers.TPESampler(seed=seed),
    )

    def objective(trial: Any) -> list[float]:
        point = np.array([trial.suggest_float(f"x{n}", 0.0, 1.0) for n in range(6)])
        return [float(one) for one in rival(point)]

    study.optimize(objective, n_trials=evaluations)


RIVALS: dict[str, Callable[..., None]] = {
    "random": random_rival, "nsga2": nsga2_rival, "cma": cma_rival, "optuna": optuna_rival,
}  # fmt: skip
