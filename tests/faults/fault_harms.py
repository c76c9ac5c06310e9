"""Harms done from inside the process of a command: at a chosen write, block or moment.

Each is applied in that process before the command begins, by putting something in the way of what
the product calls; the product knows nothing of it.
"""

import datetime
import os
import random
import resource
import signal
import sys
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Harm(Protocol):
    """What is done to a command; pickled into its process."""

    def apply(self) -> None:
        """Lies in wait."""
        ...


@dataclass(frozen=True, slots=True)
class Unharmed:
    """Nothing happens."""

    def apply(self) -> None:
        """Does nothing."""


@dataclass(frozen=True, slots=True)
class KilledAtStatement:
    """kill -9 at a step of the databases' connections, the ledger's and Optuna's.

    A step is the moment before a statement, after one, or before a commit.
    """

    number: int

    def apply(self) -> None:
        """Counts from here on."""
        on_statements(_at(self.number, kill_myself))


@dataclass(frozen=True, slots=True)
class KilledAtFile:
    """kill -9 when a file is about to be opened, or to be moved to its place."""

    number: int

    def apply(self) -> None:
        """Counts from here on."""
        on_files(_at(self.number, kill_myself))


@dataclass(frozen=True, slots=True)
class SignalledInBlock:
    """Signals while a block of items is scored, one for each time that a block begins from then.

    `numbers` are those of the blocks, from 0.
    """

    numbers: tuple[int, ...]
    signal: int

    def apply(self) -> None:
        """Counts from here on."""
        from evaluation.harness import Harness

        for number in self.numbers:
            step = _at(number, lambda: os.kill(os.getpid(), self.signal))
            _before(Harness, "score", step)


@dataclass(frozen=True, slots=True)
class KilledInBlock:
    """kill -9 while a block is scored, once: the first process to come so far dies, no other."""

    number: int
    once: Path

    def apply(self) -> None:
        """Counts from here on."""
        from evaluation.harness import Harness

        def die() -> None:
            try:
                self.once.open("x").close()
            except FileExistsError:
                return
            kill_myself()

        _before(Harness, "score", _at(self.number, die))


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A recipe that ends whoever builds it, each time; `deaths` gets a letter each."""

    recipe_hash: str
    deaths: Path

    def apply(self) -> None:
        """Lies in wait for it."""
        from search.inline import InlineExecutor

        build = InlineExecutor.build

        def deadly(executor: InlineExecutor, merge: Any) -> None:
            if merge.hash == self.recipe_hash:
                with self.deaths.open("a") as file:
                    file.write("x")
                kill_myself()
            build(executor, merge)

        InlineExecutor.build = deadly  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class MemoryShort:
    """From a block on, passes of more than so many tokens find the device full."""

    after: int
    tokens: int

    def apply(self) -> None:
        """Counts from here on; the error comes from inside the model's forward pass."""
        import torch

        from evaluation.runner import Runner

        run, runs = Runner.run, [0]

        def full(*_: object) -> None:
            raise torch.OutOfMemoryError("tried to allocate 20.00 MiB")

        def limited(self: Any, *arguments: Any) -> object:
            runs[0] += 1
            if runs[0] <= limit.after or self.settings.token_budget <= limit.tokens:
                return run(self, *arguments)
            handle = self.model.register_forward_pre_hook(full)
            try:
                return run(self, *arguments)
            finally:
                handle.remove()

        limit = self
        Runner.run = limited  # type: ignore[method-assign, assignment]


@dataclass(frozen=True, slots=True)
class FilesLimited:
    """No file grows beyond so many bytes, as under a quota; Python ignores the signal of it."""

    size: int

    def apply(self) -> None:
        """Sets the limit of this process."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, resource.RLIM_INFINITY))


@dataclass(frozen=True, slots=True)
class ClockJumps:
    """The wall clock jumps by up to a year, either way, whenever somebody reads it."""

    seed: int

    def apply(self) -> None:
        """Puts another clock in the place of every way to read the time of day."""
        draw, real, form = random.Random(self.seed), time.time, time.strftime

        def jumped() -> float:
            return real() + draw.uniform(-1, 1) * 365 * 86_400

        class Jumping(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> Any:
                return cls.fromtimestamp(jumped(), tz)

        time.time = jumped
        time.strftime = lambda text, moment=None: form(text, moment or time.localtime(jumped()))
        whole = types.ModuleType("datetime")
        whole.__dict__.update({**vars(datetime), "datetime": Jumping})
        # Not everywhere: compiled modules look into the true one.
        for name, module in list(sys.modules.items()):
            if name.startswith(("optuna.", "search.", "studies.")):
                if getattr(module, "datetime", None) is datetime.datetime:
                    module.datetime = Jumping  # type: ignore[attr-defined]
                elif getattr(module, "datetime", None) is datetime:
                    module.datetime = whole  # type: ignore[attr-defined]


def kill_myself() -> None:
    """What kill -9, and a kernel without memory, does: no handler runs, nothing is closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def on_statements(step: Callable[[], None]) -> None:
    """Calls `step` at every step of every connection of this process."""
    import sqlalchemy as sa

    for event in ("before_cursor_execute", "after_cursor_execute", "commit"):
        sa.event.listen(sa.Engine, event, lambda *_: step())


def on_files(step: Callable[[], None]) -> None:
    """Calls `step` before a file is opened, or moved to its place."""
    for name in ("open", "replace"):
        _before(Path, name, step)


def _at(number: int, act: Callable[[], None]) -> Callable[[], None]:
    """A step that acts when it is called for the time of this number, from 0."""
    seen = [0]

    def step() -> None:
        seen[0] += 1
        if seen[0] == number + 1:
            act()

    return step


def _before(owner: type, name: str, step: Callable[[], None]) -> None:
    whole = getattr(owner, name)

    def stepped(*arguments: Any, **named: Any) -> Any:
        step()
        return whole(*arguments, **named)

    setattr(owner, name, stepped)
