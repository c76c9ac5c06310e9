"""What later candidates of the same models need not find out again: DELLA's ranks."""

import os
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .jit import Array  # numba, which most candidates need, but not whoever makes one of these


class Known:
    """Ranks by (base, expert) tensor, one byte an element, as long as there is room.

    It belongs to whoever builds many candidates from the same checkpoints. Results do not depend
    on what it holds. Threads may share it: each fills in other keys, or both the same bytes.
    """

    def __init__(self, limit: int | None = None) -> None:
        """`limit` in bytes; None: half of the memory that is free now."""
        self.limit = _half_of_free() if limit is None else limit
        self.held = 0
        self._ranks: dict[Hashable, Array] = {}
        self._lock = Lock()

    def ranks(self, key: Hashable, make: Callable[[], "Array"]) -> "Array":
        """The ranks of that key, made if they are not held."""
        if (found := self._ranks.get(key)) is not None:
            return found
        made = make()
        with self._lock:
            if key not in self._ranks and self.held + made.nbytes <= self.limit:
                self._ranks[key] = made
                self.held += made.nbytes
        return made


def _half_of_free() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 4 << 30
