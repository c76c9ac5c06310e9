"""Recipes that are no files, names that nobody expects, terminals that cannot show them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_models import write_model
from typer.testing import CliRunner, Result

from merging.errors import SourceError
from merging.recipe import ModelReference
from merging.sources import open_checkpoint
from studies.cli import app

ROOT = Path(__file__).resolve().parents[2]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def recipe(file: Path, first: str = "./base", second: str = "./alpha") -> Path:
    file.write_text(
        "merge_method: linear\nparameters: {weight: 0.5}\n"
        f'models:\n  - model: "{first}"\n  - model: "{second}"\n',
        encoding="utf-8",
    )
    return file


@pytest.mark.parametrize("command", ["check", "merge", "explain"])
def test_recipes_that_are_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yml")
    Path("folder.yml").mkdir()
    Path("circle.yml").symlink_to("circle.yml")
    Path("nowhere.yml").symlink_to("gone")
    Path("device.yml").symlink_to("/dev/zero")
    with Path("huge.yml").open("wb") as stream:
        stream.truncate(10**12)
    Path("binary.yml").write_bytes(bytes(range(256)))
    told = {
        "pipe.yml": "is a pipe or a device; save the YAML to a file first",
        "device.yml": "is a pipe or a device",
        "folder.yml": "is a folder; give the YAML file in it",
        "circle.yml": "cannot be read: Too many levels of symbolic links",
        "nowhere.yml": "no such file",
        "huge.yml": "larger than 1 MiB",
        "binary.yml": ":2:118 the byte #x80 is not UTF-8",
        "x" * 300: "File name too long",
        "huge.yml/recipe.yml": "Not a directory",
    }
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, message in told.items():
        result = call(command, name, *(["out"] if command == "merge" else []))
        assert result.exit_code == 2, (name, result.exception)
        assert message in result.stderr and result.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("base", "--map base: expected NAME=PATH"),
        ("=base", "--map =base: expected NAME=PATH"),
        ("base=", "--map base=: expected NAME=PATH"),
        ("org/x=nowhere", "the path nowhere does not exist"),
        ("org/x=" + "y" * 5000, "File name too long"),
        ("org/x=file", "expected a checkpoint folder, this is a file"),
        ("org/x=pipe", "expected a checkpoint folder"),
        ("org/x=circle", "the path circle does not exist"),
        ("org/x=empty", "no weights: expected model.safetensors"),
        ("other=base", "org/x: neither a folder in"),
    ],
)
def test_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "base", 0)
    recipe(tmp_path / "recipe.yml", second="org/x")
    Path("file").write_text("x")
    os.mkfifo("pipe")
    Path("circle").symlink_to("circle")
    Path("empty").mkdir()
    for command in (["check", "recipe.yml"], ["merge", "recipe.yml", "out"]):
        result = call(*command, "--map", entry)
        assert result.exit_code == 2, result.exception
        assert message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not Path("out").exists()


NAMES = (
    "a/b/c",
    "..",
    "a/../../b",
    "~root/model",
    "model:latest",
    "https://huggingface.co/org/model",
    "org/model.git",
    "-rf",
    "org/" + "x" * 200,
    "x" * 4000,
    "y/" * 2000 + "z",
    "org/模型",
    "org/model?x=%00",
    "CON",
    "org\\model",
    "\udc80",
    "a\x00b",
    "\u202egro/ledom",
)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_the_hub_could_not_have(tmp_path: Path, name: str) -> None:
    for reference in (ModelReference(name), ModelReference("org/x", revision=name)):
        with pytest.raises(SourceError) as caught:
            open_checkpoint(reference, folder=tmp_path)
        assert len(str(caught.value)) < 15_000


def test_names_of_bytes_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"caf\xe9.yml")
    result = call("check", name)
    assert result.exit_code == 2 and "\\udce9.yml: no such file" in result.stderr
    result = call("check", "two\nlines\x1b[31m.yml")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "\x1b" not in result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1"])
def test_terminals_of_few_characters(tmp_path: Path, encoding: str) -> None:
    write_model(tmp_path / "模型", 0)
    write_model(tmp_path / "alpha", 1)
    recipe(tmp_path / "rezept_é_模.yml", "./模型")
    environment = {**os.environ, "LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": encoding}
    environment |= {"PYTHONPATH": str(ROOT)}
    script = "from studies.cli import main; main()"

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", script, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)

    explained = run("explain", "rezept_é_模.yml")
    assert explained.returncode == 0 and b"Traceback" not in explained.stderr, explained.stderr
    missing = run("explain", "gibt_es_nicht_模.yml")
    assert missing.returncode == 2 and missing.stderr.count(b"\n") == 1
    assert rb"\u6a21" in missing.stderr
