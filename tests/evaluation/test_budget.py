"""The token budget: chosen from shape and memory, halved when memory runs out."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from evaluation import budget
from evaluation.budget import LARGEST, SMALLEST, fitting_budget, memory_ran_out
from evaluation.errors import ExhaustedError
from evaluation.harness import Harness
from evaluation.native import load_native_task
from evaluation.runner import Runner, Settings
from evaluation.spec import NativeSpec


@contextmanager
def room_for(model: Any, tokens: int) -> Iterator[None]:
    """A model whose passes over more tokens end as torch ends them on a full device."""

    def refuse(_: Any, __: Any, inputs: dict[str, torch.Tensor]) -> None:
        if inputs["input_ids"].numel() > tokens:
            raise torch.OutOfMemoryError("tried to allocate 20.00 MiB")

    handle = model.register_forward_pre_hook(refuse, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def test_the_budget_follows_memory_and_shape_alone(
    pico: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fitting_budget(pico.model) == LARGEST["cpu"]
    each = budget.bytes_a_token(pico.model)
    monkeypatch.setattr(budget, "memory_bytes", lambda device: 4 * 600 * each)
    assert fitting_budget(pico.model) == 512
    monkeypatch.setattr(budget, "memory_bytes", lambda device: 0)
    assert fitting_budget(pico.model) == SMALLEST


def test_memory_runs_out_in_many_words() -> None:
    assert memory_ran_out(MemoryError())
    assert memory_ran_out(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert memory_ran_out(caught.value)
    assert memory_ran_out(RuntimeError("CUDA error: out of memory"))
    assert not memory_ran_out(RuntimeError("shape mismatch"))


def test_a_smaller_budget_is_another_setting_and_gives_the_scores(
    pico: Any, write_rows: Any
) -> None:
    rows = [{"text": f"{k} " * 30} for k in range(1, 20)]
    task = load_native_task(
        NativeSpec("t", write_rows(rows), "loglikelihood", target="text"), seed=0
    )
    runner = Runner(copy.deepcopy(pico.model), pico.tokenizer, Settings(token_budget=1024))
    harness = Harness([task], runner)
    harness.settle()
    want, before = harness.score("t", range(19)), runner.fingerprint()
    with room_for(runner.model, 300):
        with pytest.raises(ExhaustedError, match="up to 1024 tokens; a smaller --token-budget"):
            harness.score("t", range(19))
        assert [harness.halve_budget(), harness.halve_budget()] == [512, 256]
        got = harness.score("t", range(19))
    assert runner.fingerprint() != before
    for key, numbers in got.items():
        assert numbers["bits_per_byte"] == pytest.approx(want[key]["bits_per_byte"], rel=1e-5)


def test_there_is_a_smallest_budget(pico: Any) -> None:
    runner = Runner(pico.model, pico.tokenizer, Settings(token_budget=SMALLEST))
    with pytest.raises(ExhaustedError, match="with 64 tokens at once: .* another --device"):
        runner.halve_budget()


def test_other_errors_of_a_pass_stay_what_they_are(pico: Any) -> None:
    from evaluation.task import Request

    model = copy.deepcopy(pico.model)
    runner = Runner(model, pico.tokenizer, Settings())
    prepared = runner.prepare([Request("rolling", "abc")])

    def fail(*_: Any) -> None:
        raise RuntimeError("shape mismatch")

    model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        runner.run(prepared)
