"""An interruption is never lost, wherever it falls."""

import os
import signal
import sys
import threading
import time
from typing import Any

import optuna
import pytest

from search.assessor import Done
from search.log_thread import LogThread
from search.loop import Search
from search.study_log import StudyLog
from search.turns import Turns
from studies.cli.interrupts import interruptible
from studies.conduct import assemble


class Signalled:
    """Something whose destructor is interrupted."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            time.sleep(0.001)


def test_one_that_falls_into_a_destructor_comes_again() -> None:
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interruptible():
        Signalled()
        for _ in range(200):
            time.sleep(0.01)
    assert sys.unraisablehook is hook and signal.getsignal(signal.SIGTERM) is handler


def test_what_else_a_destructor_raises_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: seen.append(told.exc_type))

    class Faulty:
        def __del__(self) -> None:
            raise ValueError

    with interruptible():
        Faulty()
    assert seen == [ValueError]


def test_the_log_of_an_interrupted_search_of_many_workers_is_up_to_date(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, flush, looked = StudyLog.add, LogThread.flush, Turns._end
    ended: list[int] = []
    waited_for = threading.Event()

    def late(self: StudyLog, *arguments: object, **options: object) -> None:
        if ended:
            waited_for.wait(10)
        add(self, *arguments, **options)  # type: ignore[arg-type]

    def flushed(self: LogThread) -> None:
        waited_for.set()
        flush(self)

    def assembled(*arguments: object) -> Search:
        search = assemble(*arguments)  # type: ignore[arg-type]
        search.log = LogThread(search.log)
        return search

    def end(self: Turns, done: Done) -> None:
        looked(self, done)
        ended[:] = [one.number for one in self.trials if one.state in ("complete", "failed")]
        if len(ended) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(StudyLog, "add", late)
    monkeypatch.setattr(LogThread, "flush", flushed)
    monkeypatch.setattr("studies.conduct.assemble", assembled)
    monkeypatch.setattr(Turns, "_end", end)
    assert bench.search().exit_code == 130
    log = optuna.load_study(study_name="pico", storage=f"sqlite:///{bench.run / 'study.db'}")
    assert {one.user_attrs["trial"] for one in log.trials} >= set(ended) and len(ended) == 3
