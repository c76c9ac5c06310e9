"""The Optuna study beside the ledger: every trial once, whole, as Optuna's own tools read it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from search.ledger import Candidate, Ledger
from search.objectives import Objective
from search.study_log import StudyLog

OBJECTIVES = (Objective("up", (("t", "acc"),), True), Objective("down", (("t", "b"),), False))
TEXT = """\
  merge_method: {choice: [ties, task_arithmetic]}
  base_model: base
  models:
    - model: math
      parameters: {weight: {range: [0.1, 1.0], log: true}, density: {range: [0.2, 0.8], step: 0.2}}
    - {model: code, parameters: {weight: 0.5}}
  parameters: {normalize: {choice: [true, false]}}
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    yield f"sqlite:///{tmp_path / 'study.db'}"


def trial(number: int, **changes: object) -> Candidate:
    values = {"merge_method": "ties", "math.weight": 0.3, "math.density": 0.4, "normalize": True}
    one = Candidate("trial", number, "tpe", {}, f"h{number}", values=values)
    ended = {"state": "complete", "scores": (0.1 * number, 1 / 3), "violations": (0.5, -1.0)}
    return one.ended(**(ended | changes))


def logged(url: str, name: str = "study") -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=url).trials


def test_trials_are_added_once_in_order_and_as_they_were(make_space, url: str) -> None:
    space = make_space(TEXT)
    trials = [
        trial(0, items=7, error=None),
        trial(1, state="failed", scores=None, violations=(), error="NaN"),
        trial(
            2, values={"merge_method": "task_arithmetic", "math.weight": 0.7, "normalize": True}
        ),
        trial(3, state="running", scores=None),
    ]
    with closing(StudyLog(url, "study", OBJECTIVES, space.dimensions, ["a", "b"])) as log:
        log.add(trials[:1])
        log.add(trials[:1])
    with closing(StudyLog(url, "study", OBJECTIVES, space.dimensions, ["a", "b"])) as log:
        log.add(trials)  # the same command again catches up
    found = logged(url)
    assert [one.number for one in found] == [0, 1, 2]
    assert [one.state.name for one in found] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert found[0].values == [0.0, 1 / 3] and found[0].params == trials[0].values
    assert found[0].constraints == {"a": 0.5, "b": -1.0}
    assert found[0].user_attrs["feasible"] is False
    assert found[1].user_attrs["error"] == "NaN" and found[1].params == trials[1].values
    assert found[2].params == trials[2].values
    assert found[0].user_attrs["items"] == 7 and found[0].user_attrs["recipe_hash"] == "h0"


def test_times_and_estimates_are_readable(make_space, url: str) -> None:
    seconds = {"propose_seconds": 1.0, "build_seconds": 2.0, "score_seconds": 4.5}
    raced = trial(0, state="dropped", scores=None, estimates=(0.25, 0.5), **seconds)
    with closing(
        StudyLog(url, "study", OBJECTIVES, make_space(TEXT).dimensions, ["a", "b"])
    ) as log:
        log.add([raced])
        log.conclude({"winner": "trial 0"}, "# Won")
    (found,) = logged(url)
    assert found.user_attrs["estimates"] == {"up": 0.25, "down": 0.5}
    assert found.duration is not None and found.duration.total_seconds() == pytest.approx(7.5)
    study = optuna.load_study(study_name="study", storage=url)
    assert study.user_attrs == {"winner": "trial 0"}


def test_distributions_are_the_ranges_as_written(make_space, url: str) -> None:
    with closing(
        StudyLog(url, "study", OBJECTIVES, make_space(TEXT).dimensions, ["a", "b"])
    ) as log:
        log.add([trial(0)])
    found = logged(url)[0].distributions
    assert found["math.weight"] == optuna.distributions.FloatDistribution(0.1, 1.0, log=True)
    assert found["math.density"] == optuna.distributions.FloatDistribution(0.2, 0.8, step=0.2)
    assert found["normalize"].choices == (True, False)


def test_directions_names_and_no_constraints(make_space, url: str) -> None:
    with closing(StudyLog(url, "study", OBJECTIVES, make_space(TEXT).dimensions, [])) as log:
        log.add([trial(0, violations=())])
    study = optuna.load_study(study_name="study", storage=url)
    assert [one.name for one in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["up", "down"]
    assert len(study.best_trials) == 1


def test_ledger_and_study_share_a_file(make_space, url: str) -> None:
    with Ledger(url) as ledger, closing(
        StudyLog(url, "study", OBJECTIVES, make_space(TEXT).dimensions, ["a", "b"])
    ) as log:  # fmt: skip
        for number in range(3):
            ledger.put(trial(number))
            log.add(ledger.candidates("trial"))
            assert len(logged(url)) == number + 1  # others may read while the search runs
