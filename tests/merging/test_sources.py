"""Every fault of a checkpoint folder is told in one message; a good one opens without a copy."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from merging.errors import SourceError, UnsupportedError


@pytest.fixture
def sharded(pico_family, tmp_path) -> Path:
    """The base in two shards with an index."""
    folder = tmp_path / "sharded"
    shutil.copytree(pico_family.base, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"one.safetensors": names[:9], "two.safetensors": names[9:]}
    for file, members in parts.items():
        save_file({name: weights[name] for name in members}, folder / file, {"format": "pt"})
    write_index(folder, {name: file for file, members in parts.items() for name in members})
    return folder


def write_index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def read_index(folder):
    return json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


@pytest.mark.parametrize("name", ["base", "./base", "{root}/base"])
def test_names_and_paths(pico_family, opened, name):
    checkpoint = opened(name.format(root=pico_family.root))
    expected = load_file(pico_family.base / "model.safetensors")
    assert checkpoint.folder.resolve() == pico_family.base.resolve()
    assert checkpoint.tensors.keys() == expected.keys()
    for key, value in expected.items():
        assert torch.equal(checkpoint.tensor(key), value)
        assert checkpoint.tensors[key].shape == tuple(value.shape)
        assert checkpoint.tensors[key].dtype == "bfloat16"


def test_tensors_are_mapped_not_copied(opened):
    checkpoint = opened("base")
    first, second = (checkpoint.tensor("model.norm.weight") for _ in range(2))
    assert first.data_ptr() == second.data_ptr()


def test_shards(pico_family, sharded, opened):
    checkpoint = opened(sharded)
    whole = opened("base")
    assert checkpoint.tensors.keys() == whole.tensors.keys()
    assert all(torch.equal(checkpoint.tensor(name), whole.tensor(name)) for name in whole.tensors)


def test_a_shard_is_missing(sharded, opened):
    (sharded / "two.safetensors").unlink()
    with pytest.raises(SourceError, match=r"shard two\.safetensors is missing"):
        opened(sharded)


def test_a_listed_tensor_is_absent(sharded, opened):
    write_index(sharded, {**read_index(sharded), "model.extra": "one.safetensors"})
    with pytest.raises(SourceError, match=r"'model.extra' is not in one\.safetensors"):
        opened(sharded)


def test_a_tensor_in_two_shards(sharded, opened):
    save_file(
        {**load_file(sharded / "one.safetensors"), **load_file(sharded / "two.safetensors")},
        sharded / "two.safetensors",
    )
    with pytest.raises(SourceError, match=r"is in one\.safetensors and in two\.safetensors"):
        opened(sharded)


@pytest.mark.parametrize(
    "shard", ["../base/model.safetensors", "/etc/x.safetensors", "sub/one.safetensors"]
)
def test_shards_stay_in_their_folder(sharded, opened, shard):
    write_index(sharded, dict.fromkeys(read_index(sharded), shard))
    with pytest.raises(SourceError, match="plain name"):
        opened(sharded)


def test_shards_are_safetensors(sharded, opened):
    write_index(sharded, dict.fromkeys(read_index(sharded), "tokenizer.json"))
    with pytest.raises(SourceError, match=r"end in \.safetensors"):
        opened(sharded)


def test_links_out_of_the_folder(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(pico_family.base / "model.safetensors")
    with pytest.raises(SourceError, match="link out of the checkpoint"):
        opened(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vocab_size": 65}, "vocab_size 65, .* has 64 rows"),
        ({"hidden_size": 32}, "hidden_size 32, .* has 16 columns"),
        ({"num_hidden_layers": 4}, "says 4 layers, the weights have 3"),
    ],
)
def test_a_config_of_other_weights(pico_family, opened, copy_checkpoint, config, message):
    with pytest.raises(SourceError, match=message):
        opened(copy_checkpoint(pico_family.base, config=config))


def test_no_config(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    (folder / "config.json").unlink()
    with pytest.raises(SourceError, match=r"config\.json: no such file"):
        opened(folder)


def test_a_config_that_never_ends(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    os.truncate(folder / "config.json", 5 << 20)
    with pytest.raises(SourceError, match="larger than"):
        opened(folder)


def test_folders_that_are_no_models(pico_family, opened, tmp_path, pico_adapter):
    with pytest.raises(SourceError, match=r"no weights: expected model\.safetensors"):
        opened(tmp_path)
    with pytest.raises(SourceError, match="this is a file"):
        opened(pico_family.base / "config.json")
    with pytest.raises(SourceError, match=r"an adapter, not a model; write it as BASE\+adapter"):
        opened(pico_adapter())


def test_gguf_is_refused_with_the_way_out(opened, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for name in (tmp_path, tmp_path / "model.gguf"):
        with pytest.raises(UnsupportedError, match="gguf_file=FILE"):
            opened(name)


def test_quantised_weights_are_refused(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(
        pico_family.base, config={"quantization_config": {"quant_method": "gptq"}}
    )
    with pytest.raises(UnsupportedError, match=r"quantised \(gptq\)"):
        opened(folder)


@pytest.fixture
def pickled(pico_family, copy_checkpoint) -> Path:
    """The base as pytorch_model.bin, its tied head stored too, as torch does."""
    folder = copy_checkpoint(pico_family.base)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_pickled_weights_need_a_flag(pickled, opened):
    with pytest.raises(SourceError, match="--allow-pickle"):
        opened(pickled)
    checkpoint, plain = opened(pickled, allow_pickle=True), opened("base")
    assert checkpoint.tensors == plain.tensors
    assert all(torch.equal(checkpoint.tensor(name), plain.tensor(name)) for name in plain.tensors)
    assert checkpoint.content_hash != plain.content_hash


class Payload:
    """Unpickling this makes a folder."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_pickled_code_does_not_run(pickled, opened, tmp_path):
    torch.save({"weight": Payload(str(tmp_path / "ran"))}, pickled / "pytorch_model.bin")
    with pytest.raises(SourceError, match="cannot be read as plain weights"):
        opened(pickled, allow_pickle=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("stored", ["same", "other"])
def test_a_tied_head_that_is_stored(pico_family, opened, copy_checkpoint, stored):
    """Hidden where it is the embedding; kept where it is not, as transformers does."""
    embedding = load_file(pico_family.base / "model.safetensors")["model.embed_tokens.weight"]
    head = embedding.clone() if stored == "same" else embedding + 1
    checkpoint = opened(copy_checkpoint(pico_family.base, edit={"lm_head.weight": head}))
    assert ("lm_head.weight" in checkpoint.tensors) == (stored == "other")
