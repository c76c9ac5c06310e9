"""One replayed search: eutectic's own, or one as other tools do it, and what is true of it.

Everything is measured in item evaluations, references included. Imported by `bench_search.py`.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from bench_table import HIGHEST, SKILLS
from replay import Array, Replay, ReplayTask, Table, draw_task

from merging.document import parse_document
from search.coordinates import Coordinates
from search.front import hypervolume, pareto_front
from search.ledger import Candidate, Ledger
from search.loop import Search
from search.objectives import Budget, Objective
from search.observer import Step
from search.proposals import Finished, Proposal, ProposalRequest, propose
from search.samplers import choose_sampler, takes_guesses
from search.scoring import Scorer
from search.space import Space, space_from
from search.trials import Proposing
from search.warm_start import references, warm_starts
from search.winner import WinnerRule

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


class Silent:
    """Observer and Optuna log of a search that nobody watches."""

    def phase(self, name: str, candidates: int = 0) -> None:
        """Nothing."""

    def step(self, step: Step) -> None:
        """Nothing."""

    def scoring(self, candidate: Candidate) -> None:
        """Nothing."""

    def resumed(self, trials: Sequence[Candidate]) -> None:
        """Nothing."""

    def ended(self, candidate: Candidate) -> None:
        """Nothing."""

    def add(self, trials: Sequence[Candidate], *, ended: bool = False) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search had found when so many items were spent; `truth` of its front or best."""

    items: int
    truth: Array
    seconds: float = 0.0
    """Of one proposal, on average."""


def own_search(
    world: World,
    ledger: Ledger,
    *,
    seed: int,
    budget: Budget,
    sampler: str = "auto",
    racing: bool = True,
    warm: bool = True,
    make: type[Replay] = Replay,
    **race: float,
) -> Search:
    """The search of eutectic over a replayed study."""
    executor = make(world.table, world.tasks)
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
        guesses=takes_guesses(sampler, chosen),
    )
    silent = cast(Any, Silent())
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
        rule=WinnerRule("maximin", {}, None),
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


def histories(world: World, search: Search, at: Sequence[int]) -> list[Found]:
    """Runs a search to each of several budgets of items in turn: what is true of its front."""
    found, here = [], Here()
    for items in at:
        search.budget = Budget(None, items, None)
        search.run(cast(Any, here))
        truth = np.array([world.truth(weights_of(search, one)) for one in own_front(search)])
        spent = sum(one.items for one in _everyone(search))
        found.append(Found(spent, truth, float(np.mean(here.seconds or [0.0]))))
    return found


def _everyone(search: Search) -> list[Candidate]:
    return [*search.ledger.candidates("reference"), *search.ledger.candidates("trial")]


def own_front(search: Search) -> list[Candidate]:
    """The front by what the search knows, references included; who was dropped is left out."""
    able = [one for one in _everyone(search) if one.state in ("complete", "paused")]
    values = np.array([one.standing for one in able])
    return [able[place] for place in pareto_front(values, [True] * values.shape[1])]


def lost_members(world: World, search: Search) -> tuple[float, float, float]:
    """Members of the true front of all trials that are not on the search's: shares of them.

    A member is there if it, or one that is within half a point of it in every objective, is
    nominated for `select`.

    Returns:
        Lost with racing; lost if the same trials were all scored in full; lost with racing
        though there in full: what racing is to blame for.
    """
    trials = list({one.recipe_hash: one for one in search.ledger.candidates("trial")}.values())
    truth = np.array([world.truth(weights_of(search, one)) for one in trials])
    up = [True] * truth.shape[1]
    everyone = [*search.ledger.candidates("reference"), *trials]
    full = np.array([_in_full(world, weights_of(search, one)) for one in everyone])
    sides = [own_front(search), [everyone[place] for place in pareto_front(full, up)]]
    raced, complete = (
        np.array([world.truth(weights_of(search, one)) for one in side]) for side in sides
    )
    members = [truth[place] for place in pareto_front(truth, up)]

    def there(front: Array, member: Array) -> bool:
        return bool((front >= member - 0.005).all(axis=1).any())

    lost = [not there(raced, one) for one in members]
    anyway = [not there(complete, one) for one in members]
    blamed = [one and not other for one, other in zip(lost, anyway, strict=True)]
    return float(np.mean(lost)), float(np.mean(anyway)), float(np.mean(blamed))


def _in_full(world: World, weights: Array) -> Array:
    """Objective values on all questions of the search split."""
    right = world.table.right(weights)
    values = np.array([
        right[world.tasks[skill].drawn[: len(world.splits[skill]["search"])]].mean()
        for skill in world.skills
    ])  # fmt: skip
    return values.mean(keepdims=True) if world.together else values


def grid_regret(world: World, search: Search) -> tuple[float, float]:
    """How far what a search chooses is behind the best of a grid: on its questions, and truly."""
    search.run(cast(Any, Here()))
    able = [
        one for one in search.ledger.candidates("trial") if one.state in ("complete", "paused")
    ]
    chosen = max(able, key=lambda one: (one.standing or (0.0,))[0])
    mine = weights_of(search, chosen)

    grid = world.table.weights
    best = max(float(_in_full(world, one)[0]) for one in grid)
    seen = best - float(_in_full(world, mine)[0])
    true = max(float(world.truth(one)[0]) for one in grid) - float(world.truth(mine)[0])
    return seen, true


def proposal_seconds(sampler: str, seed: int, objectives: int) -> float:
    """Of one proposal at 20 parameters, 200 trials, one thread."""
    models = "".join(
        f"    - {{model: m{n}, parameters: {{weight: {{range: [0.0, 1.0], anchors: 5}}}}}}\n"
        for n in range(4)
    )
    text = f"recipe:\n  merge_method: task_arithmetic\n  base_model: base\n  models:\n{models}"
    space = space_from(parse_document(text, "cost.yaml").child("recipe"), layers=24)
    coordinates = Coordinates(space)
    rng = np.random.default_rng(seed)
    names = [one.name for one in space.dimensions]
    told = []
    for number in range(200):
        values = dict(zip(names, np.round(rng.random(len(names)), 6).tolist(), strict=True))
        mean = float(np.mean(list(values.values())))
        scores = (0.5 + 0.2 * mean, 0.6 - 0.2 * mean**2, 0.4 + 0.1 * values[names[0]])
        told.append(Finished(number, values, scores[:objectives]))
    request = ProposalRequest(
        seed, 200, sampler, coordinates, UP[:objectives], tuple(told), trials=250
    )
    return propose(request).seconds


def true_volume(world: World, truth: Array) -> float:
    """Hypervolume of true values, on the scale of the true references."""
    weights = [np.zeros(6)]
    for skill in world.skills:
        alone = np.zeros(6)
        alone[2 * SKILLS.index(skill) : 2 * SKILLS.index(skill) + 2] = 1.0
        weights.append(alone)
    reference = np.array([world.truth(one) for one in weights])
    return hypervolume(truth, [True] * truth.shape[1], reference)
