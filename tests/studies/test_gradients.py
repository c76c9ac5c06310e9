"""Gradients of a real study: the derivative by its dimensions, its splits, its points, its log."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from search.executors import GoldItems
from search.inline import InlineExecutor
from search.ledger import Candidate, Ledger
from search.space_slopes import moved_dimensions, shares_at
from search.trials import with_mask_seed
from studies.config import read_study
from studies.preflight import Preflight, inspect
from studies.session import Hardware, open_executor
from studies.terms import SearchOptions, overridden

SPLIT = (
    "split: {calibration: 0, search: 0.4, select: 0.3, test: 0.3}",
    "split: {calibration: 0.3, search: 0.3, select: 0.2, test: 0.2}",
)
LAMBDA = (
    "{normalize: false}\n  dtype: bfloat16",
    "{normalize: false, lambda: {range: [0.5, 1.5], start: 0.9}}\n  dtype: float32",
)
ANCHORED = ("weight: {range: [0.0, 1.0], start: 0.25}", "weight: {range: [0.0, 1.0], anchors: 2}")
NO_DENSITY = (", density: {range: [0.1, 0.9]}", "")
NO_DENSITIES = (", density: 0.5", "")
ON = ("sampler: random", "sampler: random\ngradients: on")
TRIALS = ("budget: {trials: 6}", "budget: {trials: 60}")


def opened(bench: Any) -> tuple[Preflight, InlineExecutor]:
    options = SearchOptions(hardware=Hardware(threads=1, dtype="float32"))
    study = overridden(read_study(bench.study), options)
    preflight = inspect(study, {}, options.permissions)
    hardware = options.hardware.resolved(None)
    return preflight, open_executor(preflight, hardware, options.permissions)


def trials(run: Path) -> list[Candidate]:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        return ledger.candidates("trial")


@pytest.mark.parametrize("method", ["task_arithmetic", "dare_linear"])
def test_slopes_by_dimensions_are_finite_differences_of_the_loss(bench, method: str) -> None:
    """Of anchors, plain weights and lambda, at random masks; elections are tested in merging."""
    plain = [NO_DENSITY, NO_DENSITIES] if method == "task_arithmetic" else []
    bench.change(
        SPLIT, LAMBDA, ANCHORED, ("merge_method: ties", f"merge_method: {method}"), *plain
    )
    preflight, executor = opened(bench)
    space = preflight.space

    def merge(values):
        return executor.prepare(with_mask_seed(space.fill(values), 0))

    asked = [
        GoldItems(task, metric, tuple(preflight.splits[task]["calibration"]))
        for task, metric in (("sums", "acc"), ("lines", "bits_per_byte"))
    ]
    start = space.start
    before = {k: v.clone() for k, v in executor.harness.runner.model.state_dict().items()}
    found = executor.gradient(merge(start), asked)
    shares = shares_at(space, start, lambda data: executor.prepare(with_mask_seed(data, 0)).jobs)
    chained = [shares.chained(one.slopes) for one in found]
    moved = moved_dimensions(space, space.methods[0])
    assert [one.name for one in moved] == [
        "alpha.weight", "beta.weight@0", "beta.weight@1", "lambda",
    ]  # fmt: skip

    def losses(name, step):
        found = executor.gradient(merge({**start, name: start[name] + step}), asked, slopes=False)
        return [one.loss for one in found]

    for one in moved:
        ends = {step: losses(one.name, step) for step in (0.1, -0.1, 0.05, -0.05)}
        for task in range(2):
            wide, narrow = (
                (ends[step][task] - ends[-step][task]) / (2 * step) for step in (0.1, 0.05)
            )
            wanted = (4 * narrow - wide) / 3  # Richardson's extrapolation to no step at all
            assert chained[task][one.name] == pytest.approx(wanted, rel=0.02, abs=1e-3)
    executor.build(executor.prepare(preflight.references[0].data))
    after = executor.harness.runner.model.state_dict()
    assert all(torch.equal(one, before[name]) for name, one in after.items())


def test_a_gradient_leaves_the_candidate_that_is_being_scored(bench) -> None:
    bench.change(SPLIT)
    preflight, executor = opened(bench)
    base, other = (executor.prepare(one.data) for one in preflight.references[:2])
    items = tuple(preflight.splits["lines"]["search"])
    executor.build(base)
    before = executor.score("lines", items)
    asked = [GoldItems("lines", "bits_per_byte", items)]
    loss = executor.gradient(other, asked, slopes=False)[0].loss
    assert executor.score("lines", items) == before
    metric = preflight.tasks["lines"].metrics["bits_per_byte"]
    rows = torch.tensor([one["bits_per_byte"] for one in before.values()])
    assert executor.gradient(base, asked)[0].loss == pytest.approx(
        metric.aggregate(rows.numpy()), rel=1e-5
    )
    assert loss != pytest.approx(metric.aggregate(rows.numpy()), rel=1e-5)


def points(run: Path) -> Any:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        found = ledger.meta("gradient_points")
    return [one[:3] for one in found["points"]], found["items"], found["scales"]


def test_a_study_starts_from_gradients_and_again_after_a_kill(bench, monkeypatch) -> None:
    bench.change(SPLIT, LAMBDA, TRIALS, ON)
    calls: list[object] = []
    gradient = InlineExecutor.gradient

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def watched(self, merge, items, *, slopes=True):
        calls.append(merge.hash)
        return stop() if len(calls) == 12 else gradient(self, merge, items, slopes=slopes)

    with monkeypatch.context() as patch:
        patch.setattr(InlineExecutor, "gradient", watched)
        assert bench.search().exit_code == 130
    assert not trials(bench.run)
    assert bench.search("--trials", "16").exit_code in (0, 3)
    found = [one for one in trials(bench.run) if one.name.startswith("gradient")]
    assert found[0].name == "gradient 1" and len(found) >= 3
    assert "starting points, by at most" in (bench.run / "log.txt").read_text()
    with monkeypatch.context() as patch:
        patch.setattr("search.turns.Turns._propose", stop)
        fresh = bench.folder / "runs" / "fresh"
        assert bench.search("--out", fresh).exit_code == 130
    assert points(fresh) == points(bench.run)


def test_off_and_too_few_items_are_said(bench) -> None:
    bench.change(("sampler: random", "sampler: random\ngradients: off"), SPLIT)
    assert bench.search().exit_code in (0, 3)
    assert "gradients" not in (bench.run / "log.txt").read_text()
    bench.change(ON)
    assert bench.search("--fresh").exit_code == 0
    assert (
        "no starting points from gradients: task 'lines' has 0 items in `calibration`"
        in (bench.run / "log.txt").read_text()
    )


def test_by_itself_a_study_of_few_weights_goes_without_and_says_so(bench, monkeypatch) -> None:
    bench.change(SPLIT, LAMBDA, TRIALS)
    why = "3 weights are searched, and by itself a search takes them from 12 on"
    said = json.loads(bench.call("check", bench.study, "--json").stdout)["gradients"]
    assert said.startswith(f"none: {why}")
    monkeypatch.delattr(InlineExecutor, "gradient")
    assert bench.search("--trials", "8").exit_code in (0, 3)
    log = (bench.run / "log.txt").read_text()
    assert f"no starting points from gradients: {why}" in log
    assert not any(one.name.startswith("gradient") for one in trials(bench.run))


def test_by_itself_a_search_that_guesses_goes_without(bench, monkeypatch) -> None:
    monkeypatch.setattr("search.gradient_plan.LEAST_WEIGHTS", 3)

    def said(*changes: tuple[str, str]) -> str:
        bench.change(SPLIT, LAMBDA, TRIALS, *changes)
        return str(json.loads(bench.call("check", bench.study, "--json").stdout)["gradients"])

    free = ("constraints:\n  - {task: lines, metric: bits_per_byte, max_drop: 5.0}\n", "")
    auto = ("sampler: random", "sampler: auto")
    assert "best guesses find as much" in said(auto, free)
    assert "best guesses" not in said(auto)  # a constraint: nothing is guessed
    assert "best guesses" not in said(free)  # a sampler that the study names


def test_check_says_what_they_cost_and_where_there_are_none(bench) -> None:
    def said() -> str:
        return str(json.loads(bench.call("check", bench.study, "--json").stdout)["gradients"])

    bench.change(SPLIT, LAMBDA, TRIALS, ON)
    told = said()
    assert bench.search("--trials", "60").exit_code in (0, 3)
    _, paid, _ = points(bench.run)
    most = int(told.removesuffix(" item evaluations").rsplit(" ", 1)[1].replace(",", ""))
    assert 0 < paid <= most <= 60 * 30 // 4 and "backward passes over 8 items a task" in told
    bench.change(("sampler: random", "sampler: random\ngradients: off"))
    assert said() == "off"


def test_another_word_for_gradients_is_refused(bench) -> None:
    bench.change(("sampler: random", "sampler: random\ngradients: maybe"))
    result = bench.search()
    assert result.exit_code == 2
    assert "study.yaml:" in result.stderr and "gradients" in result.stderr
    assert "'auto', 'on', 'refine' or 'off'" in result.stderr


def test_steps_are_taken_in_the_stage_that_anchors_have_come_to(bench, monkeypatch) -> None:
    monkeypatch.setattr("search.gradient_plan.SHARE", 1)  # so few items are soon spent
    monkeypatch.setattr("search.predictions.TRUSTED", -2.0)  # models of noise rank nothing
    bench.change(
        ("weight: {range: [0.0, 1.0], start: 0.25}", "weight: {range: [0.0, 1.0], anchors: auto}"),
        ("sampler: random", "sampler: random\ngradients: refine"),
        ("budget: {trials: 6}", "budget: {trials: 72}"),
        ("density: {range: [0.1, 0.9]}", "density: 0.5"),
        SPLIT,
        LAMBDA,
    )
    assert bench.search().exit_code in (0, 3)
    found = trials(bench.run)
    steps = [one for one in found if one.name.startswith("gradient step")]
    fine = [one for one in found if "beta.weight@0%" in (one.values or {})]
    assert fine and steps
    first = min(one.number for one in fine)
    late = [one for one in steps if one.number > first]
    assert late and all(len(one.values) > len(found[0].values) for one in late)
    assert all(one.system_attrs["stage"] > 0 for one in late)
    assert {one.state for one in steps} <= {"complete", "paused", "dropped"}
