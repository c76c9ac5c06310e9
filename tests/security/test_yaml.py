"""YAML from strangers: nothing is constructed, and what expands is bounded before it does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

COMMANDS = ("check", "search", "explain", "init")


def laughs(levels: int = 12, width: int = 10) -> str:
    """A thousand million values in a few hundred bytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        inner = ", ".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} [{inner}]")
    return "\n".join(lines) + "\n"


def merges(levels: int = 30) -> str:
    """The same by merge keys."""
    lines = ["m0: &m0 {k: v}"]
    for level in range(1, levels):
        lines.append(f"m{level}: &m{level} {{<<: [*m{level - 1}, *m{level - 1}]}}")
    return "\n".join(lines) + "\n"


BOMBS = {
    "aliases": (laughs(), "values once its aliases are expanded"),
    "merge keys": (merges(), "aliases are expanded"),
    "circle": ("a: &a [*a]\n", "an alias stands inside the value it names"),
    "deep": ("a: " + "[" * 100_000, "nested more than 32 deep"),
    "deep blocks": ("".join(" " * n + "a:\n" for n in range(200)), "nested more than 32 deep"),
    "wide": ("a: [" + "x, " * 60_000 + "]", "more than 50000 values"),
    "documents": ("--- a\n" * 10_000, "more than 256 documents"),
    "a long key": ("k" * 900 + ": 1\n", "a key of 900 characters"),
    "a long number": ("seed: " + "9" * 100_000 + "\n", "is not a plain decimal number"),
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("command", ["check", "init"])
def test_a_bomb(bench, refused, command, bomb) -> None:
    text, message = BOMBS[bomb]
    bench.study.write_text(text)
    start = time.perf_counter()
    refused(bench.call(command, bench.study), message)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {canary}']",
        "!!python/object/new:os.system ['touch {canary}']",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "!function evil.run",
        "!include /etc/passwd",
        "!!binary aGVsbG8=",
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_tag_that_makes_objects(bench, canary, refused, command, tag) -> None:
    bench.change(("name: pico", f"name: {tag.format(canary=canary)}"))
    refused(bench.call(command, bench.study), "is not plain data; remove it")
    assert not canary.exists()


def test_a_file_that_never_ends(bench, refused) -> None:
    (bench.folder / "endless.yaml").symlink_to("/dev/zero")
    refused(bench.call("check", "endless.yaml"), "endless.yaml")
    with (bench.folder / "huge.yaml").open("wb") as file:
        file.truncate(1 << 36)
    refused(bench.call("check", "huge.yaml"), "huge.yaml")


def test_the_study_of_a_strangers_run(another, refused) -> None:
    (another.run / "study.yaml").write_text(laughs())
    refused(another.call("verify", another.run), "aliases are expanded")


@pytest.mark.parametrize("where", ["the file", "what it includes"])
def test_a_task_of_lm_eval_that_is_too_deep(bench, where) -> None:
    """In a process of its own: libyaml's would fall in so deep a file, before it was trusted."""
    bomb = "group: " + "[" * 3_000_000
    tasks = bench.folder / "tasks"
    tasks.mkdir()
    named = "task: evil\ninclude: bomb\n" if where == "what it includes" else "task: evil\n" + bomb
    (tasks / "evil.yaml").write_text(named)
    (tasks / "bomb").write_text(bomb)
    old = "    file: lines.jsonl\n    type: loglikelihood\n    target: text\n"
    constraint = "constraints:\n  - {task: lines, metric: bits_per_byte, max_drop: 5.0}\n"
    bench.change((old, "    lm_eval: evil\n    include_path: tasks\n"), (constraint, ""))
    command = [sys.executable, "-c", "from studies.cli import main; main()", "check", bench.study]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2, (done.returncode, done.stderr)
    assert done.stderr.startswith("eutectic: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "bomb", [laughs(), "a: &a [*a]\n", "a: " + "{a: " * 1000, "a: !!python/name:os.system ''\n"]
)
def test_a_task_of_lm_eval(tmp_path, bomb) -> None:
    from evaluation.lm_eval_tasks_yaml import read_yaml

    (tmp_path / "evil.yaml").write_text(bomb)
    (tmp_path / "by.yaml").write_text("task: evil\ninclude: evil.yaml\n")
    for name in ("evil.yaml", "by.yaml"):
        with pytest.raises((ValueError, yaml.YAMLError)):
            read_yaml(tmp_path / name, resolve=False)
