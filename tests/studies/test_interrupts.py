"""An interruption is never lost, wherever it falls."""

import os
import signal
import sys
import time

import pytest

from studies.cli.interrupts import interruptible


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
