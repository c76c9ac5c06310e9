"""Whatever stops a merge or an export: one message, nothing under the final name, a next run."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fuzz_models import write_adapter, write_model
from typer.testing import CliRunner, Result

from studies.cli import app

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
merge_method: task_arithmetic
base_model: ./base
models:
  - {model: ./alpha, parameters: {weight: 0.5}}
"""


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: two models and a recipe of them."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("base", "alpha")):
        write_model(tmp_path / name, seed)
    (tmp_path / "recipe.yml").write_text(RECIPE)
    return tmp_path


def merge(out: object, *options: str) -> Result:
    return CliRunner().invoke(app, ["merge", "recipe.yml", str(out), *options])


def refused(result: Result, message: str) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.startswith("eutectic: ") and result.stderr.count("\n") == 1
    assert message in result.stderr, result.stderr


def inside(folder: Path) -> list[str]:
    """Everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A file system of its own in memory; skips where that is not allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Files of at most `size` bytes, as a quota has it; Python ignores the signal of it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_too_small_for_the_weights(zoo: Path) -> None:
    with mounted(zoo / "disk", "size=4k") as disk:
        refused(merge(disk / "out"), "the weights need 0.00 GB, 0.00 GB are free")
        assert inside(disk) == []


def test_a_disk_that_fills_up_while_writing(zoo: Path) -> None:
    with mounted(zoo / "disk", "size=16k") as disk:
        refused(merge(disk / "out"), "disk/out: cannot be written: No space left on device")
        assert inside(disk) == []


def test_a_quota(zoo: Path) -> None:
    with limited(5000):
        refused(merge("out"), "out: cannot be written: File too large")
    assert sorted(path.name for path in zoo.iterdir()) == ["alpha", "base", "recipe.yml"]


def test_a_read_only_disk(zoo: Path) -> None:
    with mounted(zoo / "disk", "size=1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        refused(merge(disk / "out"), "cannot be written: Read-only file system")
        refused(merge(disk / "deep" / "out"), "cannot be written: Read-only file system")


def test_a_mount_point_takes_no_name(zoo: Path) -> None:
    with mounted(zoo / "disk", "size=1m") as disk:
        refused(merge(disk), "disk: a mount point, which cannot take a name; give a folder in it")
        assert merge(disk / "out").exit_code == 0


@pytest.mark.parametrize(
    ("make", "out", "message"),
    [
        (lambda at: at.write_text("x"), "there/out", "there is a file, not a folder"),
        (lambda at: at.write_text("x"), "there", "a file of this name is in the way"),
        (os.mkfifo, "there", "a file of this name is in the way"),
        (lambda at: at.symlink_to(at), "there", "a file of this name is in the way"),
        (lambda at: at.mkdir(), "x" * 300, "File name too long"),
        (lambda at: at.symlink_to("alpha"), "there", "is ./alpha, a model of the recipe"),
        (lambda at: at.symlink_to("base"), "there", "is ./base, a model of the recipe"),
        (lambda at: at.symlink_to("."), "there/alpha", "is ./alpha, a model of the recipe"),
        (lambda at: at.symlink_to("."), "there/../alpha", "is ./alpha, a model of the recipe"),
        (lambda at: at.symlink_to("."), "there", "not a checkpoint folder"),
    ],
)
def test_places_where_nothing_can_go(
    zoo: Path, make: Callable[[Path], object], out: str, message: str
) -> None:
    make(zoo / "there")
    if out.startswith("there/.."):
        (zoo / "there").unlink()
        (zoo / "there").mkdir()
    before = inside(zoo)
    refused(merge(out, "--overwrite"), message)
    assert inside(zoo) == before


def test_links_to_a_free_place_are_followed(zoo: Path) -> None:
    (zoo / "empty").mkdir()
    (zoo / "one").symlink_to("empty")
    (zoo / "two").symlink_to("elsewhere/new")
    for name, place in (("one", "empty"), ("two", "elsewhere/new")):
        assert merge(name).exit_code == 0
        assert (zoo / name).is_symlink() and (zoo / place / "model.safetensors").is_file()


def test_long_names(zoo: Path) -> None:
    assert merge("ä" * 125).exit_code == 0


def test_the_adapter_of_the_recipe_is_not_replaced(zoo: Path) -> None:
    write_adapter(zoo / "adapter", 1)
    (zoo / "recipe.yml").write_text(RECIPE.replace("./alpha", "./base+./adapter"))
    refused(merge("adapter", "--overwrite"), "not a checkpoint folder, so it is not replaced")


def test_a_parent_that_vanishes(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from merging import writer

    described = writer.describe

    def vanish(folder: Path, *rest: object) -> None:
        described(folder, *rest)
        shutil.rmtree(zoo / "parent")

    monkeypatch.setattr(writer, "describe", vanish)
    refused(merge("parent/out"), "parent/out: cannot be written: No such file or directory")


SLOW = """\
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from merging import merge
from studies.cli import main
done = merge.merge_tensor
def slowly(*args, **kwargs):
    print("merging", flush=True)
    time.sleep(0.3)
    return done(*args, **kwargs)
from merging import writer
writer.merge_tensor = slowly
sys.argv = ["eutectic", "merge", "recipe.yml", "out"]
main()
"""


def stopped(zoo: Path, number: int) -> subprocess.CompletedProcess[str]:
    """A merge in a process of its own that gets a signal at its third tensor."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_DISABLE_JIT": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW],
        cwd=zoo,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for _ in range(3):
            assert process.stdout.readline() == "merging\n"
        process.send_signal(number)
        errors = process.stderr.read()
        return subprocess.CompletedProcess([], process.wait(30), "", errors)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(zoo: Path, number: int) -> None:
    before = inside(zoo)
    ended = stopped(zoo, number)
    assert (ended.returncode, ended.stderr) == (130, "eutectic: interrupted\n")
    assert inside(zoo) == before


def test_killed(zoo: Path) -> None:
    assert stopped(zoo, signal.SIGKILL).returncode == -signal.SIGKILL
    (left,) = zoo.glob(".out.*.partial")
    assert not (zoo / "out").exists()
    assert merge("out").exit_code == 0
    assert not left.exists() and (zoo / "out" / "model.safetensors").is_file()


def test_a_merge_under_way_is_not_swept(zoo: Path) -> None:
    from merging.scratch import scratch_folder

    with scratch_folder(zoo / "out") as other:
        (other / "file").write_text("mine")
        assert merge("out").exit_code == 0
        assert (other / "file").read_text() == "mine"
    assert not other.exists()


def test_export_on_a_disk_that_fills_up(another) -> None:
    """The weights fit, the model card does not: nothing stands under the name."""
    with mounted(another.folder / "disk", "size=64k") as disk:
        filler = disk / "filler"
        sizes = []
        for size in range(60, 0, -4):
            filler.write_bytes(b"x" * (size << 10))
            result = another.call("export", another.run, "--weights", disk / "out")
            sizes.append(result.exit_code)
            if result.exit_code == 0:
                break
            assert result.exit_code == 2 and result.stderr.count("\n") == 1
            assert inside(disk) == ["filler"]
        assert len(sizes) > 3 and sizes[-1] == 0
        assert (disk / "out" / "README.md").is_file()


def test_export_over_a_file(another) -> None:
    result = another.call("export", another.run, "--weights", another.study)
    refused(result, "study.yaml: a file of this name is in the way")
