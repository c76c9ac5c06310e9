"""Faults of memory and of helper processes are told too."""

from concurrent.futures import BrokenExecutor, Future

import pytest
import torch

from search.inline import InlineExecutor


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), MemoryError()])
def test_out_of_memory(bench, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(InlineExecutor, "build", full)
    result = bench.search()
    assert result.exit_code == 2 and "out of memory; a smaller --token-budget" in result.stderr
    assert not (bench.folder / "runs").exists()


def test_a_proposing_process_that_was_killed(another, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed:
        def __enter__(self) -> "Killed":
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def submit(self, _: object) -> "Future[object]":
            future: Future[object] = Future()
            future.set_exception(BrokenExecutor())
            return future

    monkeypatch.setattr("studies.conduct.Proposer", Killed)
    result = another.search("--trials", "8")
    assert result.exit_code == 2 and "was killed" in result.stderr
    monkeypatch.undo()


def test_a_bug_is_not_hidden(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(InlineExecutor, "build", wrong)
    result = bench.search()
    assert isinstance(result.exception, RuntimeError) and result.exit_code == 1


def test_debug_lets_the_traceback_through(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from studies.errors import StudyError

    monkeypatch.setenv("EUTECTIC_DEBUG", "1")
    bench.change(("name: pico", "name: ../x"))
    assert isinstance(bench.call("check", bench.study).exception, StudyError)
