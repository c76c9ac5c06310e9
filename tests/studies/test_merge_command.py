"""`eutectic merge` never writes over what it reads."""

RECIPE = """\
merge_method: linear
models:
  - {model: ./base, parameters: {weight: 1.0}}
  - {model: ./merged, parameters: {weight: 1.0}}
"""


def test_a_model_of_the_recipe_is_not_replaced(bench) -> None:
    (bench.folder / "first.yml").write_text(RECIPE.replace("./merged", "./alpha"))
    assert bench.call("merge", "first.yml", "merged").exit_code == 0
    (bench.folder / "second.yml").write_text(RECIPE)
    before = (bench.folder / "merged" / "model.safetensors").read_bytes()
    result = bench.call("merge", "second.yml", "merged", "--overwrite")
    assert result.exit_code == 2 and "a model of the recipe" in result.stderr
    assert (bench.folder / "merged" / "model.safetensors").read_bytes() == before
