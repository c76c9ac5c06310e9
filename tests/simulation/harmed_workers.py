"""Workers that come to harm: a study opened in a worker, and a folder of files that say when.

Importable by every worker, whatever starts it. Without files a harmed worker is like any other.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.errors import ExhaustedError
from evaluation.task import ItemResult
from search.executors import GoldItems, GoldSlopes, Merge, Terms
from search.workers import Opening, Working

HARMS = ("kill", "hang", "exhaust")
"""Files that the first worker takes who scores; `poison-HASH` stays, for whoever scores that."""


@dataclass(frozen=True, slots=True)
class HarmedOpening:
    """Opens a study, builds `warm` so that kernels are loaded, and watches `folder`."""

    opening: Opening
    folder: Path
    warm: Mapping[str, Any]

    def __call__(self, token_budget: int | None) -> "Harmed":
        """The executor, which comes to harm."""
        working = self.opening(token_budget)
        working.build(working.prepare(self.warm))
        return Harmed(working, self.folder)


@dataclass(slots=True)
class Harmed:
    """An executor that does what the files say before it scores."""

    working: Working
    folder: Path
    held: str = ""

    @property
    def terms(self) -> Terms:
        """Of the study."""
        return self.working.terms

    @property
    def settings(self) -> str:
        """Of the study."""
        return self.working.settings

    def shrink(self) -> int:
        """As it is."""
        return self.working.shrink()

    def prepare(self, data: Mapping[str, Any]) -> Merge:
        """As it is."""
        return self.working.prepare(data)

    def build(self, merge: Merge) -> None:
        """As it is."""
        self.held = merge.hash
        self.working.build(merge)

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, ItemResult]:
        """Comes to harm first."""
        if (self.folder / f"poison-{self.held}").exists() or self._taken("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._taken("hang"):
            time.sleep(600)
        if self._taken("exhaust"):
            raise ExhaustedError("memory ran out")
        return self.working.score(task, indices)

    def gradient(
        self, merge: Merge, asked: Sequence[GoldItems], *, slopes: bool = True
    ) -> Sequence[GoldSlopes]:
        """As it is."""
        return self.working.gradient(merge, asked, slopes=slopes)

    def _taken(self, harm: str) -> bool:
        try:
            (self.folder / harm).unlink()
        except FileNotFoundError:
            return False
        return True


def opens_nowhere(_: int | None) -> Working:
    """An opening that fails on every node."""
    raise OSError("this study opens nowhere")
