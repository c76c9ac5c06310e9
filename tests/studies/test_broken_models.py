"""Broken model folders: each command gives one line that names the file, code 2, no output."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from broken_models import SINGLE, TABLES
from fuzz_models import write_adapter, write_model, write_shards, write_tokenizer
from typer.testing import CliRunner, Result

from studies.cli import app

CASES = [
    pytest.param(kind, name, id=f"{kind}: {name}")
    for kind, table in TABLES.items()
    for name in table
]
ONLY_WEIGHTS = ("NaN", "Inf")
"""What `explain`, which reads headers only, cannot see."""


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder: a sound base, an expert to break, and a recipe of the two."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "base", 1)
    yield tmp_path


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def recipe(folder: Path, kind: str) -> None:
    model = "base+expert" if kind == "adapter" else "expert"
    (folder / "recipe.yml").write_text(
        "merge_method: task_arithmetic\nbase_model: base\n"
        f"models: [{{model: {model}, parameters: {{weight: 0.5}}}}]\n"
    )
    expert = folder / "expert"
    {"single": write_model, "sharded": write_shards, "adapter": write_adapter}[kind](expert, 2)
    if kind != "adapter":
        write_tokenizer(folder / "base")
        write_tokenizer(expert)


@pytest.mark.parametrize("kind", TABLES)
def test_sound_models_merge(zoo: Path, kind: str) -> None:
    recipe(zoo, kind)
    assert call("check", "recipe.yml").exit_code == 0
    assert call("merge", "recipe.yml", "out").exit_code == 0
    assert sorted(path.name for path in zoo.iterdir()) == ["base", "expert", "out", "recipe.yml"]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_broken_models(zoo: Path, kind: str, name: str) -> None:
    recipe(zoo, kind)
    damage, message = TABLES[kind][name]
    damage(zoo / "expert")
    before = sorted(path.name for path in zoo.iterdir())
    for command in (("check",), ("merge",), ("explain",)):
        if command == ("explain",) and name in ONLY_WEIGHTS:
            continue
        result = call(*command, "recipe.yml", *(["out"] if command == ("merge",) else []))
        assert result.exit_code == 2, (command, result.output, result.exception)
        assert result.stdout == "" and "Traceback" not in result.stderr
        assert result.stderr.startswith("eutectic: ") and result.stderr.count("\n") == 1
        assert message in result.stderr, result.stderr
        assert "expert" in result.stderr or "recipe.yml" in result.stderr
        assert sorted(path.name for path in zoo.iterdir()) == before


EVALUATED = ("cut off", "shape", "NaN", "more layers", "a pipe", "config not JSON")


@pytest.mark.parametrize("name", EVALUATED)
def test_evaluate(bench, name: str) -> None:
    damage, message = SINGLE[name]
    shutil.copytree((bench.folder / "alpha").resolve(), bench.folder / "expert")
    damage(bench.folder / "expert")
    result = bench.call("evaluate", "./expert", "--study", bench.study, "--threads", 1)
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stderr.count("\n") == 1 and message in result.stderr
    assert "expert" in result.stderr


def test_numbers_beyond_the_dtype_are_refused(zoo: Path) -> None:
    recipe(zoo, "single")
    text = (zoo / "recipe.yml").read_text().replace("0.5", "1e30") + "dtype: float16\n"
    (zoo / "recipe.yml").write_text(text)
    result = call("merge", "recipe.yml", "out")
    assert result.exit_code == 2 and "gives numbers beyond float16" in result.stderr
    assert not (zoo / "out").exists()
