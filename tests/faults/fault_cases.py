"""One case: the search of the bench, to be broken and resumed; and the undisturbed one."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fault_bench import Bench
from fault_process import Command, count, finish, journal, start, until, words, work
from fault_rules import Broken, hold_ended, hold_message, hold_recorded, hold_same


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The same search without a fault; its blocks, statements and files are moments."""

    bench: Bench
    run: Path
    blocks: int = 0
    statements: int = 0
    files: int = 0
    seconds: float = 0.0
    longest: float = 3.0
    """Seconds that a server is gone, at most."""


@dataclass(slots=True)
class Case:
    """One search to be broken: its folder, its draws, and its commands so far."""

    known: Undisturbed
    folder: Path
    chance: random.Random
    commands: list[Command]
    url: str = ""
    """Of the server that keeps the run; empty: its folder does."""

    @property
    def run(self) -> Path:
        """The run folder that is broken."""
        return self.folder / "runs" / "broken"

    def command(self, *options: object, **harms: Any) -> Command:
        """The next search of this case's run."""
        notes = self.folder / f"notes{len(self.commands)}"
        notes.mkdir(parents=True)
        bench = self.known.bench
        arguments = ["search", bench.study, "--quiet", "--threads", 1, "--out", self.run, *options]
        plain = Command(words(arguments), bench.folder, bench.cache, notes)
        self.commands.append(replace(plain, **harms))
        return self.commands[-1]

    def ends(self, command: Command, *codes: int) -> int:
        """Runs a command to its end, which must be one of `codes`; nothing recorded is lost."""
        return self.ended(finish(start(command)), command, *codes)

    def ended(self, code: int, command: Command, *codes: int) -> int:
        """The same of a command that has ended."""
        hold_message(command.said, code, codes)
        hold_recorded(self.run, [one.journal for one in self.commands], self.url)
        return code

    def resumed(self, faults: int, **harms: Any) -> int:
        """Goes on to the end, which is that of the undisturbed search; the blocks scored twice.

        Of them there is at most one for each of `faults`.
        """
        self.ends(self.command(*(("--storage", self.url) if self.url else ()), **harms), 0)
        hold_same(self.run, self.known.run, self.url)
        return self.repeated(faults)

    def repeated(self, faults: int) -> int:
        """Blocks scored twice so far."""
        twice = sum(work(one.journal) for one in self.commands) - self.known.blocks
        if twice > faults:
            raise Broken(f"{twice} blocks of work were repeated after {faults} faults")
        return max(twice, 0)

    def moment(self, process: Any, command: Command) -> None:
        """Waits for a moment drawn by chance: in start-up, or after so many blocks of work."""
        if self.chance.random() < 0.2:
            time.sleep(self.chance.uniform(0, 0.6 * self.known.seconds))
            return
        wanted = self.chance.randrange(self.known.blocks + 1)
        until(lambda: len(journal(command.journal)) >= 2 * wanted, process)
        time.sleep(self.chance.uniform(0, 0.05 if wanted < self.known.blocks else 1.0))


def undisturbed(bench: Bench) -> Undisturbed:
    """Runs the search that all others are compared with, after one that compiles the kernels."""
    for name in ("first", "undisturbed"):
        case = Case(Undisturbed(bench, Path()), bench.folder / name, random.Random(0), [])
        begun = time.monotonic()
        command = case.command()
        case.ends(command, 0)
        seconds = time.monotonic() - begun
    hold_ended(case.run)
    notes = command.journal
    counted = [count(notes, what) for what in ("statements", "files")]
    return Undisturbed(bench, case.run, work(notes), *counted, seconds)
