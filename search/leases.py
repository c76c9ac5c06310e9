"""Leases: how long a worker may take over a block before it is taken for lost.

Unless a length is given, a lease follows what was seen: many times what a block of the task took
so far, and generous before anything was. A lease that is too short would kill a worker that is
merely slow, one that is too long leaves a worker that hangs idle for so long.
"""

import threading
from dataclasses import dataclass, field

FIRST = 1800.0
"""Seconds, before anything is known of a task: kernels are compiled, files read."""
LEAST = 120.0
TIMES = 20.0
"""So many times the slowest item so far."""


@dataclass(slots=True)
class Lease:
    """Lengths of leases in seconds; `fixed` for all, None follows what was seen."""

    fixed: float | None = None
    _slowest: dict[str, float] = field(default_factory=dict, init=False)
    """Seconds of an item, by task."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def of_block(self, task: str, items: int) -> float:
        """Of a block of a task."""
        with self._lock:
            slowest = self._slowest.get(task)
        if self.fixed is not None:
            return self.fixed
        return FIRST if slowest is None else max(LEAST, TIMES * slowest * items)

    def of_build(self) -> float:
        """Of building a candidate."""
        return FIRST if self.fixed is None else self.fixed

    def of_gradient(self) -> float:
        """Of losses with slopes."""
        return FIRST if self.fixed is None else 3 * self.fixed

    def took(self, task: str, items: int, seconds: float) -> None:
        """Learns what a block took."""
        with self._lock:
            each = seconds / max(1, items)
            self._slowest[task] = max(self._slowest.get(task, 0.0), each)
