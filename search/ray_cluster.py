"""A Ray cluster: one that runs already, or a small one here, which ends with the search."""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import WorkersError, told_in_short

STORE_BYTES = 80 * 2**20
"""Of the object store of a cluster started here: only calls and scores go through it."""
REACH_SECONDS = 10.0
"""An address that takes no connection by then is refused."""
HEAD_SECONDS = 15.0
"""So long the head of a cluster may be silent."""
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}


def alone() -> dict[str, str]:
    """The environment of a cluster of one machine: on the loopback device, with its own token.

    Without a token Ray makes one, and leaves it in the user's home folder.
    """
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }


def _known_token() -> dict[str, str]:
    """Shows a cluster the user's token where there is one: Ray itself would have to be told to."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    there = named or (Path.home() / ".ray" / "auth_token").is_file()
    return {"RAY_AUTH_MODE": "token"} if there else {}


@dataclass(frozen=True, slots=True)
class Need:
    """What one actor asks for."""

    cpus: int
    gpus: int

    def times(self, resources: Mapping[str, float]) -> int:
        """How many actors fit in resources."""
        fit = int(resources.get("CPU", 0) // self.cpus)
        return min(fit, int(resources.get("GPU", 0) // self.gpus)) if self.gpus else fit

    def __str__(self) -> str:
        return f"{self.cpus} CPU" + (f" and {self.gpus} GPU" if self.gpus else "")


class RayCluster:
    """A connection to a cluster, for this process."""

    def __init__(self, address: str | None, need: Need, count: int) -> None:
        """Connects; without an address a cluster for `count` actors is started on this machine.

        Raises:
            WorkersError: Ray is not installed, or no cluster answers there.
        """
        self.name = "the Ray cluster on this machine" if address is None else f"Ray at {address}"
        self.ray = _loaded(address is None)
        self._ours = not self.ray.is_initialized()
        self._known: dict[str, Mapping[str, float]] = {}
        self._heard = time.monotonic()
        if self._ours:
            self._connect(address, need, count)
        remote = (address or "").startswith("ray://")
        self._head = "" if remote else self.ray.get_runtime_context().gcs_address

    def _connect(self, address: str | None, need: Need, count: int) -> None:
        if address not in (None, "auto"):
            _reach(str(address))
        own: dict[str, Any] = {"address": address}
        if address is None:
            cpus = max(need.cpus * count, os.cpu_count() or 1)
            own = {"address": "local", "num_cpus": cpus, "object_store_memory": STORE_BYTES}
            own |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            with handlers_kept():
                self.ray.init(**own, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # of many kinds
            raise WorkersError(
                f"{self.name}: {told_in_short(error)} (a cluster of another Ray or Python? one "
                "that asks for a token: RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN?)"
            ) from None

    def nodes(self) -> dict[str, Mapping[str, float]]:
        """The nodes that are there now, with all that each has; the last known of a silent head.

        Raises:
            WorkersError: the head is gone. Ray would end this process after a minute.
        """
        if self.silent():
            if time.monotonic() - self._heard > HEAD_SECONDS:
                raise WorkersError(f"{self.name}: its head does not answer any more")
            return self._known
        every = self.ray.nodes()
        self._known = {one["NodeID"]: one["Resources"] for one in every if one.get("Alive")}
        return self._known

    def free(self) -> Mapping[str, float]:
        """What nobody uses now, of all nodes together."""
        found: Mapping[str, float] = {} if self.silent() else self.ray.available_resources()
        return found

    def silent(self) -> bool:
        """Whether the head takes no connections; Ray's own calls wait for one that is gone."""
        if self._head and _fault(self._head):
            return True
        self._heard = time.monotonic()
        return False

    def close(self) -> None:
        """Leaves the cluster; ends it if it was started here."""
        if self._ours:
            self._ours = False
            self.ray.shutdown()


def _loaded(here: bool) -> Any:
    """Ray, told to keep quiet."""
    for name, value in {**QUIET, **(alone() if here else _known_token())}.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise WorkersError(
            "--executor ray needs Ray: pip install '.[ray]' in its folder, on every node"
        ) from None
    from ray._private import worker

    # Ray prints raylets' messages to the driver's standard output, whatever `log_to_driver` says.
    vars(worker).update(print_to_stdstream=_unheard)
    return ray


def _unheard(*_: object, **__: object) -> None:
    """Workers that die are told by the pool, in its words."""


def _reach(address: str) -> None:
    """Refuses an address where nobody listens, for which Ray itself waits very long."""
    place = address.removeprefix("ray://")
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise WorkersError(f"--address {address}: expected auto, HOST:PORT or ray://HOST:PORT")
    if fault := _fault(place):
        raise WorkersError(f"--address {address}: no Ray cluster answers there: {fault}")


def _fault(place: str) -> str:
    """Why nobody takes connections at HOST:PORT; empty where somebody does."""
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        return str(error)
    return ""


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; an interrupted search ends in order, and is saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit:  # Ray's own way to end
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
