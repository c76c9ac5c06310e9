"""Help, versions and completion: what a person meets before any command runs."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from studies.cli import app

COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_a_sentence_for_each_option(command: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, [command, "--help"], env={"TERM": "dumb"})
    assert shown.exit_code == 0 and f"Example: eutectic {command}" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    for parameter in get_command(app).commands[command].params:  # type: ignore[attr-defined]
        assert getattr(parameter, "help", None), parameter.name


def test_the_nearest_command_is_named() -> None:
    result = CliRunner().invoke(app, ["chekc"])
    assert result.exit_code == 2 and "Did you mean 'check'?" in result.stderr


def test_versions_without_importing_what_they_are_of() -> None:
    code = (
        "import sys; from studies.cli import app\n"
        "try: app(['--version'])\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch', 'optuna', 'transformers', 'plotly', 'numba', 'lm_eval'}\n"
        "print(code, sorted(heavy & set(sys.modules)))"
    )
    lines = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert lines[0] == f"eutectic {version('eutectic')}" and lines[-1] == "0 []"
    told = dict(line.split(maxsplit=1) for line in lines[1:-2])
    assert {"python", "torch", "transformers", "optuna", "lm_eval", "plotly"} <= set(told)
    assert told["torch"] == version("torch")


def completed(words: list[str], folder: Path, shell: str = "bash") -> list[str]:
    """What a shell is offered behind these words, the last of which is being typed."""
    environment = {
        "PATH": "", "HOME": str(folder), "PYTHONPATH": ":".join(sys.path), "COLUMNS": "200",
        "_EUTECTIC_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": " ".join(["eutectic", *words]), "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": " ".join(["eutectic", *words]),
    }  # fmt: skip
    code = "import sys; sys.argv[0] = 'eutectic'; from studies.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    return re.findall(r'[("]"([^"]+)"', done.stdout) if shell == "zsh" else done.stdout.split()


def test_completion_knows_commands_runs_and_trials(tmp_path: Path) -> None:
    for name in ("one", "two", "none"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    for name in ("one", "two"):
        (tmp_path / "runs" / name / "study.db").touch()
    (tmp_path / "runs" / "one" / "trials.csv").write_text(
        "number,state\n1,dropped\n12,failed\n2,x\n"
    )
    assert completed(["ch"], tmp_path) == ["check"]
    assert completed(["trials", "ru"], tmp_path) == ["runs/one", "runs/two"]
    assert completed(["report", "runs/t"], tmp_path, "zsh") == ["runs/two"]
    assert completed(["export", "runs/one", "--trial", "1"], tmp_path) == ["1", "12"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_the_completion_script_is_one_that_bash_takes(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["--show-completion", "bash"])
    if shown.exit_code != 0:  # typer asks the process tree for the shell
        shown = CliRunner().invoke(app, ["--show-completion"], env={"SHELL": "/bin/bash"})
    assert "complete -o default" in shown.stdout, shown.output
    done = subprocess.run(["bash", "-n"], input=shown.stdout, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_export_replaces_an_export_and_nothing_else(another) -> None:
    before = another.study.read_text()
    told = another.call("export", another.run, "-o", another.study)
    assert told.exit_code == 2 and "no exported recipe" in told.stderr
    assert another.study.read_text() == before
    for _ in range(2):
        assert another.call("export", another.run, "-o", "winner.yaml").exit_code == 0
