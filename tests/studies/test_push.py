"""`export --push-to-hub` against a stand-in of the hub's HTTP interface, on loopback."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
import yaml
from safetensors.torch import load_file

TOKEN = "hf_standin_0123456789"
FILES = {"README.md", "config.json", "mergekit_config.yml", "model.safetensors", "tokenizer.json",
         "tokenizer_config.json"}  # fmt: skip


@dataclass
class Hub:
    """What the stand-in was given: repositories by branch and file, LFS objects by sha256."""

    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    down: str = ""
    """A part of a path that is answered with 500."""
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """The calls that huggingface_hub makes for an upload, as the hub answers them."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        """A question."""
        self._handle("GET")

    def do_POST(self) -> None:
        """Most calls."""
        self._handle("POST")

    def do_PUT(self) -> None:
        """The bytes of a large file."""
        self._handle("PUT")

    def _handle(self, verb: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{verb} {path}")
        if self.hub.down and self.hub.down in path:
            return self._answer(500, {"error": "out of order"})
        if path.startswith("/objects/"):
            self.hub.objects[path.rsplit("/", 1)[-1]] = body
            return self._answer(200, {})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid username or password."})
        if path == "/api/whoami-v2":
            return self._answer(200, {"name": "ann", "type": "user", "orgs": []})
        if path == "/api/validate-yaml":
            matter = json.loads(body)["content"].split("---\n")[1]
            return self._answer(
                200, {"errors": [], "warnings": [], "data": yaml.safe_load(matter)}
            )
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        _, _, _, user, name, *rest = path.split("/")
        self._repo(f"{user}/{name}", rest, body)

    def _repo(self, repo: str, rest: list[str], body: bytes) -> None:
        branches = self.hub.repos.get(repo)
        if branches is None:
            return self._answer(404, {"error": "not found"}, RepoNotFound=True)
        match rest:
            case []:
                self._answer(200, {"id": repo, "sha": "0" * 40, "siblings": [], "tags": []})
            case ["branch", branch]:
                branches.setdefault(branch, dict(branches["main"]))
                self._answer(200, {})
            case ["tree", branch, *_]:
                listed = [
                    {"type": "file", "path": path, "size": len(data), "oid": "1" * 40}
                    for path, data in branches[branch].items()
                ]
                self._answer(200, listed)
            case ["preupload", branch]:
                modes = [
                    {
                        "path": one["path"],
                        "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for one in json.loads(body)["files"]
                ]
                self._answer(200, {"files": modes})
            case ["commit", branch]:
                self._commit(repo, branches[branch], body)
            case _:
                self._answer(404, {"error": "no such call"})

    def _create(self, asked: dict) -> None:
        name = (
            asked["name"]
            if "/" in asked["name"]
            else f"{asked.get('organization')}/{asked['name']}"
        )
        self.hub.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
        there = name in self.hub.repos
        self.hub.repos.setdefault(name, {"main": {}})
        self._answer(409 if there else 200, {"url": f"{self.hub.url}/{name}", "name": name})

    def _batch(self, asked: dict) -> None:
        upload = [
            {
                "oid": one["oid"],
                "size": one["size"],
                "actions": {
                    "upload": {"href": f"{self.hub.url}/objects/{one['oid']}", "header": {}}
                },
            }
            for one in asked["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": upload})

    def _commit(self, repo: str, files: dict[str, bytes], body: bytes) -> None:
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            match line["key"]:
                case "header":
                    self.hub.messages.append(value["summary"])
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        url = f"{self.hub.url}/{repo}/commit/{'2' * 40}"
        self._answer(200, {"success": True, "commitOid": "2" * 40, "commitUrl": url})

    def _answer(self, status: int, data: object, **headers: object) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if headers:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub of its own, with nothing in it."""
    made = Hub()
    handler = type("OwnHandler", (Handler,), {"hub": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


def pushed(hub: Hub, home: Path, *arguments: object, token: str = TOKEN):
    """`eutectic export ...` in a process of its own, which knows this hub and this token."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": token,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",  # the stand-in takes LFS uploads
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    command = [sys.executable, "-c", "from studies.cli import main; main()", "export"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=environment
    )


def test_a_winner_goes_to_the_hub(hub: Hub, searched, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "merged"
    push = [searched.run, "--trial", 3, "-o", tmp_path / "t.yaml", "--weights", out]
    push += ["--push-to-hub", "ann/pico"]
    hub.down = "/commit/"
    failed = pushed(hub, tmp_path / "home", *push, "--private")
    assert failed.returncode == 2 and "the same command with --yes goes on" in failed.stderr
    assert "Traceback" not in failed.stderr and out.is_dir()
    hub.down = ""
    refused = pushed(hub, tmp_path / "home", *push)
    assert refused.returncode == 2 and "ann/pico: it is there already; --yes" in refused.stderr
    hub.repos["ann/pico"]["main"]["model-00001-of-00002.safetensors"] = b"an older one"
    hub.repos["ann/pico"]["main"]["notes.txt"] = b"somebody's"
    done = pushed(hub, tmp_path / "home", *push, "--yes", "--commit-message", "As searched")
    assert done.returncode == 0, done.stderr
    assert f"uploaded to {hub.url}/ann/pico" in done.stderr and hub.private["ann/pico"] is False
    assert hub.messages == ["As searched"]

    files = hub.repos["ann/pico"]["main"]
    assert FILES <= files.keys() and files["notes.txt"] == b"somebody's"
    assert "model-00001-of-00002.safetensors" not in files
    there = tmp_path / "there"
    there.mkdir()
    for name, data in files.items():
        (there / name).write_bytes(data)
        assert str(tmp_path.parent).encode() not in data, name
        assert TOKEN.encode() not in data
    ours, theirs = (load_file(one / "model.safetensors") for one in (out, there))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert AutoModelForCausalLM.from_pretrained(there).dtype == torch.bfloat16
    assert len(AutoTokenizer.from_pretrained(there)) == 64
    assert ModelCard.load(there / "README.md").data.tags == ["mergekit", "merge", "eutectic"]
    assert hashlib.sha256(files["model.safetensors"]).hexdigest() in hub.objects


def test_a_branch_of_a_private_repository(hub: Hub, searched, tmp_path: Path) -> None:
    """Of weights that were built before, to stay here."""
    built = searched.call("export", searched.run, "--weights", tmp_path / "merged")
    assert built.exit_code == 0 and str(tmp_path.parent) in built.stdout
    again = searched.call("export", searched.run, "--weights", tmp_path / "merged")
    assert again.exit_code == 2 and "merged: not empty; choose another folder\n" in again.stderr
    done = pushed(
        hub, tmp_path, searched.run, "-o", tmp_path / "w.yaml", "--weights", tmp_path / "merged",
        "--push-to-hub", "ann/pico", "--private", "--revision", "v2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert hub.private["ann/pico"] is True and hub.messages == [
        "Upload a merge found with eutectic"
    ]
    assert FILES <= hub.repos["ann/pico"]["v2"].keys() and not hub.repos["ann/pico"]["main"]
    there = hub.repos["ann/pico"]["v2"].values()
    assert not any(str(tmp_path.parent).encode() in data for data in there)
    assert f"{hub.url}/ann/pico/tree/v2" in done.stderr


def test_a_stranger_is_refused_before_building(hub: Hub, searched, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    push = [searched.run, "--weights", out, "--push-to-hub", "ann/pico"]
    refused = pushed(hub, tmp_path / "home", *push, token="hf_wrong")
    assert refused.returncode == 2 and not out.exists() and not hub.repos
    assert refused.stderr.startswith("eutectic: --push-to-hub ann/pico: ")
    assert "Traceback" not in refused.stderr and "hf_wrong" not in refused.stderr
    assert "oken" in refused.stderr and len(refused.stderr.splitlines()) == 1, refused.stderr


def test_nobody_is_refused_before_building(another, monkeypatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    result = another.call("export", another.run, "--weights", "out", "--push-to-hub", "ann/pico")
    assert result.exit_code == 2 and not (another.folder / "out").exists()
    assert "`hf auth login`, or set HF_TOKEN" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "out", "--push-to-hub", "ann/pico"], "switched off by HF_HUB_OFFLINE"),
        (["--weights", "out", "--push-to-hub", "pico"], "expected USER/NAME"),
        (["--weights", "out", "--push-to-hub", "ann/p/q"], "--push-to-hub ann/p/q"),
        (["--weights", "out", "--push-to-hub", "ann/..\n[31m"], "--push-to-hub ann/.. [31m"),
        (["--push-to-hub", "ann/pico"], "say where to build with --weights DIR"),
        (["--weights", "out", "--private"], "are for --push-to-hub"),
    ],
)
def test_what_cannot_be_pushed_is_refused(another, arguments, message) -> None:
    result = another.call("export", another.run, *arguments)
    assert result.exit_code == 2 and message in result.stderr, result.stderr
    assert not (another.folder / "out").exists()
