"""Worker processes that are not there when they are asked, or when the search ends."""

import os
import signal
import threading
import time
from typing import Any, cast

import pytest

from search.errors import WorkerLostError
from search.process_workers import ProcessSource
from search.workers import Call, Working
from tests.search.conftest import ToyExecutor
from tests.search.crews import Bench, until


def slow(_: int | None) -> Working:
    """Opens nothing for a long time."""
    time.sleep(60)
    raise AssertionError


def quick(_: int | None) -> Working:
    """Opens at once."""
    return cast(Working, Bench(ToyExecutor()))


def test_one_that_starts_is_not_waited_for_at_the_end() -> None:
    source, ends = ProcessSource(slow, 1, 1), cast(list[Exception], [])

    def start() -> None:
        with pytest.raises(WorkerLostError) as told:
            source.start(0, None)
        ends.append(told.value)

    thread = threading.Thread(target=start)
    thread.start()
    until(lambda: bool(source._starting))
    (worker,) = source._starting
    time.sleep(2.0)  # it leaves SIGTERM alone by then
    source.close()
    thread.join(timeout=10)
    assert len(ends) == 1 and worker.process.exitcode == -signal.SIGKILL
    with pytest.raises(WorkerLostError, match="came too late"):
        source.start(0, None)


def test_one_that_died_before_it_was_asked_says_nothing_of_the_question() -> None:
    worker, terms = ProcessSource(quick, 1, 1).start(0, None)
    assert terms.token_budget == 64
    os.kill(cast(Any, worker.process.pid), signal.SIGKILL)
    worker.process.join(timeout=10)
    with pytest.raises(WorkerLostError, match="killed") as told:
        worker.call(Call("build", {}, ""), 5.0)
    assert told.value.blameless
    worker.kill()
