"""A command in a process of its own that can be killed, begun in milliseconds.

Its processes are forked from one that has imported everything and run nothing (the standard
library's fork server): a start costs no imports. Each keeps a journal of what it scored and
recorded, outside the run folder, by which nothing recorded can be lost unseen.
"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from fault_harms import Harm, Unharmed, on_files, on_statements
from pytest import MonkeyPatch

PATIENCE = 120.0
"""Seconds after which a command is said to hang."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line to run in a folder, with what is done to it from inside."""

    arguments: tuple[str, ...]
    folder: Path
    cache: Path
    notes: Path
    """Folder of its journal and of what it said."""
    harm: Harm = field(default_factory=Unharmed)
    own_workers: bool = False
    """Whether its workers, if it has any, keep the journal too, and suffer `worker_harm`."""
    worker_harm: Harm = field(default_factory=Unharmed)
    own_proposer: bool = False
    """Whether it proposes in a process of its own, which takes seconds to start, or in itself."""

    @property
    def journal(self) -> Path:
        """What was scored and recorded, line by line."""
        return self.notes / "journal"

    @property
    def said(self) -> Path:
        """Standard output and standard error of all commands of a case."""
        return self.notes / "said"


def start(command: Command) -> BaseProcess:
    """Begins a command in a process group of its own."""
    _warm_server()
    process = get_context("forkserver").Process(target=_run, args=(command,))
    process.start()
    return process


def _warm_server() -> None:
    """Starts the fork server, if there is none; it looks for modules where its environment says.

    What it cannot import it leaves out without a word; `_run` looks.
    """
    get_context("forkserver").set_forkserver_preload(["fault_warm"])
    here = Path(__file__).resolve().parent
    places = [str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
    with MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
        forkserver.ensure_running()


def finish(process: BaseProcess, patience: float = PATIENCE) -> int:
    """Waits for its end and gives its exit code, negative for a signal.

    Raises:
        TimeoutError: it hangs.
    """
    process.join(patience)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"still running after {patience:.0f} s")
    return process.exitcode


def journal(file: Path) -> list[list[str]]:
    """The journal so far, in words: `scored`, `recorded`; at the end `statements`, `files`."""
    if not file.is_file():
        return []
    return [line.split("\t") for line in file.read_text().splitlines()]


def work(file: Path) -> int:
    """Blocks that were scored, and backward passes."""
    return Counter(line[0] for line in journal(file))["scored"]


def lines(file: Path, kind: str) -> list[list[str]]:
    """The lines of a kind in the journal so far."""
    return [line for line in journal(file) if line[0] == kind]


def count(file: Path, what: str) -> int:
    """How many statements or files there were in a command that ended in order."""
    (found,) = (int(line[1]) for line in journal(file) if line[0] == what)
    return found


def until(reached: Callable[[], bool], process: BaseProcess) -> None:
    """Waits for something to come about, or for the process to end."""
    deadline = time.monotonic() + PATIENCE
    while process.exitcode is None and not reached():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for never came")
        time.sleep(0.002)


def _run(command: Command) -> None:
    if "fault_warm" not in sys.modules:
        raise RuntimeError("the fork server has imported nothing")
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the command itself begins
    os.chdir(command.folder)
    os.environ["EUTECTIC_CACHE"] = str(command.cache)
    said = os.open(command.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(said, stream)
    # Not what a test runner may have put there before the fork server began.
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
    keep_journal(command.journal)
    if command.own_workers:
        _harm_workers(command)
    if not command.own_proposer:
        _propose_here()
    command.harm.apply()
    from studies.cli import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["eutectic", *command.arguments]
    main()


def _harm_workers(command: Command) -> None:
    """Workers are forked from the fork server as well, which spares seconds of imports each."""
    from fault_workers import serve

    import search.process_workers

    search.process_workers._serve = partial(serve, command.worker_harm, command.journal)
    search.process_workers.multiprocessing = _Forking()  # type: ignore[assignment]


class _Forking:
    """The module `multiprocessing`, as far as workers are concerned."""

    def get_context(self, _method: str) -> Any:
        return get_context("forkserver")


def keep_journal(file: Path) -> Callable[..., None]:
    """Writes down what this process scores and records; gives what writes a line."""
    from evaluation.harness import Harness
    from search.ledger import Ledger

    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(*words: object) -> None:
        os.write(handle, ("\t".join(map(str, words)) + "\n").encode())

    score, loss, slope, record = (
        Harness.score,
        Harness.gold_loss,
        Harness.gold_gradient,
        Ledger.record,
    )

    def scoring(whole: Callable[..., Any]) -> Callable[..., Any]:
        def scored(self: object, task: str, *arguments: Any) -> Any:
            write("scored", task)
            return whole(self, task, *arguments)

        return scored

    def recorded(self: Ledger, *key: Any, **named: Any) -> None:
        record(self, *key, **named)
        owner = named.get("owner", key[5] if len(key) > 5 else None)
        whose = f"{owner.kind} {owner.number}" if owner is not None else "-"
        write("recorded", *key[:4], whose, len(key[4]))

    Harness.score = scoring(score)  # type: ignore[method-assign]
    Harness.gold_loss = scoring(loss)  # type: ignore[method-assign]
    Harness.gold_gradient = scoring(slope)  # type: ignore[method-assign]
    Ledger.record = recorded  # type: ignore[method-assign]
    counted: Counter[str] = Counter()
    on_statements(lambda: counted.update(["statements"]))
    on_files(lambda: counted.update(["files"]))
    from multiprocessing.util import Finalize

    # Runs when a process ends in order.
    Finalize(None, lambda: [write(*one) for one in counted.items()], exitpriority=0)
    return write


def _propose_here() -> None:
    import studies.conduct
    from search.proposals import Proposal, ProposalRequest, propose

    class Here:
        """Computes what the process of its own computes, without its start."""

        def submit(self, request: ProposalRequest) -> "Future[Proposal]":
            future: Future[Proposal] = Future()
            future.set_result(propose(request))
            return future

        def __enter__(self) -> "Here":
            return self

        def __exit__(self, *exception: object) -> None:
            return None

    studies.conduct.Proposer = Here  # type: ignore[misc, assignment]


def words(arguments: Sequence[object]) -> tuple[str, ...]:
    """A command line."""
    return tuple(map(str, arguments))
