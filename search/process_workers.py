"""Worker processes on this machine: spawned, each with devices and threads of its own.

A worker opens the study by itself: models are memory-mapped, so the page cache is shared, and
nothing but plain data goes through its pipe. It leaves Ctrl-C to the coordinator, and ends when
the coordinator is gone.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, cast

from .errors import WorkerLostError
from .executors import Terms
from .processes import follow_parent, without_main
from .workers import START_SECONDS, THREADS, Call, Opening, Servant, packed


@dataclass(slots=True)
class ProcessSource:
    """Spawns workers of one study.

    `opening` is pickled to them; `devices` are values of CUDA_VISIBLE_DEVICES, of which worker n
    gets the n-th, beginning anew where there are fewer; empty: whatever this process sees.
    """

    opening: Opening
    count: int
    threads: int
    devices: Sequence[str] = ()
    _starting: set["ProcessWorker"] = field(default_factory=set, init=False)
    _closed: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def wanted(self) -> int:
        """As many as were asked for."""
        return self.count

    def start(self, place: int, token_budget: int | None) -> tuple["ProcessWorker", Terms]:
        """Spawns a worker and waits until it has opened the study."""
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        environment = {name: str(self.threads) for name in THREADS}
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[place % len(self.devices)]
        process = multiprocessing.get_context("spawn").Process(
            target=_serve,
            args=(theirs, self.opening, token_budget, environment),
            name=f"eutectic worker {place + 1}",
            daemon=True,
        )
        with self._lock:
            if self._closed:
                raise WorkerLostError("came too late")
            with without_main():
                process.start()
            worker = ProcessWorker(f"worker {place + 1} (process {process.pid})", process, ours)
            self._starting.add(worker)
        theirs.close()
        try:
            return worker, cast(Terms, worker.answer(START_SECONDS))
        except Exception:
            worker.kill()
            raise
        finally:
            with self._lock:
                self._starting.discard(worker)

    def close(self) -> None:
        """Kills those that are still starting: Python would wait for them at its exit."""
        with self._lock:
            self._closed = True
            starting = list(self._starting)
        for worker in starting:
            worker.kill()


class ProcessWorker:
    """A worker at the other end of a pipe."""

    def __init__(self, label: str, process: Any, connection: "Connection[Any, Any]") -> None:
        """Takes a process that was started."""
        self.label = label
        self.process = process
        self._connection = connection
        self._reaping = threading.Lock()

    def call(self, call: Call, seconds: float) -> Any:
        """Asks, and waits for the answer."""
        return self._asked(call, seconds)

    def shrink(self, seconds: float) -> int:
        """Fewer tokens at once."""
        return int(self._asked(None, seconds))

    def _asked(self, question: Call | None, seconds: float) -> Any:
        try:
            self._connection.send(question)
        except (OSError, ValueError) as error:
            # It died before it was asked: that says nothing of what it was to do.
            raise WorkerLostError(self._epitaph(), blameless=True) from error
        return self.answer(seconds)

    def answer(self, seconds: float) -> Any:
        """The next answer; raises what the worker raised, or WorkerLostError."""
        try:
            if not self._connection.poll(seconds):
                raise WorkerLostError(f"gave no answer within {seconds:.0f} s")
            good, found = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerLostError(self._epitaph()) from error
        if not good:
            raise found
        return found

    def kill(self) -> None:
        """SIGKILL: a worker that hangs hears nothing else."""
        self.process.kill()
        self._reap(10)
        with self._reaping, suppress(OSError):
            self._connection.close()

    def _reap(self, seconds: float) -> None:
        """Waits for its end; the thread that asks it and the one that kills it may both do so."""
        with self._reaping, suppress(OSError):
            self.process.join(timeout=seconds)

    def _epitaph(self) -> str:
        """How it died."""
        self._reap(5)
        code = self.process.exitcode
        if code is None:
            return "does not answer any more"
        if code == -signal.SIGKILL:
            return "was killed (out of memory?)"
        if code < 0:
            return f"died of {signal.Signals(-code).name}"
        return f"ended with exit code {code}"


def _serve(
    connection: "Connection[Any, Any]",
    opening: Opening,
    token_budget: int | None,
    environment: Mapping[str, str],
) -> None:
    """What a worker process does: opens the study, then answers until nobody asks any more."""
    os.environ.update(environment)  # before torch is loaded
    follow_parent()
    try:
        servant = Servant(opening(token_budget))
    except BaseException as error:
        connection.send_bytes(packed(False, error))
        return
    connection.send_bytes(packed(True, servant.terms))
    while True:
        try:
            question = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = servant.shrink() if question is None else servant.answer(question)
        except Exception as error:
            connection.send_bytes(packed(False, error))
        else:
            connection.send_bytes(packed(True, answer))
