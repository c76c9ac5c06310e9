"""A Ray cluster on this machine, on the loopback device: a head, and nodes that come and go."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from search.ray_cluster import QUIET, alone, handlers_kept

os.environ.update({**QUIET, **alone(), "RAY_AUTH_MODE": "token"})  # read when Ray is imported
ROOT = Path(__file__).resolve().parents[2]
STORE = {"object_store_memory": 80 * 2**20}
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A node that was killed is missed within seconds, not a quarter of a minute."""


class RayNodes:
    """The nodes of a cluster whose head has no CPUs."""

    def __init__(self) -> None:
        """Starts the head."""
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH, **STORE}
        with _tested():
            self.cluster = Cluster(initialize_head=True, head_node_args=head)

    @property
    def address(self) -> str:
        """HOST:PORT of the head."""
        return str(self.cluster.address)

    def add(self, cpus: int = 1) -> Any:
        """A node joins."""
        with _tested():
            return self.cluster.add_node(num_cpus=cpus, **STORE)

    def remove(self, node: Any = None, *, killed: bool = False) -> None:
        """A node leaves, or is killed; any that is there."""
        node = node or next(iter(self.cluster.worker_nodes))
        self.cluster.remove_node(node, allow_graceful=not killed)


@contextmanager
def ray_nodes(count: int) -> Iterator[RayNodes]:
    """A cluster with so many nodes of one CPU beside the head; skips where Ray is not there."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install '.[ray]'")
    nodes = RayNodes()
    try:
        for _ in range(count):
            nodes.add()
        yield nodes
    finally:
        nodes.cluster.shutdown()


@contextmanager
def _tested() -> Iterator[None]:
    """Processes that start here import what is tested, and modules beside the tests."""
    before = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "simulation"), before])
    with handlers_kept(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path)
        yield
