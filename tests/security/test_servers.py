"""Servers of eutectic's listen on loopback unless told otherwise, and answer their own browser."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("optuna_dashboard")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listeners(port: int) -> set[str]:
    """The addresses that this machine listens at, as the kernel lists them (Linux)."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                if state == "0A" and int(local.split(":")[1], 16) == port:
                    found.add(local.split(":")[0])
    return found


@contextlib.contextmanager
def dashboard(run: Path, *options: str) -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    port = free_port()
    arguments = ["dashboard", str(run), "--port", str(port), *options]
    command = [sys.executable, "-c", "from studies.cli import main; main()", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            assert f":{port}/" in server.stdout.readline()
            deadline = time.monotonic() + 60
            while not listeners(port) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield port, server
        finally:
            server.terminate()


def asked(port: int, method: str = "GET", path: str = "/api/studies", **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_dashboard_listens_on_loopback_and_answers_its_own_browser(searched) -> None:
    with dashboard(searched.run) as (port, _):
        assert listeners(port) == {"0100007F"}  # 127.0.0.1, and no other address
        mine = f"127.0.0.1:{port}"
        assert asked(port, Host=mine) == 200 == asked(port, Host=f"localhost:{port}")
        assert asked(port, Host=f"evil.example:{port}") == 403  # a name that leads to 127.0.0.1
        assert asked(port) == 403
        assert asked(port, Host=mine, Origin=f"http://{mine}") == 200
        for method in ("GET", "POST", "DELETE"):
            path = "/api/studies/1"
            assert asked(port, method, path, Host=mine, Origin="https://evil.example") == 403
            assert asked(port, method, path, Host=mine, Origin="null") == 403
        assert asked(port, path="/api/studies/1", Host=mine) == 200  # nothing deleted it


def test_another_address_is_told_with_a_warning(searched) -> None:
    with dashboard(searched.run, "--host", "0.0.0.0") as (port, server):
        assert listeners(port) == {"00000000"}
        assert asked(port, Host=f"machine.example:{port}") == 200
        assert asked(port, Host="machine.example", Origin="https://evil.example") == 403
        server.terminate()
        assert server.stderr is not None
        assert "warning: --host 0.0.0.0: whoever reaches port" in server.stderr.read()


@pytest.mark.parametrize("host", ["256.1.1.1.1", "a\nb", "", " ", "é" * 80])
def test_an_address_that_is_none(searched, refused, host) -> None:
    refused(searched.call("dashboard", searched.run, "--host", host), "--host")


def test_no_other_server_is_in_the_code() -> None:
    """Whoever adds one binds it to loopback, and adds it here."""
    words = ("http.server", "socketserver", "run_server", "make_server", "HTTPServer(")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("merging", "evaluation", "search", "studies")
        for path in (ROOT / folder).rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    assert found == {"studies/dashboard.py"}
