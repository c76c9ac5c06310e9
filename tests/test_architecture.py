"""The house's nevers, held to the truth: who may import whom, and when."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("merging", "evaluation", "search", "studies")
NEVER = {
    "merging": {"evaluation", "search", "studies", "optuna", "lm_eval", "plotly"},
    "evaluation": {"merging", "search", "studies", "optuna", "plotly"},
    "search": {"studies", "plotly", "lm_eval"},
    "studies": {"lm_eval"},
}
HEAVY = ("torch", "transformers", "lm_eval", "optuna", "plotly", "pandas", "numba", "scipy")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of every absolute import in a file, those inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", FOLDERS)
def test_arrows_point_down_only(folder: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in modules(folder)
        if (found := imported(path) & NEVER[folder])
    }
    assert not wrong


def test_only_the_lm_eval_module_imports_lm_eval() -> None:
    users = {path.stem for path in modules("evaluation") if "lm_eval" in imported(path)}
    assert users and all(name.startswith("lm_eval_") for name in users)


def test_only_the_plots_import_plotly() -> None:
    users = {path.stem for path in modules("studies") if "plotly" in imported(path)}
    assert users and all(name.startswith("plots") for name in users)


@pytest.mark.parametrize("folder", FOLDERS)
def test_inside_a_folder_imports_are_relative(folder: str) -> None:
    assert not [path for path in modules(folder) if folder in imported(path)]


def test_files_stay_small() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for folder in FOLDERS
        for path in modules(folder)
        if (count := len(path.read_text().splitlines())) > 330
    }
    assert not long


def test_help_imports_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom studies.cli import app\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr
