"""A tracker in a thread of its own: what it is told waits in order until it has been taken.

A search never waits for a tracker. What fails stays first in line and is tried again after a
pause, so a server that was away gets everything once it is back; the user is told once.
"""

import os
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..wording import clean
from .facts import CandidateFacts, EndFacts, RunFacts, Tracker

PAUSE = 30.0
"""Seconds before a tracker that failed is asked again."""
SECRETS = ("WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
USERINFO = re.compile(r"(?<=://)[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to tell; `key` and `digest` say of which candidate, in which state."""

    send: Callable[[], None]
    key: str = ""
    digest: str = ""


@dataclass(slots=True)
class Feed:
    """Tells one tracker of one run. Made and asked in the search's thread."""

    tool: str
    tracker: Tracker
    run: RunFacts
    sent: dict[str, str]
    """Key to digest of what was taken: of earlier searches of the run at first."""
    pause: float = PAUSE
    _jobs: deque[Job] = field(default_factory=deque, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _closing: bool = field(default=False, init=False)
    _begun: bool = field(default=False, init=False)
    _again: float = field(default=0.0, init=False)
    _fault: str = field(default="", init=False)
    _told: bool = field(default=False, init=False)
    _lost: int = field(default=0, init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._jobs.append(Job(self._begin))
        self._thread = threading.Thread(target=self._work, name=f"track {self.tool}", daemon=True)
        self._thread.start()

    def candidate(self, facts: CandidateFacts) -> None:
        """Tells of a candidate, unless the tracker knows it in this state."""
        with self._changed:
            known = self.sent.get(facts.key) == facts.digest
            waits = any((one.key, one.digest) == (facts.key, facts.digest) for one in self._jobs)
            if not known and not waits:
                job = Job(lambda: self.tracker.candidate(facts), facts.key, facts.digest)
                self._jobs.append(job)
                self._changed.notify()

    def end(self, facts: EndFacts) -> None:
        """Tells how the search stopped."""
        with self._changed:
            self._jobs.append(Job(lambda: self.tracker.end(facts)))
            self._changed.notify()

    def fault(self) -> str:
        """The first fault, once."""
        if not self._fault or self._told:
            return ""
        self._told = True
        return f"{self._fault}; the search goes on, what is missing is sent when it answers"

    @property
    def waits(self) -> bool:
        """Whether there is something that the tracker has not taken."""
        return bool(self._jobs)

    @property
    def healthy(self) -> bool:
        """Whether nothing has failed yet."""
        return not self._fault

    def taken(self) -> dict[str, str]:
        """What the tracker has taken by now, for the next search of the run."""
        with self._changed:
            return dict(self.sent)

    def close(self, seconds: float) -> str:
        """Gives the tracker that long for what waits; says what it has not taken."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        with self._changed:
            missing = len(self._jobs) + self._lost
        if not missing:
            return ""
        why = self._fault or f"{self.tool} did not answer within {seconds:.0f} s"
        return f"{why}: {missing} of its messages are missing there"

    def _begin(self) -> None:
        self.tracker.begin(self.run)
        self._begun = True

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job.send()
            except Exception as error:
                self._failed(error)
            else:
                with self._changed:
                    self._jobs.popleft()
                    if job.key:
                        self.sent[job.key] = job.digest

    def _next(self) -> Job | None:
        """The first in line, when its time has come; None when there is no more to do."""
        with self._changed:
            while not self._closing:
                left = self._again - time.monotonic()
                if self._jobs and left <= 0:
                    return self._jobs[0]
                self._changed.wait(left if self._jobs else None)
            return self._jobs[0] if self._jobs else None

    def _failed(self, error: Exception) -> None:
        with self._changed:
            self._fault = self._fault or f"{self.tool}: {_harmless(error)}"
            self._again = time.monotonic() + self.pause
            if not self._closing:
                return
            if self._begun:  # a last try for each of the others
                self._jobs.popleft()
                self._lost += 1
            else:
                self._lost, self._jobs = len(self._jobs), deque()


def _harmless(error: Exception) -> str:
    """The fault on one line, without what the tracker's credentials are."""
    text = USERINFO.sub("", clean(f"{type(error).__name__}: {error}"))
    for name in SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return text if len(text) <= 300 else f"{text[:297]}..."
