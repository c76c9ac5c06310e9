"""A Ray cluster on this machine: a head without CPUs, and nodes that come and go."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from search.ray_cluster import QUIET, alone

STORE = {"object_store_memory": 80 * 2**20}
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A node that was killed is missed within seconds, not a quarter of a minute."""


@contextmanager
def ray_nodes(nodes: int, cpus: int = 1) -> Iterator[Any]:
    """Ray's own `Cluster`, with `nodes` of so many CPUs beside the head."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'eutectic[ray]'")
    path = os.pathsep.join(sys.path)  # what is tested, and modules beside the tests
    os.environ.update({**alone(), **QUIET, "PYTHONPATH": path})
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH, **STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus, **STORE)
        yield cluster
    finally:
        cluster.shutdown()
