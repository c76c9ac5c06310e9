"""Guesses: the best point of what is known, legal and new; a search with them, killed anywhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from evaluation.margins import margin_name
from evaluation.task import Metric
from search.coordinates import Coordinates
from search.guesses import Known, guess
from search.ledger import Candidate, Ledger, label
from search.loop import Search
from search.objectives import Budget, ConstraintSpec, MetricRef
from search.samplers import choose_sampler, takes_guesses
from search.space import Space
from search.trials import GUESS
from search.winner import WinnerRule
from tests.search.conftest import RECIPE, ToyTask, Watcher
from tests.search.test_racing import OBJECTIVES, CoinExecutor, _drawn, race, told

BASE = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def knowing(
    of: Callable[[float, float], tuple[float, ...]],
    tried: Sequence[tuple[float, float]],
    references: np.ndarray = BASE,
) -> Known:
    """What is known where values are a function of the weights of math and code."""
    points = [{"math.weight": math, "code.weight": code} for math, code in tried]

    def predicted(asked: Sequence[Mapping[str, Any]]) -> np.ndarray:
        return np.array([of(one["math.weight"], one["code.weight"]) for one in asked])

    up = [True] * references.shape[1]
    return Known(points, predicted(points), references, up, predicted)


def hill(math: float, code: float) -> tuple[float, ...]:
    return (1.0 - (math - 0.62) ** 2 - (code - 0.21) ** 2,)


def test_the_top_of_one_objective(make_space) -> None:
    known = knowing(hill, [(0.5, 0.5), (0.1, 0.9)], BASE[:, :1])
    found = guess(Coordinates(make_space(RECIPE)), known, known.values, seed=3)
    assert found is not None
    assert found["math.weight"] == pytest.approx(0.62, abs=0.02)
    assert found["code.weight"] == pytest.approx(0.21, abs=0.02)
    assert guess(Coordinates(make_space(RECIPE)), known, known.values, seed=3) == found


def test_lower_is_better_too(make_space) -> None:
    turned = knowing(lambda *at: (-hill(*at)[0],), [(0.5, 0.5)], -BASE[:, :1])
    turned = replace(turned, higher_is_better=[False])
    found = guess(Coordinates(make_space(RECIPE)), turned, turned.values, seed=3)
    assert found is not None and found["math.weight"] == pytest.approx(0.62, abs=0.02)


def test_none_where_nothing_is_a_gain(make_space) -> None:
    top = knowing(hill, [(0.62, 0.21)], BASE[:, :1])
    assert guess(Coordinates(make_space(RECIPE)), top, top.values, seed=3) is None
    blind = replace(top, predicted=lambda asked: np.full((len(asked), 1), np.nan))
    assert guess(Coordinates(make_space(RECIPE)), blind, top.values, seed=3) is None


def test_not_where_a_failed_trial_is_the_nearest(make_space) -> None:
    coordinates = Coordinates(make_space(RECIPE))
    known = knowing(lambda math, code: (math + code,), [(0.5, 0.5), (0.9, 0.3)], BASE[:, :1])
    first = guess(coordinates, known, known.values, seed=1)
    assert first == {"math.weight": 1.0, "code.weight": 1.0}
    second = guess(coordinates, replace(known, failed=[first]), known.values, seed=1)
    assert second is not None and 1.2 < second["math.weight"] + second["code.weight"] < 1.7


def test_a_merge_that_was_tried_is_not_tried_in_another_scale(make_space) -> None:
    text = RECIPE.replace("task_arithmetic", "linear").replace("  base_model: base\n", "")
    coordinates = Coordinates(make_space(text))

    def even(math: float, code: float) -> tuple[float]:
        return (1.0 - abs(math - code) / (math + code),)

    known = knowing(even, [(1.0, 1.0)], BASE[:, :1])
    known = replace(known, scores=known.scores - 0.5)
    found = guess(coordinates, known, known.values, seed=1)
    assert found is not None and abs(found["math.weight"] - found["code.weight"]) < 0.1
    assert coordinates.rounded(found) != coordinates.rounded(known.values[0])


def test_several_objectives_fill_the_gap_of_the_front(make_space) -> None:
    """A quarter circle, its ends and one more known: the largest box is between the far ones."""

    def circle(math: float, code: float) -> tuple[float, float]:
        reach = min(1.0, 1.2 - code)
        return reach * np.cos(math * np.pi / 2), reach * np.sin(math * np.pi / 2)

    known = knowing(circle, [(0.0, 0.1), (1.0, 0.1), (0.2, 0.1)])
    found = guess(Coordinates(make_space(RECIPE)), known, known.values, seed=5)
    assert found is not None
    assert 0.45 < found["math.weight"] < 0.85 and found["code.weight"] <= 0.21


def test_the_most_useful_by_the_winner_rule(make_space) -> None:
    """On a quarter circle the smaller of two coordinates is largest in the middle."""

    def circle(math: float, code: float) -> tuple[float, float]:
        reach = min(1.0, 1.2 - code)
        return reach * np.cos(math * np.pi / 2), reach * np.sin(math * np.pi / 2)

    known = knowing(circle, [(0.0, 0.1), (1.0, 0.1), (0.2, 0.1)])
    useful = replace(known, utility=lambda values: values.min(axis=1))
    found = guess(Coordinates(make_space(RECIPE)), useful, known.values, seed=5)
    assert found is not None
    assert found["math.weight"] == pytest.approx(0.5, abs=0.03) and found["code.weight"] <= 0.21


def test_steps_choices_and_what_was_tried_are_minded(make_space) -> None:
    text = RECIPE.replace(
        "weight: {range: [0.0, 1.0], start: 0.5}", "weight: {range: [0.0, 1.0], step: 0.25}"
    ).replace("weight: {range: [0.0, 1.0], start: 0.25}", "weight: {choice: [0.0, 0.2, 0.9]}")
    coordinates = Coordinates(make_space(text))
    known = knowing(hill, [(0.0, 0.9)], BASE[:, :1])
    first = guess(coordinates, known, known.values, seed=1)
    assert first == {"math.weight": 0.5, "code.weight": 0.2}
    second = guess(coordinates, known, [*known.values, first], seed=1)
    assert second == {"math.weight": 0.75, "code.weight": 0.2}


@dataclass(slots=True)
class MarginExecutor(CoinExecutor):
    """The coins with their margins: how far above the coin the chance is."""

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, Any]:
        """Smooth in the weights; a hard item is hard for all."""
        weights: Mapping[str, float] = cast(Any, self._now.recipe)
        self.spoil(weights, task, indices)
        self.scored += [(self._now.hash, task, index) for index in indices]
        math, code = weights.get("math", 0.0), weights.get("code", 0.0)
        skill = 0.9 - (math - 0.6) ** 2 if task == "up" else 0.4 + 0.4 * code - 0.2 * math
        found = {}
        for index in indices:
            margin = round(3 * (skill - _drawn(f"{task}{index}")), 6)
            found[f"{task}{index}"] = {
                "acc": (float(margin > 0),),
                margin_name("acc"): (margin,),
            }
        return found


def guessing(world: Any, ledger: Ledger, trials: int = 24, **changes: Any) -> Search:
    """A race of coins with margins, every second proposal a guess."""
    executor = MarginExecutor()
    search = race(world, ledger, trials, **changes)
    return replace(
        search,
        executor=executor,
        scorer=replace(search.scorer, executor=executor),
        proposing=replace(search.proposing, guesses=True),
        observer=Watcher(),
        rule=WinnerRule("maximin", {}, None),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    with Ledger(f"sqlite:///{tmp_path / 'study.db'}") as opened:
        yield opened


def guesses_of(trials: Sequence[Candidate]) -> list[Candidate]:
    return [one for one in trials if one.name == GUESS]


def test_a_search_with_guesses_knows_what_it_did_not_score(world, ledger: Ledger) -> None:
    search = guessing(world, ledger)
    world.run(search)
    trials = ledger.candidates("trial")
    mine = guesses_of(trials)
    assert len(mine) >= 4 and all(one.number >= 10 for one in mine)
    assert all(one.watermark == one.number - 2 for one in mine)
    labels = [label(one) for one in trials]
    for objective in OBJECTIVES:
        part = objective.parts[0]
        assert search.board._fitted(labels, part) is not None
        found = search.board.posterior(labels, objective)
        for one, estimate in zip(trials, found, strict=True):
            weights = {"math": one.values["math.weight"], "code": one.values["code.weight"]}
            search.executor._now = search.executor.prepare(one.data)
            whole = search.executor.score(part[0], range(150))
            true = np.mean([result["acc"][0] for result in whole.values()])
            assert abs(estimate.value - true) < 0.08, (weights, one.looks)


@pytest.mark.parametrize("share", [0.35, 0.8])
def test_killed_anywhere_it_guesses_the_same(world, tmp_path: Path, share: float) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'whole.db'}") as whole:
        search = guessing(world, whole, 18)
        world.run(search)
        expected, scored = told(whole), search.executor.scored
    assert guesses_of(expected)
    left = [int(share * len(scored))]

    def spoil(weights: object, task: str, indices: Sequence[int]) -> None:
        left[0] -= len(indices)
        if left[0] < 0:
            raise KeyboardInterrupt

    url = f"sqlite:///{tmp_path / 'parts.db'}"
    with Ledger(url) as parts:
        search = guessing(world, parts, 18)
        search.executor.spoil = spoil
        with pytest.raises(KeyboardInterrupt):
            world.run(search)
    with Ledger(url) as parts:
        world.run(guessing(world, parts, 18))
        assert told(parts) == expected


def test_with_constraints_nothing_is_guessed(world, ledger: Ledger) -> None:
    bound = ConstraintSpec(MetricRef("down"), None, 0.3, None)
    world.run(guessing(world, ledger, 16, constraints=(bound,)))
    assert not guesses_of(ledger.candidates("trial"))


def test_without_margins_it_guesses_by_estimates(world, ledger: Ledger) -> None:
    search = race(world, ledger, 20)
    search = replace(search, proposing=replace(search.proposing, guesses=True))
    world.run(search)
    assert guesses_of(ledger.candidates("trial"))


def test_a_task_of_which_one_margin_is_missing_has_none(world, ledger: Ledger) -> None:
    search = guessing(world, ledger, 12, budget=Budget(12, None, None))
    score = MarginExecutor.score

    class Broken(MarginExecutor):
        def score(self, task: str, indices: Sequence[int]) -> Mapping[str, Any]:
            found = dict(score(self, task, indices))
            if task == "up" and 3 in indices:
                found["up3"] = {"acc": found["up3"]["acc"]}
            return found

    executor = Broken()
    search = replace(search, executor=executor,
                     scorer=replace(search.scorer, executor=executor))  # fmt: skip
    world.run(search)
    labels = [label(one) for one in ledger.candidates("trial")]
    assert search.board._fitted(labels, ("up", "acc")) is None
    assert search.board._fitted(labels, ("down", "acc")) is not None


def test_a_metric_that_is_no_mean_of_items_has_no_margins(world, ledger: Ledger) -> None:
    class Highest(ToyTask):
        @property
        def metrics(self) -> dict[str, Metric]:
            return {"skill": Metric("skill", True, 1, lambda rows: float(rows.max()))}

    search = world.search(ledger, budget=Budget(20, None, None))
    tasks = {"up": Highest("up", True), "down": search.tasks["down"]}
    scorer = replace(search.scorer, tasks=tasks)
    proposing = replace(search.proposing, guesses=True, trials=20)
    search = replace(search, tasks=tasks, scorer=scorer, proposing=proposing)
    world.run(search)
    trials = [one for one in ledger.candidates("trial") if one.scores is not None]
    found = search.board.posterior([label(one) for one in trials], search.objectives[0])
    assert guesses_of(trials)
    for one, estimate in zip(trials, found, strict=True):
        assert estimate.value == pytest.approx(one.scores[0], abs=0.05)


def test_an_objective_on_which_all_are_equal_is_so_elsewhere(world, ledger: Ledger) -> None:
    search = guessing(world, ledger, 12)
    world.run(search)
    labels, part = [label(one) for one in ledger.candidates("trial")], ("up", "acc")
    rows = search.board._rows[part]
    search.board._rows[part] = {one: np.zeros_like(line) for one, line in rows.items()}
    search.board._margins[part] = {one: np.full_like(line, np.nan) for one, line in rows.items()}
    search.board._values[part] = dict.fromkeys(search.board._values[part], 0.0)
    search.board._changed()
    found = search.board.elsewhere(labels, OBJECTIVES[0], np.full((2, 2), 0.5))
    assert found is not None and found[0].tolist() == [0.0, 0.0]
    assert search.board.elsewhere(labels[:4], OBJECTIVES[0], np.full((2, 2), 0.5)) is None


def test_only_what_auto_chose_takes_turns(make_space: Callable[..., Space]) -> None:
    coordinates = Coordinates(make_space(RECIPE))
    for named, objectives, trials, expected in (
        ("auto", 2, 60, True),
        ("auto", 1, 60, True),
        ("tpe", 2, 60, False),
        ("auto", 1, 400, False),
        ("auto", 2, 2000, False),
    ):
        chosen, _ = choose_sampler(
            named, objectives=objectives, coordinates=coordinates, trials=trials
        )
        assert takes_guesses(named, chosen) is expected
