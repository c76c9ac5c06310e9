"""A whole search on a Ray cluster, and one whose nodes leave and join in the middle."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harmed_workers import opens_nowhere
from ray_nodes import RayNodes

from search.errors import WorkerLostError
from search.ledger import Candidate, Ledger
from search.ray_workers import RaySource

pytestmark = pytest.mark.xdist_group("ray")

SLOW = """\
  - name: letters
    file: sums.jsonl
    type: generate
    prompt: "{{question}}"
    score: scorer.py:letters
    max_new_tokens: 4
constraints:"""
SCORER = """\
import pathlib, time

def letters(row, text):
    if pathlib.Path(__file__).with_name("slow").exists():
        time.sleep(0.02)
    return len(set(text)) / 8
"""


def known(run: Path) -> dict[tuple[str, str], Any]:
    """Every recipe's results on every task."""
    with Ledger(f"sqlite:///{run / 'study.db'}") as ledger:
        everyone = everybody(ledger)
        settings = ledger.meta("settings")
        return {
            (one.recipe_hash, task): found
            for one in everyone
            for task in ("sums", "lines", "letters")
            if (found := ledger.results(one.recipe_hash, settings, task))
        }


def slowed(bench: Any) -> tuple[object, ...]:
    """A study that takes its time while a file `slow` is there; what its search is told."""
    scorer = bench.folder / "scorer.py"
    scorer.write_text(SCORER, encoding="utf-8")
    bench.change(("constraints:", SLOW))
    return "--trials", 14, "--allow-code", scorer


def everybody(ledger: Ledger) -> list[Candidate]:
    return [*ledger.candidates("reference"), *ledger.candidates("trial")]


def test_a_cluster_finds_what_one_process_finds_though_nodes_leave_and_join(
    bench: Any, ray_cluster: RayNodes
) -> None:
    trials = slowed(bench)
    alone = bench.search(*trials, "--out", bench.folder / "alone")
    (bench.folder / "slow").touch()
    assert alone.exit_code == 0, alone.output
    log = bench.run / "log.txt"
    command = [
        sys.executable, "-c", "from studies.cli import main; main()", "search", bench.study,
        *trials, "--threads", 1, "--executor", "ray", "--address", ray_cluster.address,
        "--progress", "plain",
    ]  # fmt: skip
    with subprocess.Popen([str(one) for one in command], stderr=subprocess.PIPE) as search:
        wait_until(lambda: log.is_file() and "trial 3/" in log.read_text())
        ray_cluster.remove(killed=True)
        ray_cluster.add()
        _, told = search.communicate(timeout=120)
    assert search.returncode == 0, told.decode()
    ours, theirs = known(bench.run), known(bench.folder / "alone")
    both = ours.keys() & theirs.keys()
    assert len(both) > 20 and all(ours[one] == theirs[one] for one in both)
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        trials_there = ledger.candidates("trial")
    assert len(trials_there) == 14 and not any(one.state == "failed" for one in trials_there)
    assert "left with its node; another takes its place" in log.read_text()


def test_terminated_it_is_saved_and_goes_on_without_ray(bench: Any, ray_cluster: RayNodes) -> None:
    trials = slowed(bench)
    (bench.folder / "slow").touch()
    log = bench.run / "log.txt"
    before = signal.getsignal(signal.SIGTERM)

    def terminate() -> None:
        wait_until(lambda: log.is_file() and "trial 2/" in log.read_text())
        os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(terminate)
        found = bench.search(*trials, "--executor", "ray", "--address", ray_cluster.address)
    assert found.exit_code == 130 and "the same command goes on" in found.stderr, found.output
    assert signal.getsignal(signal.SIGTERM) == before
    (bench.folder / "slow").unlink()
    found = bench.search(*trials)
    assert found.exit_code == 0, found.output
    with Ledger(f"sqlite:///{bench.run / 'study.db'}") as ledger:
        assert [one.state for one in ledger.candidates("trial")].count("complete") == 14


def test_the_pool_grows_and_shrinks_with_the_cluster(bench: Any, ray_cluster: RayNodes) -> None:
    source = RaySource(opens_nowhere, None, 1, False, ray_cluster.address)
    try:
        assert source.wanted() == 2
        more = ray_cluster.add(cpus=3)
        wait_until(lambda: source.wanted() == 5)
        assert source.count is None
        ray_cluster.remove(more)
        wait_until(lambda: source.wanted() == 2)
        with pytest.raises(WorkerLostError, match="node .*: this study opens nowhere"):
            source.start(0, None)
    finally:
        source.close()
    assert source.wanted() == 0
    with pytest.raises(WorkerLostError, match="too late"):
        source.start(0, None)


def test_another_version_on_a_node_is_refused(
    ray_cluster: RayNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = RaySource(opens_nowhere, 1, 1, False, ray_cluster.address)
    monkeypatch.setattr("search.ray_workers.own_version", lambda: "9.9")
    try:
        with pytest.raises(WorkerLostError, match="node .* has eutectic .*the search runs 9.9"):
            source.start(0, None)
    finally:
        source.close()


def test_what_no_node_has_is_told(bench: Any, ray_cluster: RayNodes) -> None:
    for option, need in (("--threads", "7 CPU"), ("--device", "1 CPU and 1 GPU")):
        value = "7" if option == "--threads" else "cuda"
        found = bench.call(
            "search", bench.study, "--executor", "ray", "--address", ray_cluster.address,
            option, value,
        )  # fmt: skip
        assert found.exit_code == 2, found.output
        assert f"asks for {need}, none of its 3 nodes has that" in found.stderr
        assert not bench.run.exists() or not (bench.run / "study.db").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "auto"], "give --executor ray too"),
        (["--executor", "ray", "--address", "nowhere"], "expected auto, HOST:PORT or ray://"),
        (["--executor", "ray", "--address", "127.0.0.1:9"], "no Ray cluster answers there"),
        (["--executor", "ray", "--device", "cuda:1"], "--device cuda:1|Ray hands out the GPUs"),
    ],
)
def test_a_fault_of_the_command_line(bench: Any, arguments: list[str], message: str) -> None:
    found = bench.call("search", bench.study, *arguments)
    assert found.exit_code == 2 and re.search(message, found.stderr), found.output
    assert not (bench.run / "study.db").exists()


def test_ray_that_is_not_installed_is_told(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    found = bench.search("--executor", "ray")
    assert found.exit_code == 2 and "pip install '.[ray]'" in found.stderr


def wait_until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 90
    while not so():
        assert time.monotonic() < until
        time.sleep(0.05)
