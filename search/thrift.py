"""How much of its time a coordinator of many workers may think.

With one worker every decision rests on all that is known: the worker waits for it, or works on
the trial before. With many, looks end faster than estimates of all trials can be renewed, and a
coordinator that thinks leaves workers idle. So with a pool estimates are renewed, and guesses
made, only while they have taken at most a share of the search's time; between, decisions rest on
the last ones. A search of a few workers on large models never notices.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

GRACE = 1.0
"""Seconds that are spent without asking."""


@dataclass(slots=True)
class Thrift:
    """One kind of thinking, and its `share` of the time since this was made; 1.0: no limit."""

    share: float
    _began: float = field(default_factory=time.perf_counter, init=False)
    _spent: float = field(default=0.0, init=False)

    def affords(self) -> bool:
        """Whether there is time to think now."""
        if self.share >= 1.0:
            return True
        return self._spent <= GRACE + self.share * (time.perf_counter() - self._began)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Counts the time inside."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._spent += time.perf_counter() - started
