"""The wheel holds all that runs, the source archive all that is read; neither holds tests."""

import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from studies.view import RunView

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("evaluation", "merging", "search", "studies")
RUN = """\
import pickle, sys
from pathlib import Path
from studies.report import render
from studies.schema_file import schema_text
import evaluation, merging, search, studies
print(*(Path(one.__file__).parents[1] for one in (evaluation, merging, search, studies)))
Path(sys.argv[2]).write_text(render(pickle.loads(Path(sys.argv[1]).read_bytes())))
Path(sys.argv[3]).write_text(schema_text())
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; scripts/setup brings it")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d"]
    subprocess.run([*command, str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(built.glob("*.whl")))


def kept(package: str) -> set[str]:
    """Every file of a package, but for what Python leaves behind."""
    files = (one for one in (ROOT / package).rglob("*") if one.is_file())
    return {str(one.relative_to(ROOT)) for one in files if "__pycache__" not in one.parts}


def test_the_wheel_is_the_four_packages(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == set().union(*(kept(package) for package in PACKAGES))
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_the_wheel_has_licence_and_command(wheel: zipfile.ZipFile) -> None:
    known = {PurePosixPath(name).name: name for name in wheel.namelist() if ".dist-info/" in name}
    assert "Apache License" in wheel.read(known["LICENSE"]).decode()
    assert "eutectic = studies.cli:main" in wheel.read(known["entry_points.txt"]).decode()


def test_the_source_archive_has_docs_and_no_tests(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = [PurePosixPath(one) for one in archive.getnames()]
    tops = {one.parts[1] for one in names}
    assert {*PACKAGES, "docs", "scripts", "README.md", "LICENSE", "pyproject.toml"} <= tops
    assert "tests" not in tops and not [one for one in names if "__pycache__" in one.parts]


def test_what_the_code_opens_is_in_the_wheel(
    wheel: zipfile.ZipFile, make_view: Callable[..., RunView], tmp_path: Path
) -> None:
    home, view, page, schema = (tmp_path / name for name in ("home", "view", "r.html", "s.json"))
    wheel.extractall(home)
    view.write_bytes(pickle.dumps(make_view(trials=4)))
    ran = subprocess.run(
        [sys.executable, "-c", RUN, view, page, schema],
        cwd=tmp_path,
        env={"PYTHONPATH": str(home), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert set(ran.stdout.split()) == {str(home)}
    assert "</html>" in page.read_text() and "$schema" in schema.read_text()
