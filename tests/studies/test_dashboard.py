"""`eutectic dashboard` serves a run on loopback, and only there."""

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

pytest.importorskip("optuna_dashboard")


PLOTS = ("contour", "slice", "parallel_coordinate", "rank", "edf", "timeline", "pareto_front")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetched(url: str, server: "subprocess.Popen[str]") -> bytes:
    """What the server answers, once it does."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError), urllib.request.urlopen(url) as answer:
            return bytes(answer.read())
        time.sleep(0.1)
    raise AssertionError("no answer")


def test_the_dashboard_shows_the_trials(searched) -> None:
    port = free_port()
    command = "from studies.cli import main; main()"
    arguments = ["dashboard", str(searched.run), "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-c", command, *arguments], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            page = fetched(f"http://127.0.0.1:{port}/dashboard/", server)
            assert b"<html" in page.lower()
            studies = json.loads(fetched(f"http://127.0.0.1:{port}/api/studies", server))
            assert [one["study_name"] for one in studies["study_summaries"]] == ["pico"]
            check_pages(f"http://127.0.0.1:{port}", server)
            assert server.stdout is not None
            assert f"http://127.0.0.1:{port}/" in server.stdout.readline()
            with socket.socket() as other:
                other.settimeout(2)
                assert other.connect_ex((own_address(), port)) != 0
        finally:
            server.terminate()


def check_pages(address: str, server: "subprocess.Popen[str]") -> None:
    """What each page of the dashboard asks for: names, trials, note, every plot."""
    study = json.loads(fetched(f"{address}/api/studies/1", server))
    assert study["objective_names"] == ["sums", "lines"]
    assert study["directions"] == ["maximize", "minimize"]
    assert "merge_method" in study["note"]["body"] and "| winner minus |" in study["note"]["body"]
    told = {one["key"]: one["value"] for one in study["user_attrs"]}
    assert told["search"] == "finished" and told["winner"] in study["note"]["body"]
    assert len(study["trials"]) == 6 and study["best_trials"]
    for trial in study["trials"]:
        known = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert known["items"] == "40" and known["feasible"] == "True" and known["origin"]
        assert trial["datetime_start"] < trial["datetime_complete"]
        assert {one["name"] for one in trial["params"]} == {
            "alpha.weight", "alpha.density", "beta.weight"
        }  # fmt: skip
    for kind in PLOTS:
        assert json.loads(fetched(f"{address}/api/studies/1/plot/{kind}", server)), kind
    shares = json.loads(fetched(f"{address}/api/studies/1/param_importances", server))
    assert len(shares["param_importances"]) == 2
    table = fetched(f"{address}/csv/1", server).decode().splitlines()
    assert len(table) == 7 and table[0].startswith("Number,State,sums,lines,")


def own_address() -> str:
    """An address of this machine that is not loopback, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            found = "192.0.2.1"
    return "192.0.2.1" if found.startswith("127.") else found
