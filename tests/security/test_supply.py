"""What is installed: pinned with hashes, refused where they differ, audited or said not to be."""

import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
SETUP = (ROOT / "scripts" / "setup").read_text()
ENTRIES = [one for one in re.split(r"\n(?=\S)", LOCK.strip()) if not one.startswith("#")]


def test_every_dependency_is_pinned_with_a_hash() -> None:
    assert len(ENTRIES) > 100
    for entry in ENTRIES:
        first, *hashes = entry.replace("\\\n", "\n").splitlines()
        assert re.match(r"^[A-Za-z0-9_.-]+(\[[a-z,]+\])?==[^ ]+", first), first
        assert hashes and all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64} *", h) for h in hashes)
    assert "://" not in LOCK and "\n--" not in LOCK and "-e " not in LOCK


def test_the_lock_has_what_the_project_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[=\[]", one)[0].lower() for one in ENTRIES}
    wanted = {re.split(r"[<>=\[; ]", one)[0].lower() for one in project["dependencies"]}
    assert wanted - names == {"torch"}


def test_setup_installs_nothing_without_hashes_but_one_torch() -> None:
    lines = [line for line in SETUP.splitlines() if re.match(r'"\$\{pip\[@\]\}"', line)]
    assert lines == [
        '"${pip[@]}" torch==2.13.0',
        '"${pip[@]}" --require-hashes --no-deps -r requirements.lock',
        '"${pip[@]}" --no-deps --editable .',
    ]


@pytest.mark.parametrize("digest", ["right", "wrong", "none"])
def test_a_package_that_was_swapped_is_not_installed(tmp_path, digest) -> None:
    """Pip as `scripts/setup` calls it, with a wheel that is not the locked one."""
    import hashlib

    wheel = tmp_path / "zz_swapped-1.0-py3-none-any.whl"
    info = "zz_swapped-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: zz-swapped\nVersion: 1.0\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    known = hashlib.sha256(wheel.read_bytes()).hexdigest() if digest == "right" else "0" * 64
    pin = "zz-swapped==1.0" + ("" if digest == "none" else f" --hash=sha256:{known}")
    (tmp_path / "lock").write_text(pin + "\n")
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--find-links"]
    options = [tmp_path, "--require-hashes", "--no-deps", "-r", tmp_path / "lock"]
    done = subprocess.run([*pip, *options], capture_output=True, text=True)
    assert (done.returncode == 0) == (digest == "right"), done.stderr


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """`scripts/audit_report.py`."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts/audit_report.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_audit_asks_about_everything(audit) -> None:
    asked = audit.locked(LOCK, SETUP)
    assert len(asked) == len(ENTRIES) + 1 and "torch==2.13.0" in asked
    lists = audit.apart(asked)
    assert sorted(pin for one in lists for pin in one) == sorted(asked)
    for one in lists:
        assert len({pin.split("==")[0].lower() for pin in one}) == len(one)


def test_what_was_not_answered_is_no_all_clear(audit) -> None:
    """Without a network pip-audit skips every package, and ends with 0."""
    skipped = {"name": "Jinja2", "skip_reason": "Dependency not found on PyPI"}
    sound = {"name": "Jinja2", "version": "3.1.6", "vulns": []}
    bug = {"id": "PYSEC-1", "fix_versions": ["3.1.7"], "aliases": [], "description": ""}
    asked = ["jinja2==3.1.6"]
    assert audit.judged({"dependencies": []}, asked)[0] == 3
    assert audit.judged({"dependencies": [skipped]}, asked)[0] == 3
    assert audit.judged({"dependencies": [sound]}, asked)[0] == 0
    assert audit.judged({"dependencies": [sound]}, [*asked, "x==1"])[0] == 3
    code, lines = audit.judged({"dependencies": [{**sound, "vulns": [bug]}]}, [*asked, "x==1"])
    assert code == 1 and lines == [
        "Jinja2 3.1.6: PYSEC-1, mended in 3.1.7",
        "no answer about x==1",
    ]


def test_the_audit_is_part_of_a_release() -> None:
    assert "scripts/audit" in (ROOT / "CONTRIBUTING.md").read_text()
    assert subprocess.run(["bash", "-n", ROOT / "scripts" / "audit"]).returncode == 0
    assert (ROOT / "scripts" / "audit").stat().st_mode & 0o111
