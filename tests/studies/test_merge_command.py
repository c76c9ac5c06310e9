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


def test_an_encoder_needs_no_tokenizer(bench) -> None:
    from transformers import AutoModel, BertConfig, BertModel

    sizes = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    for name in ("base", "merged"):
        model = BertModel(BertConfig(**sizes, intermediate_size=24, max_position_embeddings=8))
        model.save_pretrained(bench.folder / "encoders" / name)
    (bench.folder / "encoders" / "recipe.yml").write_text(RECIPE)
    result = bench.call("merge", "encoders/recipe.yml", "encoder")
    assert result.exit_code == 0, result.stderr
    halves = [
        AutoModel.from_pretrained(bench.folder / "encoders" / name).pooler.dense.weight
        for name in ("base", "merged")
    ]
    mean = AutoModel.from_pretrained(bench.folder / "encoder").pooler.dense.weight
    assert ((halves[0] + halves[1]) / 2 - mean).abs().max() < 1e-6
