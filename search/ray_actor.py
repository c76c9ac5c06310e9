"""What runs in a Ray actor: a servant, as in a worker process.

It is loaded from the eutectic that is installed on the node. Answers go back pickled by
themselves, so that what was raised arrives as it was raised.
"""

import os
import pickle
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .workers import Call, Servant, packed


def own_version() -> str:
    """Of the eutectic of this process; empty where it is not installed but lies on the path."""
    try:
        return version("eutectic")
    except PackageNotFoundError:
        return ""


class Answerer:
    """One actor: first asked who it is, then told to open the study, then asked."""

    _servant: Servant

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` is set before anything heavy is loaded."""
        os.environ.update(environment)
        with suppress(ValueError):  # Ctrl-C is the coordinator's; Ray may not be in a main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def card(self) -> dict[str, Any]:
        """Who this is: plain data, as who asks may be of another version."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        names = {"version": own_version(), "machine": socket.gethostname()}
        return {**names, "node": node, "process": os.getpid()}

    def open(self, opening: bytes, folder: str, token_budget: int | None) -> bytes:
        """Opens the study, with relative paths beginning at `folder`: its terms, packed."""
        try:
            with suppress(OSError):  # a study whose paths are absolute needs no such folder
                os.chdir(folder)
            self._servant = Servant(pickle.loads(opening)(token_budget))
        except Exception as error:
            return packed(False, error)
        return packed(True, self._servant.terms)

    def answer(self, question: Call | None) -> bytes:
        """What a call asks for; None asks for fewer tokens at once."""
        try:
            servant = self._servant
            found = servant.shrink() if question is None else servant.answer(question)
        except Exception as error:
            return packed(False, error)
        return packed(True, found)
