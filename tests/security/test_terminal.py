"""Names in a terminal: no escape sequence, no turned direction, no second line."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = {
    "colours": "a\x1b[31mb",
    "a title": "a\x1b]0;owned\x07b",
    "a link": "a\x1b]8;;https://evil.example\x1b\\b",
    "c1": "a\x9b31mb",
    "carriage return": "a\rfine: nothing is wrong",
    "two lines": "a\neutectic: fine",
    "turned": "a\u202egpj.exe",
    "isolated": "a\u2066b\u2069",
    "line separator": "a\u2028b",
    "rich markup": "[link=https://evil.example]a[/link]",
    "emoji markup": "a :skull: [red]b[/red]",
}
ODD = set("\x1b\x07\x9b\r\u202e\u2066\u2069\u2028")


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_in_a_message(bench, kind) -> None:
    name = NAMES[kind]
    for arguments in (("check", name), ("trials", name), ("merge", name, "out"), ("init", name)):
        result = bench.call(*arguments)
        assert result.exit_code == 2 and result.stderr.count("\n") == 1
        assert not ODD & set(result.stderr), result.stderr


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind != "two lines"])
def test_a_name_that_a_study_says(bench, kind) -> None:
    bench.change(("- model: alpha", f"- model: {json.dumps(NAMES[kind])}"))
    for command in ("check", "search", "explain"):
        result = bench.call(command, bench.study)
        assert result.exit_code == 2, result.output
        assert not ODD & set(result.output), result.output


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_that_a_strangers_run_says(another, poison, kind) -> None:
    poison(another.run, "alpha", NAMES[kind])
    result = another.call("trials", another.run)
    assert result.exit_code == 0, result.stderr
    assert not ODD & set(result.stdout)
    lines = result.stdout.splitlines()
    assert not any(line.startswith(("eutectic: ", "fine: ")) for line in lines)


def test_a_real_terminal(bench) -> None:
    """Rich writes sequences of its own there; a model's name makes none and turns nothing."""
    name = "a [red]b [link=https:evil]c \u202ed"
    (bench.folder / name).symlink_to((bench.folder / "alpha").resolve())
    bench.change(("- model: alpha", f"- model: {json.dumps(name)}"))
    command = [sys.executable, "-c", "from studies.cli import main; main()", "check", bench.study]
    main, other = pty.openpty()
    with subprocess.Popen(
        command,
        cwd=bench.folder,
        stdout=other,
        stderr=other,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        os.close(other)
        shown = b""
        try:
            while piece := os.read(main, 65536):
                shown += piece
        except OSError:  # the other end was closed
            pass
        process.wait(60)
    os.close(main)
    text = shown.decode()
    assert process.returncode == 0, text
    assert "[red]b [link=https:evil]c" in text and "\u202e" not in text and "\x1b]8;" not in text
