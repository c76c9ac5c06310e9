"""A search among models of different vocabularies: scored, verified, exported as one of them."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

CHARACTERS = "zyxwvutsrqponmlkjihgfedcba0123456789 \n.,:;?!'\"()+-*/=<>_QATFéü"
SECTION = (
    "  dtype: bfloat16\n  tokenizer: {source: union, tokens: {é: {source: alpha, force: true}}}\n"
)


@pytest.fixture
def foreign(bench, write_pico_tokenizer):
    """The bench with an alpha whose rows stand in another order, and are two more."""
    place = (bench.folder / "alpha").resolve()
    (bench.folder / "alpha").unlink()
    folder = bench.folder / "alpha"
    shutil.copytree(place, folder)
    write_pico_tokenizer(folder, CHARACTERS)
    tensors = load_file(folder / "model.safetensors")
    old = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = torch.cat(
        [old[:4], old[4:30].flip(0), old[30:], old[:2]]
    )
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": len(old) + 2}))
    bench.change(("  dtype: bfloat16\n", SECTION), ("trials: 6", "trials: 3"))
    return bench


def test_from_check_to_weights(foreign) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = foreign.call("check", foreign.study)
    assert found.exit_code == 0, found.output
    assert "2 ordinary tokens become added tokens" in found.stderr
    result = foreign.search()
    assert result.exit_code == 0, result.stderr
    for arguments in ([], ["--trial", "1"]):
        result = foreign.call("verify", foreign.run, *arguments)
        assert result.exit_code == 0, result.output
    out, text = foreign.folder / "merged", foreign.folder / "elsewhere" / "t1.yaml"
    text.parent.mkdir()
    foreign.call("export", foreign.run, "--trial", 1, "-o", text)
    data = yaml.safe_load(text.read_text())
    assert data["tokenizer"] == {
        "source": "union",
        "tokens": {"é": {"source": str(foreign.folder / "alpha"), "force": True}},
    }
    result = foreign.call("merge", text, out)
    assert result.exit_code == 0, result.output
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(out),
        AutoTokenizer.from_pretrained(out),
    )
    assert model.config.vocab_size == len(tokenizer) == len(model.get_input_embeddings().weight)
    assert tokenizer("zé").input_ids == [29, 64]
    found = [
        json.loads(foreign.call("evaluate", one, *rest, "--json", "--threads", 1).stdout)["tasks"]
        for one, rest in ((text, ["--study", foreign.study, "--split", "search"]),
                          (out, ["--study", foreign.study, "--split", "search"]))
    ]  # fmt: skip
    assert found[0] == found[1]
    scores = json.loads(foreign.call("trials", foreign.run, "--format", "json").stdout)
    assert scores[1]["sums"] == found[0]["sums"]["acc"]["value"]


def test_without_the_section_both_sizes_are_named(foreign) -> None:
    foreign.change(("trials: 6", "trials: 3"))
    result = foreign.call("check", foreign.study)
    assert result.exit_code == 2
    assert "base has 64 rows" in result.stderr and "alpha has 66" in result.stderr
    assert "tokenizer: {source: union}" in result.stderr


def test_a_row_that_nobody_has_is_refused_with_its_place(foreign) -> None:
    foreign.change(("  dtype: bfloat16\n", SECTION.replace("source: alpha", "source: beta")))
    result = foreign.call("check", foreign.study)
    assert result.exit_code == 2
    message = "study.yaml:12:51 recipe.tokenizer.tokens.é.source: 'beta' has no token 'é'"
    assert message in result.stderr
