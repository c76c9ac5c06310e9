"""Recipes of several stages on the command line: merge, explain, check, evaluate."""

import json
import shutil

import pytest

FIRST = """\
name: first
merge_method: task_arithmetic
base_model: base
models:
  - {model: alpha, parameters: {weight: 0.5}}
dtype: float32
"""
FINAL = """\
merge_method: ties
base_model: first
models:
  - {model: beta, parameters: {weight: 0.7, density: 0.5}}
dtype: bfloat16
"""
STACK = """\
name: first
merge_method: linear
slices:
  - sources: [{model: base, layer_range: [0, 3]}]
  - sources: [{model: alpha, layer_range: [1, 3]}]
parameters: {weight: 1.0}
dtype: bfloat16
"""


def stacked_final(own: str = "first") -> str:
    return f"merge_method: linear\nmodels: [{{model: {own}, parameters: {{weight: 1.0}}}}]\n"


@pytest.fixture
def staged(bench):
    """A bench with `staged.yml`, and the same recipes to be merged one after the other."""
    (bench.folder / "staged.yml").write_text(f"{FINAL}---\n{FIRST}")
    (bench.folder / "one.yml").write_text(FIRST)
    (bench.folder / "two.yml").write_text(FINAL)
    return bench


def by_hand(bench, one: str = "one.yml", two: str = "two.yml"):
    for recipe, out in ((one, "first"), (two, "hand")):
        assert bench.call("merge", recipe, out).exit_code == 0
    shutil.move(bench.folder / "first", bench.folder / "by_hand_first")
    return bench.folder / "hand"


def test_merge_writes_what_two_merges_write(staged) -> None:
    result = staged.call("merge", "staged.yml", "out")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "wrote out (29 tensors, after the stages first)\n"
    out = staged.folder / "out"
    for file in by_hand(staged).iterdir():
        if file.name != "mergekit_config.yml":
            assert (out / file.name).read_bytes() == file.read_bytes()
    assert (out / "mergekit_config.yml").read_text() == f"{FINAL}---\n{FIRST}"


def test_a_model_of_a_stage_is_not_replaced(staged) -> None:
    shutil.copytree(staged.folder / "alpha", staged.folder / "gone")
    (staged.folder / "gone" / "mergekit_config.yml").write_text("x: 1\n")
    (staged.folder / "staged.yml").write_text(f"{FINAL}---\n{FIRST.replace('alpha', 'gone')}")
    result = staged.call("merge", "staged.yml", "gone", "--overwrite")
    assert result.exit_code == 2 and "is gone, a model of the recipe" in result.stderr


def test_explain_shows_the_final_recipe(staged) -> None:
    result = staged.call("explain", "staged.yml")
    assert result.exit_code == 0, result.stderr
    first, *rest = result.stdout.splitlines()
    assert first == "the final recipe, which builds on the stages first"
    assert "ties, 29 tensors" in rest and "(1) beta     0.7      0.5" in rest
    rows = json.loads(staged.call("explain", "staged.yml", "--json").stdout)
    assert {row["model"] for row in rows} == {"beta", None}


def test_check_reads_every_stage(staged) -> None:
    result = staged.call("check", "staged.yml", "--json")
    found = json.loads(result.stdout)
    assert found["stages"] == ["first"]
    assert sorted(found["models"]) == ["alpha", "base", "beta"]
    (staged.folder / "staged.yml").write_text(f"{FINAL}---\n{FIRST.replace('alpha', 'nobody')}")
    result = staged.call("check", "staged.yml")
    assert result.exit_code == 2 and "nobody" in result.stderr
    assert "staged.yml:11:13 models[0].model: " in result.stderr


@pytest.mark.parametrize("stack", [False, True], ids=["same layers", "other layers"])
def test_evaluate_scores_what_the_merge_by_hand_scores(staged, stack: bool) -> None:
    """A stage lends the live model its weights, and may have layers that its base has not."""
    if stack:
        for name, text in (("one", STACK), ("two", stacked_final()),
                           ("staged", f"{STACK}---\n{stacked_final()}")):  # fmt: skip
            (staged.folder / f"{name}.yml").write_text(text)

    def scores(model: str) -> object:
        result = staged.call("evaluate", model, "--study", staged.study, "--threads", 1, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)["tasks"]

    assert scores("staged.yml") == scores(str(by_hand(staged)))


def test_a_study_is_one_document(staged) -> None:
    staged.study.write_text(f"{staged.text}---\n{FIRST}")
    for command in ("check", "search"):
        result = staged.call(command, staged.study)
        assert result.exit_code == 2
        assert "a second YAML document begins here" in result.stderr
        assert "`eutectic merge`" in result.stderr
    result = staged.call("init", "staged.yml")
    assert result.exit_code == 2 and "staged.yml:7:1 a second YAML document" in result.stderr


def test_modules_are_merged_and_not_searched(bench) -> None:
    text = (
        "merge_method: linear\nmodules:\n  default:\n    models: [{model: alpha}, {model: beta}]\n"
    )
    (bench.folder / "m.yml").write_text(text + "parameters: {weight: 1.0}\n")
    assert bench.call("merge", "m.yml", "out").exit_code == 0
    result = bench.call("init", "m.yml")
    assert (
        result.exit_code == 2 and "m.yml:2:1 modules: modules cannot be searched" in result.stderr
    )
    models = bench.text[bench.text.index("  models:") : bench.text.index("  parameters: {norm")]
    indented = "".join(f"    {line}\n" for line in models.splitlines())
    bench.change((models, f"  modules:\n    default:\n{indented}"))
    result = bench.call("check", bench.study)
    assert result.exit_code == 2 and "recipe.modules: modules cannot be searched" in result.stderr
