"""Gradients in a search whose losses and scores are known in closed form."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from evaluation.errors import NoGoldError
from evaluation.task import Item, ItemResult, Metric
from merging.errors import MergeError
from merging.plan import TensorJob, TensorSource
from merging.recipe import ModelReference
from merging.sloped import Slope
from search.coordinates import Coordinates
from search.errors import CrashedError
from search.executors import GoldItems, GoldSlopes, Merge
from search.gradient_plan import POINTS, GradientTerms
from search.gradients import REFINE_EVERY, REFINE_STEPS, Gradients
from search.ledger import Candidate, Ledger
from search.objectives import Budget
from search.scoring import Scorer
from search.shadow import Shadow
from search.stages import Stages
from search.warp import Warp
from search.winner import front

CALIBRATION, SEARCH = range(16), range(16, 28)
BEST = {"up": (0.8, 0.1), "down": (0.2, 0.9)}


@dataclass(frozen=True, slots=True)
class Task:
    """Forty items with one metric, their mean."""

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
        """The forty."""
        keys = [f"{self.name}{n}" for n in range(40)]
        return [Item(k, n, k, "all", (), f"p{n}", {}, k) for n, k in enumerate(keys)]


@dataclass(slots=True)
class Executor:
    """Both tasks are best at a point of their own; `swapped`: losses are those of the other."""

    swapped: bool = False
    settings: str = "toy"
    asked: list[tuple[str, bool]] = field(default_factory=list)
    scored: list[tuple[str, str, int]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    spoil: Callable[[], object] = lambda: None
    now: Any = None

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """One job, whose sources carry the weights."""
        weights = {one["model"]: one["parameters"]["weight"] for one in data["models"]}
        if data["merge_method"] == "linear":
            total = sum(weights.values())
            weights = {model: weight / total for model, weight in weights.items()}
        job = TensorJob(
            "t",
            data["merge_method"],
            None,
            tuple(TensorSource(ModelReference(m), "t", {"weight": w}) for m, w in weights.items()),
            {},
            None,
            "float32",
        )
        text = json.dumps([data["merge_method"], weights])
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        return Merge(cast(Any, weights), (job,), digest)

    def distance(self, merge: Merge, task: str) -> tuple[float, tuple[float, float]]:
        """The squared distance from a task's best point, and its slopes."""
        weights = cast(Mapping[str, float], merge.recipe)
        at = weights.get("math", 0.0), weights.get("code", 0.0)
        off = [a - b for a, b in zip(at, BEST[task], strict=True)]
        return sum(one * one for one in off), (2 * off[0], 2 * off[1])

    def build(self, merge: Merge) -> None:
        """Keeps what is to be scored."""
        self.now = merge

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """In closed form."""
        self.spoil()
        self.scored += [(self.now.hash, task, index) for index in indices]
        value, _ = self.distance(self.now, task)
        own = value if task == "down" else 1 - value
        return {f"{task}{index}": {"skill": (own,)} for index in indices}

    def gradient(
        self, merge: Merge, asked: Sequence[GoldItems], *, slopes: bool = True
    ) -> list[GoldSlopes]:
        """The distance itself is the loss."""
        self.spoil()
        self.asked.append((merge.hash, slopes))
        found = []
        for one in asked:
            self.seen.update(one.indices)
            other = {"up": "down", "down": "up"}[one.task]
            value, along = self.distance(merge, other if self.swapped else one.task)
            own = (Slope("t", along, 0.0),) if slopes else ()
            found.append(GoldSlopes(2 + value, own))
        return found


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Build:
    """Searches with gradients."""

    world: Any

    def search(self, ledger: Ledger, trials: int = 30, refine: bool = False, **own: Any) -> Any:
        """A search of so many trials; `own` goes to the executor."""
        executor = Executor(**own)
        tasks = {"up": Task("up", True), "down": Task("down", False)}
        split = {
            "calibration": CALIBRATION, "search": SEARCH, "select": range(28, 34),
            "test": range(34, 40),
        }  # fmt: skip
        splits = dict.fromkeys(tasks, split)
        search = self.world.search(ledger, executor=executor)
        search.observer.notes = []
        budget = Budget(trials, None, None)
        terms = GradientTerms(
            mode="refine" if refine else "on",
            weights=2,
            objectives=2,
            available=dict.fromkeys(tasks, len(CALIBRATION)),
            budget=budget,
            items_per_trial=2 * len(SEARCH) * 20,  # as if items were many: room for all steps
            references=len(search.references) - 1,
            starts=len(search.proposing.warm_starts),
        )
        gradients = Gradients(
            ledger=ledger,
            executor=executor,
            stages=Stages((Coordinates(self.world.space),)),
            tasks=tasks,
            splits=splits,
            objectives=search.objectives,
            references=search.references,
            warm_starts=search.proposing.warm_starts,
            terms=terms,
            seed=0,
            mask_seed=0,
            tell=search.observer.note,
        )
        scorer = Scorer(ledger, executor, tasks, splits)
        return replace(search, tasks=tasks, scorer=scorer, budget=budget, gradients=gradients)


@pytest.fixture
def build(world: Any) -> Build:
    return Build(world)


def told(ledger: Ledger) -> list[Candidate]:
    found = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    return [replace(one, propose_seconds=0, build_seconds=0, score_seconds=0) for one in found]


def from_gradients(trials: Sequence[Candidate]) -> list[Candidate]:
    return [one for one in trials if one.name.startswith("gradient") and "step" not in one.name]


def test_points_come_after_the_warm_starts_and_lie_on_the_front(build, ledger: Ledger) -> None:
    search = build.search(ledger)
    build.world.run(search)
    trials = ledger.candidates("trial")
    first = len(search.proposing.warm_starts)
    found = from_gradients(trials)
    assert [one.number for one in found] == list(range(first, first + len(found)))
    assert [one.name for one in found] == [f"gradient {n + 1}" for n in range(len(found))]
    assert len(found) >= 6
    # Between the two best points the first weight falls as the second rises: the front.
    for one in found:
        math, code = one.values["math.weight"], one.values["code.weight"]
        assert (math - 0.8) * 0.8 + (code - 0.1) * 0.6 == pytest.approx(0, abs=0.03)
    assert search.executor.seen <= set(CALIBRATION)
    assert {index for _, _, index in search.executor.scored} <= set(SEARCH)
    others = [one for one in trials if one not in found]
    assert all(one.items == 2 * len(SEARCH) for one in others)


def test_what_the_phase_costs_is_charged_to_its_first_trial(build, ledger: Ledger) -> None:
    search = build.search(ledger)
    build.world.run(search)
    losses = sum(not slopes for _, slopes in search.executor.asked)
    passes = sum(slopes for _, slopes in search.executor.asked)
    cost = 2 * len(CALIBRATION) * (losses + 3 * passes)
    first, *others = from_gradients(ledger.candidates("trial"))
    assert first.items == cost + 2 * len(SEARCH)
    assert {one.items for one in others} == {2 * len(SEARCH)}
    assert cost <= search.budget.trials * search.gradients.terms.items_per_trial // 4
    assert first.propose_seconds > 0


class Stopped(KeyboardInterrupt):
    """Ctrl-C in a test."""


@pytest.mark.parametrize("refine", [False, True])
def test_killed_anywhere_it_goes_on_with_the_same_points(build, tmp_path, refine: bool) -> None:
    calls = [0]

    def counted() -> None:
        calls[0] += 1

    with Ledger(f"sqlite:///{tmp_path / 'whole.db'}") as whole:
        search = build.search(whole, 22, refine, spoil=counted)
        build.world.run(search)
        expected, asked = told(whole), len(search.executor.asked)
    for stop in [9, 25, 40, calls[0] - 3]:
        url = f"sqlite:///{tmp_path / f'{stop}.db'}"
        seen, left = [], [stop]

        def spoil(left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Stopped

        with Ledger(url) as ledger, pytest.raises(Stopped):
            search = build.search(ledger, 22, refine, spoil=spoil)
            try:
                build.world.run(search)
            finally:
                seen += search.executor.asked
        with Ledger(url) as ledger:
            search = build.search(ledger, 22, refine)
            build.world.run(search)
            assert told(ledger) == expected
            seen += search.executor.asked
        assert len(seen) == asked


def test_gradients_that_mislead_are_dropped(build, ledger: Ledger, monkeypatch) -> None:
    monkeypatch.setitem(POINTS, 2, 14)
    search = build.search(ledger, 44, swapped=True)
    build.world.run(search)
    trials = ledger.candidates("trial")
    found = from_gradients(trials)
    offered = len(search.proposing.gradient_starts)
    first = len(search.proposing.warm_starts)
    # Six are scored at trial first + 6; the trial after knows of them.
    assert len(found) == 7 < offered
    assert [one.name for one in trials[first + 7 :]] == ["random"] * (44 - first - 7)
    assert [one for one in search.observer.notes if "dropped" in one] == [
        "what gradients predict does not rank candidates: their other points are dropped"
    ]


def test_ahead_or_not_the_same_trials_are_dropped(build, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(POINTS, 2, 14)
    with Ledger(f"sqlite:///{tmp_path / 'one.db'}") as ledger:
        search = build.search(ledger, 44, swapped=True)
        build.world.run(search)
        trials = ledger.candidates("trial")
        proposing, first = search.proposing, len(search.proposing.warm_starts)
        scores = {one.number: one.scores for one in trials}
        for number in range(first, len(trials)):
            # What proposal n is told is the same before and after trial n-1 is scored.
            told = {n: own for n, own in scores.items() if n < number - 1}
            shadow = Shadow(told, {}, (Warp(), Warp()))
            ahead = proposing.ahead(trials[:number], shadow, build.world.proposer())
            assert (ahead is None) == trials[number].name.startswith("gradient")
            again = proposing.next(trials[:number], ahead, shadow, build.world.proposer())
            assert (again.name, again.values) == (trials[number].name, trials[number].values)


def test_refinement_steps_from_the_front(build, ledger: Ledger) -> None:
    search = build.search(ledger, trials=44, refine=True)
    build.world.run(search)
    trials = ledger.candidates("trial")
    first = len(search.proposing.warm_starts) + len(search.proposing.gradient_starts)
    steps = [one for one in trials if one.name.startswith("gradient step")]
    due = range(first + REFINE_EVERY - 1, 44, REFINE_EVERY)
    assert steps and {one.number for one in steps} <= set(due)
    # A step that finds nothing new leaves its place, and its cost, to a proposal.
    least = 2 * len(SEARCH) + 3 * 2 * len(CALIBRATION)
    assert all(trials[number].items >= least for number in due)
    assert [one.number for one in trials[first:] if one.items >= least] == list(due)
    for one in steps:
        origin = int(one.name.rsplit(" ", 1)[1])
        known = trials[: one.number - 1]
        assert origin in [member.number for member in front(known, search.objectives)]
        # What it gives up of one objective it more than gains of the other.
        before, after = trials[origin].scores, one.scores
        assert after[0] >= before[0] - 1e-6 or after[1] <= before[1] + 1e-6
        assert one.items <= 2 * len(SEARCH) + REFINE_STEPS * 3 * 2 * len(CALIBRATION)
    plain = build.search(ledger, trials=44)
    scores = {one.number: one.scores for one in trials}
    shadow = Shadow(scores, {}, ())
    assert plain.gradients.refined(trials[: steps[0].number], shadow) is None


def test_refinement_ends_where_its_share_is_spent(build, ledger: Ledger) -> None:
    search = build.search(ledger, trials=44, refine=True)
    search.gradients.terms = replace(search.gradients.terms, items_per_trial=60)
    build.world.run(search)
    first = len(search.proposing.warm_starts) + len(search.proposing.gradient_starts)
    due = range(first + REFINE_EVERY - 1, 44, REFINE_EVERY)
    taken = [number for number in due if ledger.meta(f"gradient step {number}")]
    assert 0 < len(taken) < len(due)
    trials = ledger.candidates("trial")
    spent = sum(one.items - 2 * len(SEARCH) for one in trials)
    assert 0 < spent <= 44 * 60 // 4


def test_a_run_begun_without_gradients_goes_on_without(build, ledger: Ledger) -> None:
    plain = build.search(ledger, trials=20)
    build.world.run(replace(plain, gradients=None))
    search = build.search(ledger, trials=30)
    build.world.run(search)
    assert not from_gradients(ledger.candidates("trial"))
    assert not search.executor.asked


def test_the_points_of_a_run_stay_when_its_budget_grows(build, ledger: Ledger) -> None:
    build.world.run(build.search(ledger, trials=24))
    before = from_gradients(ledger.candidates("trial"))
    search = build.search(ledger, trials=60)
    build.world.run(search)
    assert from_gradients(ledger.candidates("trial")) == before
    assert not search.executor.asked


def test_why_there_are_none_is_told_once(build, ledger: Ledger, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NoGoldError("task 'up', item 3: no gold answer is known")

    monkeypatch.setattr(Executor, "gradient", refuse)
    search = build.search(ledger)
    assert build.world.run(search) == "trials"
    assert [one for one in search.observer.notes if "no starting points" in one] == [
        "no starting points from gradients: task 'up', item 3: no gold answer is known"
    ]
    again = build.search(ledger, trials=32)
    assert build.world.run(again) == "trials"
    assert not again.observer.notes


def test_a_point_that_costs_workers_ends_gradients_and_not_the_search(
    build, ledger: Ledger, monkeypatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise CrashedError("cost 2 workers, the last one was killed (out of memory?)")

    monkeypatch.setattr(Executor, "gradient", crash)
    search = build.search(ledger)
    assert build.world.run(search) == "trials"
    assert [one for one in search.observer.notes if "no starting points" in one] == [
        "no starting points from gradients: cost 2 workers, the last one was killed (out of "
        "memory?)"
    ]


def test_a_method_without_a_derivative_is_told(build, ledger, make_space, world) -> None:
    space = make_space(
        "  merge_method: slerp\n  base_model: base\n  models: [{model: math}]\n"
        "  parameters: {t: {range: [0.0, 1.0]}}\n"
    )
    from search.warm_start import warm_starts

    search = build.search(ledger)
    search.gradients.stages = Stages((Coordinates(space),))
    search.gradients.warm_starts = warm_starts(space)
    assert search.gradients.starts([]) == ()
    assert "slerp reads no weight" in search.observer.notes[0]


def test_recipes_that_cannot_be_planned_have_no_loss(build, ledger: Ledger, monkeypatch) -> None:
    prepare = Executor.prepare

    def picky(self: Executor, data: Mapping[str, Any]) -> Merge:
        if data["merge_method"] != "linear" and data["models"][0]["parameters"]["weight"] > 0.6:
            raise MergeError("too much math")
        return prepare(self, data)

    monkeypatch.setattr(Executor, "prepare", picky)
    search = build.search(ledger)
    starts = search.gradients.starts([])
    assert len(starts) >= 4
    assert all(one.values["math.weight"] <= 0.6 for one in starts if one.predicted[0] > -1e9)
