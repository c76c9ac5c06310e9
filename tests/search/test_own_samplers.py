"""Samplers from a Python file: permitted by name, pure in (seed, n, trials), their faults told."""

import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.coordinates import Coordinates
from search.errors import SamplerError, SamplerOptionError
from search.own_samplers import own_sampler, with_code
from search.proposals import Finished, Pending, Proposal, ProposalRequest, Proposer, propose
from search.rehearsal import rehearse
from search.sampler_spec import FileCode, SamplerSpec
from search.samplers import choose_sampler
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
CONDITIONAL = """
  merge_method: {choice: [ties, della, task_arithmetic]}
  base_model: base
  models:
    - {model: math, parameters: {weight: {range: [0, 1]}, density: {range: [0.1, 1]}}}
    - {model: code, parameters: {weight: {range: [0, 1]}, epsilon: {range: [0, 0.3]}}}
  parameters: {normalize: {choice: [true, false]}}
"""
WALKER = '''
"""Steps from the best trial: weights together, all else by itself."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler


@dataclass
class Step:
    size: float


class Walker(BaseSampler):
    def __init__(self, seed: int, size: float = 0.1):
        self.rng, self.step = np.random.default_rng(seed), Step(size)
        self.other = RandomSampler(seed=seed)
        self.ended = []

    def infer_relative_search_space(self, study, trial):
        found = study.get_trials(deepcopy=False)[0].distributions
        return {name: one for name, one in found.items() if name.endswith(".weight")}

    def sample_relative(self, study, trial, space):
        storage = study._storage
        done = [t for t in study.get_trials(deepcopy=False) if t.values]
        best = max(done, key=lambda t: (t.values[0], -t.number))
        steps = best.system_attrs.get("walk:steps", [0])[0] + 1
        storage.set_trial_system_attr(trial._trial_id, "walk:steps", (steps, len(self.ended)))
        study.set_user_attr("asked", study.user_attrs.get("asked", 0) + 1)
        def near(name, one):
            value = best.params[name] + self.rng.normal(0, self.step.size)
            return round(min(max(value, one.low), one.high), 2)
        return {name: near(name, one) for name, one in space.items()}

    def sample_independent(self, study, trial, name, distribution):
        return self.other.sample_independent(study, trial, name, distribution)

    def after_trial(self, study, trial, state, values):
        self.ended.append(trial.number)


def shrinking(seed):
    return Walker(seed, size=0.01)
'''


def scores(proposal: Proposal) -> tuple[float, float]:
    math, code = (float(proposal.values[f"{name}.weight"]) for name in ("math", "code"))
    return (-((math - 0.7) ** 2) - (code - 0.2) ** 2, code)


def spec(folder: Path, source: str, target: str = "Walker", **options: object) -> SamplerSpec:
    """A sampler of a file that holds the source, permitted."""
    file = folder / "mine.py"
    file.write_text(source)
    return with_code(SamplerSpec(f"mine.py:{target}", options), folder, frozenset({file}))


def request_for(
    coordinates: Coordinates, sampler: SamplerSpec, history: tuple[Finished, ...]
) -> ProposalRequest:
    last = tuple(Pending(one.number, one.values, one.system_attrs) for one in history[-1:])
    return ProposalRequest(
        5, len(history), sampler, coordinates, (True, True), history[:-1], last, trials=40
    )


def searched(
    coordinates: Coordinates, sampler: SamplerSpec, trials: int, history: tuple[Finished, ...] = ()
) -> tuple[Finished, ...]:
    """Two trials at random, then those of the sampler; every seventh fails."""
    for number in range(len(history), trials):
        chosen = SamplerSpec("random") if number < 2 else sampler
        found = propose(request_for(coordinates, chosen, history))
        ended = None if number % 7 == 6 else scores(found)
        history = (*history, Finished(number, found.values, ended, (), found.system_attrs))
    return history


def through_json(history: tuple[Finished, ...]) -> tuple[Finished, ...]:
    """As a ledger gives trials back."""
    return tuple(
        replace(one, system_attrs=json.loads(json.dumps(dict(one.system_attrs))))
        for one in history
    )


def test_a_search_that_was_interrupted_goes_on_with_the_same_trials(
    make_space: MakeSpace, tmp_path: Path
) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    walker = spec(tmp_path, WALKER)
    whole = searched(coordinates, walker, 16)
    for stop in (1, 2, 3, 9, 15):
        kept = through_json(whole[:stop])
        assert searched(coordinates, walker, 16, kept) == whole
    best = max((one for one in whole if one.scores), key=lambda one: one.scores or ())
    assert best.scores is not None and best.scores[0] > -0.05  # it walks to where it is good


def test_what_it_sets_on_trials_and_study_comes_back_and_ended_trials_are_told(
    make_space: MakeSpace, tmp_path: Path
) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    whole = searched(coordinates, spec(tmp_path, WALKER), 20)
    kept = [dict(one.system_attrs) for one in whole[2:]]
    assert all(set(one) == {"mine.py:Walker:system_attrs", "mine.py:Walker:study_user_attrs"}
               for one in kept)  # fmt: skip
    steps = [one["mine.py:Walker:system_attrs"]["walk:steps"] for one in kept]
    assert [ended for _, ended in steps] == list(range(1, 19))  # all but the one under way
    assert max(step for step, _ in steps) > 1
    asked = [one["mine.py:Walker:study_user_attrs"]["asked"] for one in kept]
    assert asked[0] == 1 and asked == sorted(set(asked))


def test_another_process_proposes_the_same(make_space: MakeSpace, tmp_path: Path) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    walker = spec(tmp_path, WALKER, size=0.2)
    history = searched(coordinates, walker, 5)
    request = request_for(coordinates, walker, history)
    (tmp_path / "mine.py").write_text("raise SystemExit(1)")  # what was read is what runs
    with Proposer() as proposer:
        assert proposer.submit(request).result(timeout=120) == propose(request)


def test_arguments_and_factories(make_space: MakeSpace, tmp_path: Path) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    history = searched(coordinates, spec(tmp_path, WALKER), 6)

    def point(sampler: SamplerSpec) -> object:
        return propose(request_for(coordinates, sampler, history)).values

    plain, wide = point(spec(tmp_path, WALKER)), point(spec(tmp_path, WALKER, size=0.5))
    made = point(spec(tmp_path, WALKER, "shrinking"))
    assert plain != wide and made == point(spec(tmp_path, WALKER, size=0.01))
    for options, message in (
        ({"sise": 1}, "no argument is named 'sise', did you mean 'size'?"),
        ({"size": "far"}, "size: expected float, got 'far'"),
        ({"seed": 3}, "seed: the study's own `seed` seeds every draw"),
    ):
        with pytest.raises(SamplerOptionError) as caught:
            own_sampler(spec(tmp_path, WALKER, **options))
        assert str(caught.value).startswith(message) and caught.value.option in options


@pytest.mark.parametrize("text", [NUMBERS, CONDITIONAL])
def test_spaces_of_every_kind(make_space: MakeSpace, tmp_path: Path, text: str) -> None:
    coordinates = Coordinates(make_space(text))
    walker = spec(tmp_path, WALKER)
    rehearse(walker, coordinates, (True, False), 2, 0, 100)
    chosen, reason = choose_sampler(walker, objectives=2, coordinates=coordinates, trials=9)
    assert chosen is walker and reason == "named in the study"
    history = searched(coordinates, walker, 12)
    assert all(coordinates.space.contains(one.values) for one in history)


GLOBALS = """
import random, sys
import numpy as np
from optuna.samplers import RandomSampler

drawn = []

class Walker(RandomSampler):
    def __init__(self):
        print("hello")
    def sample_independent(self, study, trial, name, distribution):
        drawn.append(name)
        share = (random.random() + np.random.rand() + len(drawn)) % 1
        return distribution.low + share * (distribution.high - distribution.low)
"""


def test_globals_of_the_file_and_global_generators_are_as_new_for_every_proposal(
    make_space: MakeSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    walker = spec(tmp_path, GLOBALS)
    history = searched(coordinates, walker, 4)
    request = request_for(coordinates, walker, history)
    states = random.getstate(), np.random.get_state()[1].tolist()
    first = propose(request)
    assert coordinates.space.contains(first.values)  # it knows nothing of steps
    np.random.rand(3)
    random.random()
    assert propose(request) == first
    rehearse(walker, coordinates, (True,), 0, 0, None)
    random.setstate(states[0])
    propose(request)
    assert random.getstate() == states[0]
    told = capsys.readouterr()
    assert "hello" in told.err and told.out == ""  # standard output is for --json


def method(body: str, inherits: str = "RandomSampler") -> str:
    """A sampler whose relative sampling is this."""
    return (
        "import base64, os, pickle, sys, optuna\nfrom optuna.samplers import *\n"
        f"class Walker({inherits}):\n"
        "    def infer_relative_search_space(self, study, trial):\n"
        "        return study.trials[0].distributions\n"
        "    def sample_relative(self, study, trial, space):\n"
        f"        {body}\n        return {{}}\n"
    )


def keeping(value: str) -> str:
    return method(f"study._storage.set_trial_system_attr(trial._trial_id, 'own', {value})")


FAULTS = {
    "raises": (method("1 / 0"), "sampler: mine.py:Walker raised ZeroDivisionError: division by"),
    "exits": (method("sys.exit('enough')"), "sampler: mine.py:Walker raised SystemExit: enough"),
    "multi-objective": (
        method("self._raise_error_if_multi_objective(study)"),
        "mine.py:Walker raised ValueError: If the study is being used for multi-objective",
    ),
    "outside": (
        method("return {name: 7.0 for name in space}")
        + "    def sample_independent(self, *_):\n        return 7.0\n",
        "mine.py:Walker drew math.weight = 7, which is not in [0, 1]",
    ),
    "no JSON": (keeping("{1}"), "keeps 'own' with a trial, which is not JSON"),
    "large": (keeping("'a' * 200_000"), "keeps 200,0"),
    "pickled": (keeping("pickle.dumps([1] * 20).hex()"), "keeps 'own' pickled with a trial"),
    "pickled base64": (
        keeping("[base64.b64encode(pickle.dumps([1] * 20)).decode()]"),
        "keeps 'own' pickled with a trial",
    ),
    "cma": (method("pass", "CmaEsSampler"), "mine.py:Walker is a CmaEsSampler, which keeps its"),
    "no sampler": ("class Walker:\n    pass\n", "made a Walker, which is no optuna.samplers.Base"),
    "two answers": (
        "import os\nfrom optuna.samplers import RandomSampler\n"
        "def Walker(): return RandomSampler(int.from_bytes(os.urandom(4), 'little'))\n",
        "drew two different points for the same trials and the same seed",
    ),
    "does not compile": ("class Walker(:", "mine.py: SyntaxError"),
    "does not load": ("import nothing_of_that_name", "mine.py: ModuleNotFoundError: No module"),
    "exits at once": ("raise SystemExit('no')", "mine.py: SystemExit: no"),
    "other name": ("walker = 1", "mine.py: it defines no class or function 'Walker'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_before_the_search_and_told_in_one_message(
    make_space: MakeSpace, tmp_path: Path, fault: str
) -> None:
    source, message = FAULTS[fault]
    coordinates = Coordinates(make_space(NUMBERS))
    with pytest.raises(SamplerError) as caught:
        rehearse(spec(tmp_path, source), coordinates, (True, True), 1, 0, None)
    assert message in str(caught.value)


def test_a_pickle_in_a_strangers_database_is_not_handed_to_a_sampler(
    make_space: MakeSpace, tmp_path: Path
) -> None:
    import pickle

    coordinates = Coordinates(make_space(NUMBERS))
    walker = spec(tmp_path, WALKER)
    history = searched(coordinates, walker, 4)
    for planted in ({"own": pickle.dumps(history).hex()}, {"cma:optimizer:0": "80"}):
        attributes = {"mine.py:Walker:system_attrs": planted}
        spoilt = (replace(history[0], system_attrs=attributes), *history[1:])
        with pytest.raises(SamplerError, match="pickled with a trial"):
            propose(request_for(coordinates, walker, spoilt))


def test_a_file_runs_only_where_it_was_permitted(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("raise SystemExit('ran')")
    for allowed in (frozenset(), frozenset({tmp_path}), frozenset({tmp_path / "other.py"})):
        with pytest.raises(SamplerError) as caught:
            with_code(SamplerSpec("mine.py:Walker"), tmp_path, allowed)
        assert f"is code and runs only if you allow it: add --allow-code {file}" in str(
            caught.value
        )
    found = with_code(SamplerSpec("mine.py:Walker"), tmp_path, frozenset({file}))
    assert isinstance(found.code, FileCode) and found.code.source == file.read_bytes()
    with pytest.raises(SamplerError, match="there is no such file"):
        with_code(SamplerSpec("gone.py:Walker"), tmp_path, frozenset({file}))
    with pytest.raises(SamplerError, match="expected `my_sampler.py:MySampler`"):
        with_code(SamplerSpec("mine.py:two words"), tmp_path, frozenset({file}))
    assert str(found) == "mine.py:Walker"
    assert str(SamplerSpec(f"{file}:Walker")) == "mine.py:Walker"  # no folder in tables
    assert f"eutectic_sampler_{found.code.digest}" not in sys.modules  # nothing ran


def test_a_file_without_permission_is_an_unknown_sampler_to_the_search(
    make_space: MakeSpace,
) -> None:
    coordinates = Coordinates(make_space(NUMBERS))
    with pytest.raises(SamplerError, match=r"unknown sampler 'mine\.py:Walker'"):
        choose_sampler("mine.py:Walker", objectives=1, coordinates=coordinates, trials=9)
