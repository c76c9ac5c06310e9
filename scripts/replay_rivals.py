"""How other tools search, on a replayed study: random points, NSGA-II, CMA-ES, Optuna's defaults.

Written with the libraries that the tools use and at their settings: pymoo as mergenetic, pycma as
mergekit-evolve. Imported by `bench_search.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from bench_table import HIGHEST
from numpy.typing import NDArray
from replay import Array
from replay_search import Found, World

from search.front import pareto_front


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
