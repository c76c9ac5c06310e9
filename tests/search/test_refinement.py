"""When the space grows, and that everything learned goes along: a search in closed form."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from evaluation.task import ItemResult
from merging.document import Document
from search.coordinates import Coordinates
from search.executors import Merge
from search.ledger import Candidate, Ledger
from search.loop import Search
from search.objectives import Budget, Objective
from search.proposals import Finished, ProposalRequest, propose
from search.refinement import GAIN, REPEATED, Refinement
from search.samplers import SAMPLERS
from search.shadow import Shadow
from search.space_blocks import gradient
from search.stages import STAGE, Stages, stage_of, stages_from
from search.trials import Proposing
from search.warm_start import references, warm_starts
from search.warp import Warp

TEXT = """\
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0.0, 1.0], anchors: auto}}}
    - {model: code, parameters: {weight: {range: [0.0, 1.0], anchors: auto}}}
  dtype: float32
"""
FIRST = 3
"""Warm starts of the trials below."""


@pytest.fixture(scope="module")
def stages(recipe: Callable[..., Document]) -> Stages:
    """Of 2, 4, 6 and 10 dimensions; windows of 8, 8, 12 and 20 trials."""
    return stages_from(recipe(TEXT), layers=6)


def refinement(stages: Stages, trials: int | None = None, **changes: Any) -> Refinement:
    own = {"references": ((0.0,), (1.0,)), "higher_is_better": (True,), **changes}
    return Refinement(stages, ("random",) * len(stages.spaces), first=FIRST, trials=trials, **own)


def made(scores: Sequence[Any], stages: Sequence[int] = ()) -> list[Candidate]:
    """Ended trials, the first of them warm starts."""
    return [
        Candidate(
            "trial", number, "random", {}, f"h{number}", values={},
            state="failed" if score is None else "complete",
            scores=score if score is None or isinstance(score, tuple) else (score,),
            system_attrs={STAGE: stages[number]} if stages and stages[number] else {},
        )
        for number, score in enumerate(scores)
    ]  # fmt: skip


def stage_at(own: Refinement, trials: Sequence[Candidate]) -> int:
    """The stage of the next proposal, told of the trials but the last as they were scored."""
    told = [
        Finished(one.number, {}, one.scores, one.violations, one.system_attrs or {})
        for one in trials[:-1]
    ]
    return own.stage(trials, told)


def test_a_stage_lasts_as_long_as_its_window_holds_a_gain(stages: Stages) -> None:
    own = refinement(stages)
    assert [own.window(stage) for stage in range(4)] == [8, 8, 12, 20]
    warm = [0.5, 0.4, 0.6]
    assert stage_at(own, made([])) == stage_at(own, made(warm)) == 0
    flat = [*warm, *[0.55] * 7]
    assert (
        stage_at(own, made([*flat, 0.3])) == 0
    )  # seven ended without a gain, the eighth is pending
    assert stage_at(own, made([*flat, 0.3, 0.3])) == 1
    risen = [*warm, 0.6 * (1 + 2 * GAIN), *[0.55] * 7]
    assert stage_at(own, made([*risen, 0.3])) == 0  # in the window stands a gain
    assert stage_at(own, made([*risen, 0.3, 0.3])) == 1
    little = [*warm, 0.6 * (1 + GAIN / 2), *[0.55] * 8]
    assert stage_at(own, made(little)) == 1  # that one is none


def test_the_trial_under_way_says_its_stage_and_nothing_else(stages: Stages) -> None:
    own = refinement(stages)
    scores = [0.5, 0.4, 0.6, *[0.55] * 8, 0.9]
    assert stage_at(own, made(scores)) == 1
    assert (
        stage_at(own, made([*scores[:-1], 0.0])) == stage_at(own, made([*scores[:-1], None])) == 1
    )
    assert stage_at(own, made(scores, [0] * 11 + [1])) == 1  # it never falls


def test_a_window_counts_the_proposals_of_its_own_stage(stages: Stages) -> None:
    own, scores = refinement(stages), [0.6] * 20
    assert stage_at(own, made(scores, [0] * 12 + [1] * 8)) == 1  # seven ended in it, one under way
    assert stage_at(own, made([*scores, 0.6], [0] * 12 + [1] * 9)) == 2
    assert stage_at(own, made([0.6] * 60, [0] * 12 + [3] * 48)) == 3  # there is no finer one


def test_failed_and_infeasible_trials_are_no_gain(stages: Stages) -> None:
    own, warm = refinement(stages), [0.5, 0.4, 0.6]
    assert stage_at(own, made([*warm, *[None] * 8, 0.1])) == 1
    better = made([*warm, *[0.9] * 8, 0.1])
    assert stage_at(own, better) == 0
    wrong = [replace(one, violations=(0.1,)) if one.number >= 3 else one for one in better]
    assert stage_at(own, wrong) == 1


def test_of_several_objectives_the_front_counts(stages: Stages) -> None:
    """The best of each objective never rises; the first front does."""
    references = ((0.0, 1.0), (1.0, 0.0))
    own = refinement(stages, references=references, higher_is_better=(True, False))
    warm = [(0.2, 0.4), (0.6, 0.8), (0.3, 0.7)]
    worse = [(0.1, 0.9)] * 8
    assert stage_at(own, made([*warm, *worse, (0.1, 0.9)])) == 1
    between = [*warm, *worse[:6], (0.45, 0.55), *worse[:1], (0.1, 0.9)]
    assert stage_at(own, made(between)) == 0


def test_without_scored_references_the_trials_are_the_scale(stages: Stages) -> None:
    own = refinement(stages, references=())
    assert stage_at(own, made([0.5, 0.4, 0.6, *[0.55] * 9])) == 1
    assert stage_at(own, made([0.5, 0.4, 0.6, *[0.55] * 6, 0.7, 0.55, 0.1])) == 0
    assert stage_at(own, made([None] * 12)) == 1


def test_proposals_that_repeat_recipes_use_up_a_stage(stages: Stages) -> None:
    own = refinement(stages)
    trials = made([0.1 * number for number in range(FIRST + REPEATED + 1)])
    assert stage_at(own, trials) == 0
    again = [
        replace(one, recipe_hash="h1") if FIRST <= one.number < FIRST + REPEATED else one
        for one in trials
    ]
    assert stage_at(own, again) == 1
    assert stage_at(own, [*again[:-2], trials[-2], again[-1]]) == 0  # the last one was new
    unread = [replace(one, recipe_hash="", state="failed", scores=None) for one in trials]
    assert stage_at(own, unread) == 0  # what could not be read repeats nothing


def test_the_budget_is_shared_among_the_stages_that_it_can_pay(stages: Stages) -> None:
    never = float("inf")
    assert refinement(stages).deadlines() == (never,) * 4
    assert refinement(stages, 3 + 48).deadlines() == (3 + 8, 3 + 16, 3 + 28, never)  # windows
    assert refinement(stages, 3 + 48 + 22).deadlines() == (3 + 10, 3 + 22, 3 + 40, never)
    assert refinement(stages, 3 + 47).deadlines() == (3 + 11, 3 + 25, never, never)
    assert refinement(stages, 3 + 15).deadlines() == (never,) * 4
    assert refinement(stages, 2).deadlines() == (never,) * 4
    rising = [number / 100 for number in range(100)]
    own = refinement(stages, 3 + 70)
    assert stage_at(own, made(rising[:12])) == 0
    assert stage_at(own, made(rising[:13])) == 1
    assert stage_at(own, made(rising[:25], [0] * 13 + [1] * 12)) == 2


LAYERS = 6
TARGETS = {
    "math": [0.2 + 0.12 * layer for layer in range(LAYERS)],
    "code": [0.7 - 0.1 * layer for layer in range(LAYERS)],
}
"""The best weight at each layer: one number cannot say it, two anchors can."""


@dataclass(slots=True)
class LineExecutor:
    """In closed form: the skill falls with the squared distance of the weights from the targets.

    `stop`: so many blocks are scored, then the process is interrupted.
    """

    settings: str = "toy"
    stop: int = 10**9
    scored: list[tuple[str, int]] = field(default_factory=list)
    _now: Any = None

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """The effective weights stand for the recipe, as in the product's own hash."""
        found = {one["model"]: one["parameters"]["weight"] for one in data["models"]}
        along = {
            model: gradient(one, LAYERS) if isinstance(one, list) else [float(one)] * LAYERS
            for model, one in found.items()
        }
        digest = hashlib.blake2b(json.dumps(along).encode(), digest_size=8).hexdigest()
        return Merge(cast(Any, along), (), digest)

    def build(self, merge: Merge) -> None:
        """Keeps what is to be scored."""
        self._now = merge

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """The same for every item."""
        if self.stop == 0:
            raise KeyboardInterrupt
        self.stop -= 1
        along: Mapping[str, Sequence[float]] = cast(Any, self._now.recipe)
        self.scored += [(self._now.hash, index) for index in indices]
        pairs = [
            pair
            for model, target in TARGETS.items()
            for pair in zip(along.get(model, [0.0] * LAYERS), target, strict=True)
        ]
        skill = -sum((one - best) ** 2 for one, best in pairs) / len(pairs)
        return {f"{task}{index}": {"skill": (skill,)} for index in indices}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def line_search(
    world: Any, stages: Stages, ledger: Ledger, sampler: str, trials: int, executor: LineExecutor
) -> Search:
    """A search for the lines in the place of `world`'s own."""
    space = stages.spaces[0]
    starts = warm_starts(space)
    plan = Refinement(stages, (sampler,) * len(stages.spaces), (True,), len(starts), trials)
    objectives = (Objective("up", (("up", "skill"),), True),)
    proposing = Proposing(
        space=space, coordinates=Coordinates(space), warm_starts=starts, sampler=sampler, seed=3,
        mask_seed=0, objectives=objectives, trials=trials, refinement=plan,
    )  # fmt: skip
    own = world.search(ledger, executor=executor)
    return replace(
        own,
        proposing=proposing,
        references=references(space),
        objectives=objectives,
        budget=Budget(trials, None, None),
    )


def found_by(search: Search, world: Any) -> list[Candidate]:
    assert world.run(search) == "trials"
    return search.ledger.candidates("trial")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_goes_from_coarse_to_fine(
    world: Any, stages: Stages, ledger: Ledger, sampler: str
) -> None:
    executor = LineExecutor()
    search = line_search(world, stages, ledger, sampler, 26 if sampler == "gp" else 70, executor)
    trials = found_by(search, world)
    seen = [stage_of(one.system_attrs) for one in trials]
    assert seen == sorted(seen) and len(set(seen)) >= 2
    for one, stage in zip(trials, seen, strict=True):
        space = stages.spaces[stage]
        assert one.values is not None and space.contains(one.values)
        assert one.data == {**space.fill(one.values), "eutectic": {"mask_seed": 0}}
    plan = search.proposing.refinement
    assert plan is not None and plan.references
    again = [stage_at(plan, trials[:number]) for number in range(plan.first, len(trials))]
    assert again == seen[plan.first :]  # the ledger alone says it
    assert len(executor.scored) == len(set(executor.scored))  # nothing is scored twice
    best = [
        max(one.scores[0] for one in trials if one.scores and stage_of(one.system_attrs) == at)
        for at in (0, seen[-1])
    ]  # a race leaves some without scores
    assert best[1] > best[0]


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii"])
def test_killed_anywhere_and_gone_on_with_the_trials_are_the_same(
    world: Any, stages: Stages, tmp_path: Path, sampler: str
) -> None:
    def begin(name: str, executor: LineExecutor) -> list[Candidate]:
        with Ledger(f"sqlite:///{tmp_path / name}") as ledger:
            search = line_search(world, stages, ledger, sampler, 60, executor)
            trials = found_by(search, world)
        return [replace(one, propose_seconds=0, build_seconds=0, score_seconds=0)
                for one in trials]  # fmt: skip

    whole = begin("whole.db", LineExecutor())
    grown = next(one.number for one in whole if stage_of(one.system_attrs))
    for blocks in (3, grown, 3):  # the second in about the trial that begins a stage
        with pytest.raises(KeyboardInterrupt):
            begin("parts.db", LineExecutor(stop=blocks))
    assert begin("parts.db", LineExecutor()) == whole


def test_samplers_are_told_of_all_trials_and_of_coarse_generations_as_warm_starts(
    world: Any, stages: Stages, ledger: Ledger
) -> None:
    search = line_search(world, stages, ledger, "cmaes", 70, LineExecutor())
    trials = found_by(search, world)
    seen = [stage_of(one.system_attrs) for one in trials]
    first = seen.index(1)
    asked: list[ProposalRequest] = []

    class Kept:
        def submit(self, request: ProposalRequest) -> Any:
            asked.append(request)
            return world.proposer().submit(request)

    known = trials[: first + 1]
    scores = {one.number: one.scores for one in known[:-1]}
    shadow = Shadow(scores, {}, (Warp(),))
    search.proposing.ahead(known, shadow, cast(Any, Kept()))
    (request,) = asked
    assert request.coordinates == stages.coordinates[1] and request.stage == 1
    assert [one.number for one in (*request.finished, *request.pending)] == list(range(first + 1))
    assert all(stages.spaces[1].contains(one.values) for one in request.finished)
    bare = replace(
        request,
        finished=tuple(
            replace(one, system_attrs={} if one.number < first else one.system_attrs)
            for one in request.finished
        ),
    )
    assert any(one.system_attrs for one in request.finished[: first - 1])
    assert propose(request) == propose(bare)  # coarse generations are forgotten, trials are not


def test_trials_of_all_stages_lie_in_the_cube_of_the_finest(
    world: Any, stages: Stages, ledger: Ledger
) -> None:
    proposing = line_search(world, stages, ledger, "random", 10, LineExecutor()).proposing
    coarse = {"math.weight": 0.25, "code.weight": 0.5}
    trials = made([0.1, 0.2], [0, 2])
    points = [coarse, stages.lift(coarse, 0, 2)]
    places = [
        proposing.position(replace(one, values=values))
        for one, values in zip(trials, points, strict=True)
    ]
    assert [one.shape for one in places if one is not None] == [(10,), (10,)]
    assert places[0].tolist() == places[1].tolist()  # type: ignore[union-attr]


def test_one_seed_and_fixed_anchors_ask_as_before(world: Any, ledger: Ledger) -> None:
    proposing = world.search(ledger).proposing
    assert proposing.compared_with(made([(0.1, 0.2)])) is proposing
    trial = proposing.next([], None, None, world.proposer())
    assert trial.system_attrs is None and trial.name.startswith("warm start")
    known = [replace(one, values=trial.values) for one in made([(0.1, 0.2)] * 9)]
    shadow = Shadow({one.number: one.scores for one in known[:-1]}, {}, (Warp(), Warp()))
    assert proposing.next(known, None, shadow, world.proposer()).system_attrs == {}
