"""Memory that runs out in the middle of a search: fewer tokens at once, everything comparable."""

import shutil
from pathlib import Path

import pytest
import torch

from evaluation.errors import NonFiniteError
from evaluation.runner import Prepared, Runner
from search.assessor import Assessor
from search.ledger import Candidate, Ledger
from search.scoring import Scorer


def full_above(patch: pytest.MonkeyPatch, budget: int, after: int) -> None:
    """From the run of this number on, plans of more than so many tokens find the device full."""
    run, runs = Runner.run, []

    def limited(self: Runner, prepared: Prepared) -> object:
        runs.append(self.settings.token_budget)
        if len(runs) > after and runs[-1] > budget:
            handle = self.model.register_forward_pre_hook(refuse)
            try:
                return run(self, prepared)
            finally:
                handle.remove()
        return run(self, prepared)

    patch.setattr(Runner, "run", limited)


def refuse(*_: object) -> None:
    raise torch.OutOfMemoryError("tried to allocate 20.00 MiB")


def known(run: Path) -> tuple[list[Candidate], dict[str, object], str]:
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        everyone = [*ledger.candidates("reference"), *ledger.candidates("trial")]
        return everyone, ledger.meta("hardware"), ledger.meta("settings")


def test_a_search_goes_on_with_fewer_tokens_and_scores_again_what_it_compares(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full_above(patch, budget=256, after=12)
        result = bench.search("--token-budget", "1024")
    assert result.exit_code == 0, result.output
    told = (bench.run / "log.txt").read_text()
    assert "512 tokens at once" in told and "256 tokens at once" in told
    everyone, hardware, settings = known(bench.run)
    assert (hardware["token_budget"], hardware["asked_budget"]) == (256, 1024)
    complete = [one for one in everyone if one.state == "complete"]
    assert len(complete) > 6 and {one.settings for one in complete} == {settings}
    assert not [one for one in everyone if one.state == "running"]
    again = bench.search("--token-budget", "1024")
    assert again.exit_code == 0, again.output
    assert known(bench.run)[0] == everyone
    assert bench.call("verify", bench.run).exit_code == 0


def test_a_model_that_fits_nowhere_is_told(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    full_above(monkeypatch, budget=0, after=0)
    result = bench.search("--token-budget", "128")
    assert result.exit_code == 2
    assert "out of memory with 64 tokens at once" in result.stderr


def test_evaluate_takes_fewer_tokens_as_well(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    full_above(monkeypatch, budget=256, after=0)
    found = bench.call(
        "evaluate",
        bench.folder / "base",
        "--study",
        bench.study,
        "--json",
        "--token-budget",
        "512",
    )
    assert found.exit_code == 0 and "256 tokens at once" in found.stderr


def test_interrupted_while_scoring_again_a_run_can_be_looked_at_and_goes_on(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full_above(patch, budget=512, after=12)
        rescored = Assessor.score

        def stopped(self: Assessor, candidate: Candidate) -> Candidate:
            if candidate.state == "complete" and candidate.number == 1:
                raise KeyboardInterrupt
            return rescored(self, candidate)

        patch.setattr(Assessor, "score", stopped)
        assert bench.search("--token-budget", "1024").exit_code == 130
    assert bench.call("trials", bench.run).exit_code == 0
    assert bench.call("report", bench.run).exit_code == 0
    assert bench.search("--token-budget", "1024").exit_code == 0
    everyone, _, settings = known(bench.run)
    assert {one.settings for one in everyone if one.state == "complete"} == {settings}


def test_who_fails_when_scored_again_has_no_scores(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        full_above(patch, budget=512, after=12)
        score = Scorer.score

        def fails(self: Scorer, merge: object, split: str, *rest: object) -> object:
            if self.executor.harness.runner.settings.token_budget == 512 and split == "search":
                if not broken:
                    broken.append(merge)
                if merge.hash == broken[0].hash and len(self.ledger.candidates("trial")) > 1:
                    raise NonFiniteError("its logits are NaN or Inf")
            return score(self, merge, split, *rest)

        broken: list[object] = []
        patch.setattr(Scorer, "score", fails)
        result = bench.search("--token-budget", "1024")
    assert result.exit_code in (0, 2), result.output
    everyone, _, _ = known(bench.run)
    failed = [one for one in everyone if one.state == "failed"]
    assert all(one.scores is None and one.violations == () for one in failed)
    assert failed or "base model cannot be scored" in result.stderr


def test_a_shortage_that_passes_leaves_the_run_as_it_was(
    bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        full_above(patch, budget=0, after=12)
        result = bench.search("--token-budget", "256")
    assert result.exit_code == 2 and "out of memory with 64 tokens at once" in result.stderr
    assert bench.call("trials", bench.run).exit_code == 0
    assert bench.search("--token-budget", "256").exit_code == 0
    everyone, hardware, settings = known(bench.run)
    assert hardware["token_budget"] == 256
    assert {one.settings for one in everyone if one.state == "complete"} == {settings}


def test_a_base_whose_config_changed_is_not_taken_for_the_same(bench, tmp_path: Path) -> None:
    assert bench.search().exit_code == 0
    base = bench.folder / "base"  # leads to the base that all tests share
    shared = base.resolve()
    base.unlink()
    shutil.copytree(shared, base)
    config = base / "config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 0.5'))
    other = bench.folder / "runs" / "other"
    found = bench.search("--from", bench.run, "--out", other)
    assert found.exit_code == 0, found.output
    before = {one.name: one.scores for one in known(bench.run)[0] if one.kind == "reference"}
    after = {one.name: one.scores for one in known(other)[0] if one.kind == "reference"}
    assert after.keys() == before.keys() and not set(after.values()) & set(before.values())
