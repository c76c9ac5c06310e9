"""Five hundred files made or damaged by chance, and some models; `scripts/stress`: thousands."""

from collections import Counter
from pathlib import Path

import pytest
from fuzz_models import write_bench, write_zoo
from fuzz_mutations import draw
from fuzz_recipes import recipe_text
from fuzz_rules import (
    Broken,
    bounded,
    examine_model,
    examine_recipe,
    examine_study,
    one_message,
    open_zoo,
    recipe_case,
    study_case,
)

from merging.consistency import is_tied
from merging.errors import RecipeError
from merging.methods.table import METHODS

SEED = 2026


def test_recipes(tmp_path: Path) -> None:
    zoo = open_zoo(write_zoo(tmp_path))
    found = Counter(examine_recipe(recipe_case(tmp_path, SEED, n), zoo) for n in range(400))
    assert found["merged"] > 50 and len(found) >= 4, found


def test_studies(tmp_path: Path) -> None:
    bench = write_bench(tmp_path)
    found = Counter(examine_study(study_case(bench, SEED, number)) for number in range(100))
    assert found["no fault found"] and found["refused"] > 50, found


def test_models(tmp_path: Path) -> None:
    is_tied({"model_type": "llama"})  # imports transformers, which takes longer than a case may
    names = [tmp_path / str(number) for number in range(40)]
    found = Counter(examine_model(draw(SEED, n), name) for n, name in enumerate(names))
    assert found["merged"] > 8 and found["refused as a source"] > 8, found


def test_every_method_is_drawn() -> None:
    texts = "".join(recipe_text(draw(SEED, number)) for number in range(400))
    assert all(f"merge_method: {name}\n" in texts for name in METHODS)


def test_what_breaks_a_rule_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "f.yml"
    file.write_text("a: 1\n")
    one_message(RecipeError(f"{file}:1:4 expected b"), file)
    for text in (
        "",
        "two\nlines",
        f"{file}: no place",
        f"{file}:9:1 beyond",
        "\x1b[31m",
        "x" * 20_000,
    ):
        with pytest.raises(Broken):
            one_message(RecipeError(text), file)
    with pytest.raises(Broken, match="took more than 0.05 seconds"), bounded(0.05):
        while True:
            pass
    with pytest.raises(Broken, match="more memory"), bounded(megabytes=1):
        assert len(bytes(400 << 20).replace(b"\0", b"x", 1)) == 400 << 20
    with pytest.raises(Broken, match="KeyError"), bounded():
        raise KeyError("base")
