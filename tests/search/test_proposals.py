"""Proposals: a pure function of seed, number and history; the same in another process."""

import logging
import math
import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from search.cma import draw_cma
from search.coordinates import Coordinates
from search.draws import Ask, Told, with_worst_for_failed
from search.front import hypervolume
from search.proposals import (
    Finished,
    Pending,
    Proposal,
    ProposalRequest,
    Proposer,
    propose,
    seed_of,
)
from search.samplers import SAMPLERS, population_size
from search.space import Space, Values
from search.warp import Warp

MakeSpace = Callable[..., Space]

NUMBERS = """
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1]}}}
    - {model: code, parameters: {weight: {range: [0, 1], step: 0.01}}}
  parameters: {normalize: false, lambda: {range: [0.1, 2], log: true}}
"""
CONDITIONAL = """
  merge_method: {choice: [ties, della, task_arithmetic]}
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1]}, density: {range: [0.1, 1]}}}
    - {model: code, parameters: {weight: {range: [0, 1]}, epsilon: {range: [0, 0.3]}}}
  parameters: {normalize: {choice: [true, false]}}
"""
SPACES = {name: NUMBERS for name in SAMPLERS} | {"tpe": CONDITIONAL, "random": CONDITIONAL}
OBJECTIVES = {name: 1 if name == "cmaes" else 2 for name in SAMPLERS}


def scores(values: Values, count: int) -> tuple[float, ...]:
    """Two objectives in [0, 1], higher is better, that want different weights."""
    math_weight, code_weight = (float(values[f"{name}.weight"]) for name in ("math", "code"))
    first = math.exp(-((math_weight - 0.7) ** 2) - (code_weight - 0.2) ** 2)
    return (first, math.exp(-((math_weight - 0.1) ** 2) - (code_weight - 0.6) ** 2))[:count]


def request_for(
    coordinates: Coordinates, sampler: str, number: int, history: tuple[Finished, ...]
) -> ProposalRequest:
    """The request that a search with one worker makes: all but the last trial ended."""
    pending = tuple(Pending(one.number, one.values, one.system_attrs) for one in history[-1:])
    return ProposalRequest(
        seed=7,
        number=number,
        sampler=sampler,
        coordinates=coordinates,
        higher_is_better=(True,) * OBJECTIVES[sampler],
        finished=history[:-1],
        pending=pending,
    )


def search(
    coordinates: Coordinates, sampler: str, trials: int, history: tuple[Finished, ...] = ()
) -> tuple[list[Proposal], tuple[Finished, ...]]:
    """Trials from where a history stands; every seventh trial fails."""
    proposals = []
    for number in range(len(history), trials):
        proposal = propose(request_for(coordinates, sampler, number, history))
        proposals.append(proposal)
        found = None if number % 7 == 6 else scores(proposal.values, OBJECTIVES[sampler])
        ended = Finished(number, proposal.values, found, (), proposal.system_attrs)
        history = (*history, ended)
    return proposals, history


def by_chance(coordinates: Coordinates, trials: int) -> tuple[Finished, ...]:
    """Trials drawn at random, scored on two objectives."""
    return search(coordinates, "random", trials)[1]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_was_interrupted_goes_on_with_the_same_trials(
    make_space: MakeSpace, sampler: str
) -> None:
    coordinates = Coordinates(make_space(SPACES[sampler]))
    trials = {"gp": 14, "nsgaii": 60, "nsgaiii": 60}.get(sampler, 30)
    proposals, history = search(coordinates, sampler, trials)
    for stop in (1, trials // 2, trials - 1):
        kept = pickle.loads(pickle.dumps(history[:stop]))
        again, _ = search(coordinates, sampler, min(stop + 2, trials), kept)
        assert again == proposals[stop : stop + 2]
    assert all(coordinates.space.contains(one.values) for one in proposals)
    assert len({tuple(one.values.items()) for one in proposals}) == trials
    tagged = sampler in ("cmaes", "nsgaii", "nsgaiii")
    assert [list(one.system_attrs) for one in proposals] == [
        [f"{sampler}:generation"] if tagged else []
    ] * trials
    if tagged:
        assert proposals[-1].system_attrs[f"{sampler}:generation"] >= 2


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "random"])
def test_samplers_learn(make_space: MakeSpace, sampler: str) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    trials = {"gp": 16, "cmaes": 60}.get(sampler, 100)
    volumes = []
    for name in (sampler, "random"):
        _, history = search(coordinates, name, trials)
        late = [one.scores[: OBJECTIVES[sampler]] for one in history if one.scores][10:]
        directions = [True] * OBJECTIVES[sampler]
        volumes.append(
            hypervolume(late, directions, np.array([[0.5, 0.5], [1, 1]])[:, : len(directions)])
        )
    assert volumes[0] > volumes[1]


def test_the_seed_the_number_and_the_attempt_count() -> None:
    seeds = {seed_of(seed, n, k) for seed in range(3) for n in range(50) for k in range(3)}
    assert len(seeds) == 450 and all(0 <= one < 2**32 for one in seeds)
    assert seed_of(0, 1, 0) == 3686109705  # part of "same seed, same trials": must not change


def test_another_process_proposes_the_same(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    history = by_chance(coordinates, 13)
    request = request_for(coordinates, "gp", 13, history)
    with Proposer() as proposer:
        futures = [proposer.submit(request), proposer.submit(replace(request, sampler="tpe"))]
        found = [future.result(timeout=120) for future in futures]
    assert found == [propose(request), propose(replace(request, sampler="tpe"))]
    assert found[0].seconds > 0


def test_threads_and_logging_are_left_as_they_were(
    make_space: MakeSpace, caplog: pytest.LogCaptureFixture
) -> None:
    import optuna

    coordinates = Coordinates(make_space(NUMBERS))
    before, level = torch.get_num_threads(), optuna.logging.get_verbosity()
    torch.set_num_threads(2)
    try:
        with caplog.at_level(logging.INFO):
            search(coordinates, "gp", 12)
        assert torch.get_num_threads() == 2
        assert optuna.logging.get_verbosity() == level
        assert not caplog.records
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_point_that_was_tried_is_drawn_again(make_space: MakeSpace, sampler: str) -> None:
    text = NUMBERS.replace("[0, 1]", "[0, 1], step: 0.5").replace("step: 0.01", "step: 1")
    text = text.replace("[0.1, 2], log: true", "[1, 2], step: 1").replace(
        ", step: 0.5, step: 1", ", step: 1"
    )
    coordinates = Coordinates(make_space(text))  # 3 x 2 x 2 points
    trials = 9 if sampler == "gp" else 12
    proposals, history = search(coordinates, sampler, trials)
    different = len({tuple(one.values.items()) for one in proposals})
    assert different >= trials - 2
    full, _ = search(coordinates, "random", 40)
    assert len(full) == 40  # where nothing is left, a point is tried again


def test_pending_trials_keep_proposals_apart(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    history = by_chance(coordinates, 14)
    request = request_for(coordinates, "gp", 14, history)
    first = propose(request)
    crowded = replace(request, pending=(*request.pending, Pending(14, first.values)))
    other = propose(crowded)
    gap = [abs(float(other.values[name]) - float(first.values[name])) for name in first.values]
    assert max(gap) > 0.01


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii"])
def test_constraints_are_kept_in_mind(make_space: MakeSpace, sampler: str) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    history: tuple[Finished, ...] = ()
    for number in range({"gp": 15, "nsgaii": 100}.get(sampler, 60)):
        request = request_for(coordinates, sampler, number, ())
        request = replace(request, finished=history, higher_is_better=(True,))
        proposal = propose(request)
        value = float(proposal.values["math.weight"])  # the higher the better, at most 0.4
        ended = Finished(number, proposal.values, (value,), (value - 0.4,), proposal.system_attrs)
        history = (*history, ended)
    late = history[10:] if sampler == "gp" else history[-20:]
    away = [abs(one.violations[0]) for one in late]
    assert sum(away) / len(away) < 0.2  # 0.26 by chance
    assert any(one.violations[0] <= 0 for one in late)


def test_a_failed_trial_counts_as_the_worst_for_a_model(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    point = coordinates.encode(coordinates.space.start) or {}
    told = (
        Told(0, point, (0.3, 9.0), (0.1,), {}, False),
        Told(1, point, None, (), {}, False),
        Told(2, point, (0.2, 5.0), (-1.0,), {}, False),
        Told(3, point, None, (), {}, True),
    )
    shown = with_worst_for_failed(Ask(coordinates, (True, False), told, 24)).told
    assert (shown[1].scores, shown[1].violations) == ((0.2, 9.0), (0.1,))
    assert [shown[index] for index in (0, 2, 3)] == [told[index] for index in (0, 2, 3)]


def test_a_score_that_is_no_number_is_a_failure(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    _, history = search(coordinates, "tpe", 13)
    broken = replace(history[0], scores=(math.nan, 1.0))
    failed = replace(history[0], scores=None)
    answers = [
        propose(request_for(coordinates, "tpe", 13, (one, *history[1:])))
        for one in (broken, failed)
    ]
    assert answers[0] == answers[1]


def test_warps_keep_the_order_and_stretch_the_ends() -> None:
    warp = Warp(worst=0.25, logit=True, margin=0.01)
    shown = [warp.show(value, True) for value in (0.0, 0.25, 0.5, 0.75, 0.97, 1.0)]
    assert shown[0] == shown[1] == pytest.approx(-math.log(3))
    assert shown[2] == 0 and shown == sorted(shown) and math.isfinite(shown[-1])
    assert shown[4] - shown[3] > shown[3] - shown[2]
    bits = Warp(worst=2.0)
    assert [bits.show(value, False) for value in (1.5, 2.0, 9.0)] == [1.5, 2.0, 2.0]


def test_warps_are_shown_to_the_model_only(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    history = by_chance(coordinates, 13)
    warps = (Warp(logit=True), Warp(worst=0.9))
    for sampler, same in (("tpe", True), ("gp", False)):
        request = request_for(coordinates, sampler, 13, history)
        assert (propose(request) == propose(replace(request, warps=warps))) is same


def test_cmaes_starts_where_the_trials_before_it_were_good(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    axes = coordinates.distributions()

    def told(number: int, at: float) -> Told:
        point = {"math.weight": at, "code.weight": round(at, 2), "lambda": 0.5}
        assert list(point) == list(axes)
        return Told(number, point, (-abs(at - 0.9),), (), {}, False)

    before = tuple(told(number, 0.1 * number) for number in range(11))
    first = [
        draw_cma(Ask(coordinates, (True,), before, 24), seed).coordinates for seed in range(40)
    ]
    blank = [draw_cma(Ask(coordinates, (True,), (), 24), seed).coordinates for seed in range(40)]

    def mean(points: list[dict[str, float]]) -> float:
        return sum(one["math.weight"] for one in points) / len(points)

    assert mean(first) > 0.8 > 0.6 > mean(blank) > 0.4  # type: ignore[arg-type]


def test_a_search_may_change_its_sampler(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    _, history = search(coordinates, "nsgaii", 3 * population_size(None))
    alone = tuple(replace(one, scores=one.scores and one.scores[:1]) for one in history)
    changed = propose(request_for(coordinates, "cmaes", len(alone), alone))
    assert changed.system_attrs == {"cmaes:generation": 0}
