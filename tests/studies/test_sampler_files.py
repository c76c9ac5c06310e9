"""Samplers by class name and from files, from the command line to the run folder."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from search.ledger import Ledger
from search.proposals import Proposer

from .test_resume import candidates, ctrl_c, stop_at

WALKER = '''
import os
import numpy as np
from optuna.samplers import BaseSampler, RandomSampler

class Walker(BaseSampler):
    """Steps from the best trial in the weights, further each time; all else by itself."""

    def __init__(self, seed, size=0.1, fail_at=None):
        self.rng, self.size, self.fail_at = np.random.default_rng(seed), size, fail_at
        self.other = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study, trial):
        found = study.trials[0].distributions
        return {name: one for name, one in found.items() if name.endswith("weight")}

    def sample_relative(self, study, trial, space):
        if trial.number == self.fail_at:
            raise RuntimeError("walked off")
        ended = [one for one in study.trials if one.values]
        best = max(ended, key=lambda one: one.values[0])
        steps = max(one.system_attrs.get("steps", (0,))[0] for one in study.trials) + 1
        study._storage.set_trial_system_attr(trial._trial_id, "steps", (steps,))
        def near(name, one):
            step = self.rng.normal(0, self.size * steps)
            return float(np.clip(best.params[name] + step, one.low, one.high))
        return {name: near(name, one) for name, one in space.items()}

    def sample_independent(self, study, trial, name, distribution):
        return self.other.sample_independent(study, trial, name, distribution)
'''
MINE = ("sampler: random", "sampler: mine.py:Walker")
ALLOW = ("--allow-code", "mine.py")


def test_a_file_sampler_killed_and_gone_on_with_gives_the_same_trials(bench) -> None:
    """Killed for good, with proposals made in their own process; gone on with in this one."""
    (bench.folder / "mine.py").write_text(WALKER)
    bench.change(MINE)
    refused = bench.search()
    assert refused.exit_code == 2 and not bench.run.exists()
    place = f"{bench.study}:{bench.study.read_text().count(chr(10))}:10"
    assert f"{place} sampler: {bench.folder}/mine.py is code and runs only if" in refused.stderr
    command = "from studies.cli import main; main()"
    arguments = ["search", str(bench.study), "--quiet", "--threads", "1", "--trials", "500"]
    killed = subprocess.Popen([sys.executable, "-c", command, *arguments, *ALLOW])
    log = bench.run / "log.txt"
    deadline = time.monotonic() + 240
    while not (log.is_file() and "trial 8/500" in log.read_text()):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    trials = len(candidates(bench.run)) - 4 + 2
    assert bench.search("--trials", trials, *ALLOW).exit_code == 0
    assert bench.search("--trials", trials, "--out", "whole", *ALLOW).exit_code == 0
    found = candidates(bench.run)
    assert found == candidates(bench.folder / "whole")
    own = [one for one in found if one.name == "mine.py:Walker"]
    kept = [one.system_attrs["mine.py:Walker:system_attrs"]["steps"] for one in own]
    assert (
        len(own) >= 4
        and kept == [[n // 2 + 1] for n in range(len(own))]
        or all(one[0] >= 1 for one in kept)
    )
    resolved = yaml.safe_load((bench.run / "study.yaml").read_text())
    assert resolved["sampler"] == "mine.py:Walker" and len(resolved["resolved"]["sampler"]) == 32


def test_interrupted_again_and_again_it_ends_as_if_undisturbed(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.folder / "mine.py").write_text(WALKER)
    bench.change(("sampler: random", "sampler: {name: mine.py:Walker, size: 0.05}"))
    for block in (9, 3, 3):
        with monkeypatch.context() as patch:
            stop_at(patch, block, ctrl_c)
            assert bench.search("--trials", 9, *ALLOW).exit_code == 130
    assert bench.search("--trials", 9, *ALLOW).exit_code == 0
    assert bench.search("--trials", 9, "--out", "whole", *ALLOW).exit_code == 0
    assert candidates(bench.run) == candidates(bench.folder / "whole")
    own = [one for one in candidates(bench.run) if one.sampler == "mine.py:Walker"]
    steps = [one.system_attrs for one in own if one.system_attrs]
    assert len(steps) == 5


def test_a_sampler_that_raises_ends_in_one_message_and_a_saved_run(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.conduct.Proposer", Proposer)  # the real one, in its process
    (bench.folder / "mine.py").write_text(WALKER)
    bench.change(("sampler: random", "sampler: {name: mine.py:Walker, fail_at: 7}"))
    # The rehearsal asks it for trials 1 and 16 to 18: it fails in the search.
    failed = bench.search("--trials", 10, *ALLOW)
    assert failed.exit_code == 2, failed.output
    assert failed.stderr.count("\n") == 1 and "Traceback" not in failed.output
    assert "sampler: mine.py:Walker raised RuntimeError: walked off" in failed.stderr
    assert "runs/pico is saved, the same command goes on with it, with another" in failed.stderr
    assert len((bench.run / "trials.csv").read_text().splitlines()) == 8
    before = candidates(bench.run)
    gone_on = bench.search("--trials", 10, "--sampler", "tpe")
    assert gone_on.exit_code == 0, gone_on.stderr
    assert candidates(bench.run)[: len(before)] == before
    assert [one.sampler for one in candidates(bench.run)[-3:]] == ["tpe"] * 3
    early = bench.study.read_text().replace("fail_at: 7", "fail_at: 16")
    bench.study.write_text(early)
    checked = bench.call("check", bench.study, *ALLOW)
    assert checked.exit_code == 2
    assert "sampler: mine.py:Walker raised RuntimeError: walked off" in checked.stderr


def test_check_finds_arguments_where_they_stand(bench) -> None:
    for written, place, message in (
        ("{name: TPESampler, n_ei_candidate: 3}", 29, "did you mean 'n_ei_candidates'?"),
        ("{name: TPESampler, n_ei_candidates: x}", 29, "expected int, got 'x'"),
        ("{n_ei_candidates: 3}", 10, "expected a name, or a mapping like {name: TPESampler"),
        ("GridSampler", 10, "GridSampler cannot be used: its grid would stand beside the study's"),
        ("BruteForceSampler", 10, "visits every point of a grid, and alpha.weight has no `step`"),
        ("optunahub:samplers/moead", 10, "add --allow-code optunahub:samplers/moead"),
        ("3", 10, "got 3"),
    ):
        bench.change(("sampler: random", f"sampler: {written}"))
        result = bench.call("check", bench.study)
        line = bench.study.read_text().count("\n")
        assert result.exit_code == 2, written
        assert f"{bench.study}:{line}:{place} " in result.stderr, result.stderr
        assert message in result.stderr, result.stderr


def test_the_command_line_names_samplers_too(bench) -> None:
    (bench.folder / "mine.py").write_text(WALKER)
    tried = bench.search("--sampler", "{name: NSGAIISampler, population_size: 4}", "--trials", 7)
    assert tried.exit_code == 0, tried.stderr
    own = [one for one in candidates(bench.run) if one.kind == "trial"]
    assert own[-1].sampler == own[-1].name == "NSGAIISampler"
    generations = [one.system_attrs["NSGAIISampler:generation"] for one in own if one.system_attrs]
    assert generations == [0, 1, 1]  # the four warm starts are of the first
    assert bench.search("--sampler", "mine.py:Walker", *ALLOW, "--trials", 8).exit_code == 0
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        assert set(ledger.meta("sampler_code")) == {"mine.py:Walker"}
    again = bench.call("search", bench.run / "study.yaml", "--trials", 9, "--threads", 1, *ALLOW)
    assert again.exit_code == 0 and "is another than before" not in again.output
    (bench.folder / "mine.py").write_text(WALKER + "\n")
    changed = bench.call(
        "search", bench.run / "study.yaml", "--trials", 10, "--threads", 1, *ALLOW
    )
    assert changed.exit_code == 0
    assert (
        "the code of mine.py:Walker is another than before" in (bench.run / "log.txt").read_text()
    )
    listed = bench.call("trials", bench.run, "--format", "json")
    assert len(json.loads(listed.stdout)) == 10  # looking at a run needs no permission
    for option in ("{n: 3}", "{name: TPESampler", "TPESampler: 3}"):
        refused = bench.search("--sampler", option)
        assert refused.exit_code == 2 and "Traceback" not in refused.output


def test_the_hub_is_asked_only_with_permission(bench, tmp_path: Path) -> None:
    written = "{name: optunahub:samplers/nothing, registry: nowhere}"
    bench.change(("sampler: random", f"sampler: {written}"))
    allowed = ("--allow-code", "optunahub:samplers/nothing", "--allow-code", "nowhere")
    result = bench.call("check", bench.study, *allowed)
    assert result.exit_code == 2
    assert "pip install" in result.stderr or "there is no such package in" in result.stderr
