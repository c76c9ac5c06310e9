"""Vocabularies that do not match are named with their sizes and the way out."""

import json

import pytest
import torch

from merging.errors import SourceError
from merging.recipe import ModelReference
from merging.sources import open_checkpoint
from merging.vocabulary import read_tokens, vocabulary_faults, vocabulary_notices


@pytest.fixture
def beside_base(pico_family):
    """`beside_base(folder)`: base and the model of a folder, opened."""

    def opened(folder):
        references = [ModelReference("base"), ModelReference(str(folder))]
        return {model: open_checkpoint(model, folder=pico_family.root) for model in references}

    return opened


def test_a_family_has_none(pico_family, open_family):
    checkpoints = open_family(pico_family)
    assert vocabulary_faults(checkpoints) == ()
    assert vocabulary_notices(checkpoints) == ()


def test_other_sizes(pico_family, beside_base, copy_checkpoint):
    rows = {"model.embed_tokens.weight": torch.zeros(70, 16, dtype=torch.bfloat16)}
    folder = copy_checkpoint(pico_family.base, config={"vocab_size": 70}, edit=rows)
    (fault,) = vocabulary_faults(beside_base(folder))
    assert "base has 64 rows" in fault
    assert f"{folder} has 70" in fault
    assert "tokenizer: {source: union}" in fault


def test_other_tokens(pico_family, beside_base, copy_checkpoint, write_pico_tokenizer):
    folder = copy_checkpoint(pico_family.base)
    write_pico_tokenizer(folder, characters="bacdefghij")
    (notice,) = vocabulary_notices(beside_base(folder))
    assert "2 rows mean other tokens, row 4 is 'a' and 'b'" in notice
    write_pico_tokenizer(folder, characters="abcdefghij")
    (notice,) = vocabulary_notices(beside_base(folder))
    assert "50 tokens are in one only, the first is 'k' (row 14)" in notice


def test_lists_and_added_tokens(tmp_path):
    data = {
        "model": {"vocab": [["a", -1.0], ["b", -2.0]]},
        "added_tokens": [{"id": 2, "content": "<x>"}],
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    assert read_tokens(tmp_path) == {"a": 0, "b": 1, "<x>": 2}
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SourceError, match=r"expected model\.vocab"):
        read_tokens(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    assert read_tokens(tmp_path) == {}


def test_an_empty_entry_is_no_token(tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"vocab": [["a", 0.0], []]}}))
    assert read_tokens(tmp_path) == {"a": 0}
