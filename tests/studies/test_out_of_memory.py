"""Memory that runs out in the middle of a search: fewer tokens at once, everything comparable."""

from pathlib import Path

import pytest
import torch

from evaluation.runner import Prepared, Runner
from search.ledger import Candidate, Ledger


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
