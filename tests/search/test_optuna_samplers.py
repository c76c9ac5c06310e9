"""Optuna's samplers by class name: their arguments, what they search, what is refused and why."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import optuna
import pytest
from scipy.stats import qmc

from search.coordinates import Coordinates
from search.errors import SamplerError, SamplerOptionError
from search.optuna_samplers import OPTUNA, UNSUITED
from search.proposals import Finished, Pending, Proposal, ProposalRequest, propose
from search.rehearsal import rehearse
from search.sampler_spec import SamplerSpec
from search.samplers import choose_sampler, sampler_of
from search.space import Space

MakeSpace = Callable[..., Space]

NUMBERS = """
  merge_method: task_arithmetic
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1]}}}
    - {model: code, parameters: {weight: {range: [0, 1], step: 0.01}}}
  parameters: {normalize: false, lambda: {range: [0.1, 2], log: true}}
"""
GRID = """
  merge_method: {choice: [ties, task_arithmetic]}
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1], step: 0.5}}}
    - {model: code, parameters: {weight: 0.5, density: {range: [0.1, 0.7], step: 0.3}}}
  parameters: {normalize: {choice: [true, false]}}
"""
ONE_OBJECTIVE = ("cmaes", "CmaEsSampler")
MANY: Mapping[str, dict[str, Any]] = {
    "TPESampler": {"n_ei_candidates": 48, "multivariate": True, "n_startup_trials": 4},
    "GPSampler": {"deterministic_objective": True, "n_startup_trials": 6},
    "CmaEsSampler": {"popsize": 5, "sigma0": 0.2, "lr_adapt": True},
    "NSGAIISampler": {"population_size": 8, "crossover": "BLXAlphaCrossover"},
    "NSGAIIISampler": {"population_size": 8, "reference_points": [[0, 1], [0.5, 0.5], [1, 0]]},
    "QMCSampler": {"qmc_type": "halton", "scramble": True},
    "RandomSampler": {},
    "BruteForceSampler": {"avoid_premature_stop": True},
}


def request_for(
    coordinates: Coordinates, spec: SamplerSpec, history: tuple[Finished, ...]
) -> ProposalRequest:
    objectives = 1 if spec.name in ONE_OBJECTIVE else 2
    last = tuple(Pending(one.number, one.values, one.system_attrs) for one in history[-1:])
    return ProposalRequest(
        3, len(history), spec, coordinates, (True,) * objectives, history[:-1], last
    )


def search(
    coordinates: Coordinates, spec: SamplerSpec, trials: int, history: tuple[Finished, ...] = ()
) -> tuple[list[Proposal], tuple[Finished, ...]]:
    """Two trials at random, as warm starts would be, then the sampler's; every seventh fails."""
    proposals = []
    for number in range(len(history), trials):
        chosen = SamplerSpec("random") if number < 2 else spec
        found = propose(replace(request_for(coordinates, spec, history), sampler=chosen))
        proposals.append(found)
        one, other = (float(found.values.get(f"{name}.weight", 0.5)) for name in ("math", "code"))
        values = (math.exp(-((one - 0.7) ** 2)), math.exp(-((other - 0.1) ** 2) - one))
        scores = None if number % 7 == 6 else values[: 1 if spec.name in ONE_OBJECTIVE else 2]
        history = (*history, Finished(number, found.values, scores, (), found.system_attrs))
    return proposals, history


def test_every_sampler_of_optuna_is_taken_or_refused_with_a_reason() -> None:
    samplers = {
        name
        for name in optuna.samplers.__all__
        if isinstance(getattr(optuna.samplers, name), type)
    }
    assert samplers == {*OPTUNA, *UNSUITED}
    assert set(MANY) == set(OPTUNA)


@pytest.mark.parametrize("plain", [True, False], ids=["bare", "with arguments"])
@pytest.mark.parametrize("name", OPTUNA)
def test_a_search_that_was_interrupted_goes_on_with_the_same_trials(
    make_space: MakeSpace, name: str, plain: bool
) -> None:
    spec = SamplerSpec(name, {} if plain else MANY[name])
    coordinates = Coordinates(make_space(GRID if name == "BruteForceSampler" else NUMBERS))
    trials = {"GPSampler": 13, "BruteForceSampler": 12}.get(name, 24)
    proposals, history = search(coordinates, spec, trials)
    for stop in (3, trials // 2, trials - 1):
        again, _ = search(coordinates, spec, min(stop + 2, trials), history[:stop])
        assert again == proposals[stop : stop + 2]
    assert all(coordinates.space.contains(one.values) for one in proposals)
    assert {one.sampler for one in proposals[2:]} == {name}
    if not plain and name in ("TPESampler", "CmaEsSampler", "NSGAIISampler", "QMCSampler"):
        others, _ = search(coordinates, SamplerSpec(name), trials)
        assert others != proposals  # the arguments count


def test_generations_come_back_under_optunas_own_name(make_space: MakeSpace) -> None:
    spec = SamplerSpec("NSGAIISampler", {"population_size": 4})
    proposals, _ = search(Coordinates(make_space(NUMBERS)), spec, 24)
    found = [one.system_attrs["NSGAIISampler:generation"] for one in proposals[2:]]
    assert found == sorted(found) and found[0] == 0 and found[-1] >= 3


def test_a_quasi_monte_carlo_search_is_one_sequence(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    proposals, _ = search(coordinates, SamplerSpec("QMCSampler"), 10)
    sequence = qmc.Sobol(3, scramble=False).random(8)
    first = [one.values["math.weight"] for one in proposals[2:]]
    names = list(coordinates.distributions())
    expected = [round(point[names.index("math.weight")], 6) for point in sequence.tolist()]
    assert first == expected


def test_brute_force_visits_every_point_once(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(GRID))
    proposals, _ = search(coordinates, SamplerSpec("BruteForceSampler"), 24)
    points = {tuple(one.values.items()) for one in proposals}
    assert len(points) == 3 * 3 * 2 + 3 * 2 == 24  # ties reads density, task arithmetic does not


def test_cmaes_by_its_class_name_is_ours(make_space: MakeSpace) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    ours, _ = search(coordinates, SamplerSpec("cmaes"), 20)
    named, _ = search(coordinates, SamplerSpec("CmaEsSampler"), 20)
    assert [one.values for one in ours] == [one.values for one in named]
    start = {"math.weight": 0.9, "code.weight": 0.1, "lambda": 1.0}
    near, _ = search(coordinates, SamplerSpec("CmaEsSampler", {"x0": start, "sigma0": 0.01}), 8)
    for one in near[2:]:
        assert all(abs(float(one.values[name]) - at) < 0.1 for name, at in start.items())


REFUSED = [
    ("TPESampler", {"n_ei_candidate": 4}, "did you mean 'n_ei_candidates'?"),
    ("TPESampler", {"n_ei_candidates": "4"}, "n_ei_candidates: expected int, got '4'"),
    ("TPESampler", {"multivariate": 1}, "multivariate: expected bool or None, got 1"),
    ("TPESampler", {"seed": 1}, "seed: the study's own `seed` seeds every draw"),
    ("TPESampler", {"gamma": "hyperopt"}, "gamma: a function, which a study file cannot hold"),
    ("GPSampler", {"constraints_func": "f"}, "the study's `constraints` are told to every"),
    ("GPSampler", {"independent_sampler": "x"}, "another sampler, which a study file cannot"),
    ("CmaEsSampler", {"use_separable_cma": True}, "the CMA-ES of eutectic"),
    ("CmaEsSampler", {"restart_strategy": "ipop"}, "Optuna itself ignores it since 4.4"),
    ("CmaEsSampler", {"popsize": 2}, "popsize: expected more than 3, got 2"),
    ("CmaEsSampler", {"x0": 3}, "x0: expected a value for every parameter, got 3"),
    ("NSGAIISampler", {"crossover": "UniformCrosover"}, "did you mean 'UniformCrossover'?"),
    ("NSGAIISampler", {"mutation": "None"}, "no mutation is named 'None'"),
    ("NSGAIIISampler", {"reference_points": "x"}, "reference_points: expected rows of numbers"),
    ("RandomSampler", {"spread": 1}, "no argument is named 'spread'; it takes none"),
    ("gp", {"n_startup_trials": 3}, "gp is set up by eutectic and takes no arguments"),
    ("auto", {"n": 3}, "auto is set up by eutectic and takes no arguments"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_arguments_that_a_study_cannot_give(
    make_space: MakeSpace, name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(SamplerOptionError) as caught:
        choose_sampler(
            SamplerSpec(name, options),
            objectives=1,
            coordinates=Coordinates(make_space(NUMBERS)),
            trials=9,
        )
    assert message in str(caught.value) and caught.value.option in options


@pytest.mark.parametrize(
    ("name", "text", "objectives", "message"),
    [
        ("CmaEsSampler", NUMBERS, 2, "CmaEsSampler takes one objective, the study has 2"),
        ("CmaEsSampler", GRID, 1, "CmaEsSampler needs the same dimensions in every trial"),
        ("GPSampler", GRID, 1, "GPSampler needs the same dimensions in every trial"),
        ("QMCSampler", GRID, 1, "QMCSampler needs the same dimensions in every trial"),
        ("BruteForceSampler", NUMBERS, 1, "a grid, and math.weight has no `step`"),
        ("GridSampler", NUMBERS, 1, "GridSampler cannot be used: its grid would stand beside"),
        ("PartialFixedSampler", NUMBERS, 1, "a value that is fixed stands in the recipe"),
        ("TPESample", NUMBERS, 1, "unknown sampler 'TPESample', did you mean 'TPESampler'?"),
    ],
)
def test_what_a_sampler_cannot_search_is_refused(
    make_space: MakeSpace, name: str, text: str, objectives: int, message: str
) -> None:
    with pytest.raises(SamplerError) as caught:
        choose_sampler(
            name, objectives=objectives, coordinates=Coordinates(make_space(text)), trials=9
        )
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("QMCSampler", {"qmc_type": "sobel"}, "sampler: QMCSampler raised ValueError: The `qmc_t"),
        ("NSGAIISampler", {"population_size": 1}, "NSGAIISampler raised ValueError: `population"),
        ("CmaEsSampler", {"x0": {"math.weight": 2.0}}, "x0: math.weight = 2.0 is outside its r"),
        ("CmaEsSampler", {"x0": {"math.weight": 1}}, "x0: expected a number for code.weight"),
    ],
)
def test_a_value_that_makes_no_sense_shows_when_it_is_rehearsed(
    make_space: MakeSpace, name: str, options: dict[str, object], message: str
) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    with pytest.raises(SamplerError) as caught:
        rehearse(SamplerSpec(name, options), coordinates, (True,), 1, 0, None)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", OPTUNA)
def test_rehearsed_it_goes_through(make_space: MakeSpace, name: str) -> None:
    coordinates = Coordinates(make_space(GRID if name == "BruteForceSampler" else NUMBERS))
    up = (True,) if name == "CmaEsSampler" else (True, False)
    rehearse(SamplerSpec(name), coordinates, up, 1, 0, 100)
    own = inspect.signature(sampler_of(SamplerSpec(name)).draw).parameters
    assert list(own)[:2] == ["ask", "seed"]
