"""Every fault of a checkpoint folder is told in one message; a good one opens without a copy."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from merging.errors import SourceError, UnsupportedError
from merging.hashing import find_nonfinite, hash_files
from merging.recipe import ModelReference
from merging.sources import open_checkpoint

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.fixture
def opened(pico_family):
    """`opened(name, **options)`: a model as a recipe in the family's folder names it."""

    def open_named(name, folder=None, **options):
        reference = name if isinstance(name, ModelReference) else ModelReference(str(name))
        return open_checkpoint(reference, folder=folder or pico_family.root, **options)

    return open_named


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


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "no folder at"),
        ("nowhere", "--map nowhere=PATH"),
        ("someone/nowhere", "--map someone/nowhere=PATH"),
        ("a/b/c/d", "no name the hub could have"),
        (ModelReference("someone/nowhere", "../../x"), "no branch, tag or commit"),
    ],
)
def test_missing_models_are_told_at_once(opened, name, message):
    start = time.monotonic()
    with pytest.raises(SourceError, match=message):
        opened(name)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("key", ["org/model", "org/model@v2"])
def test_mapping_of_a_name(pico_family, opened, key):
    mapping = {key: pico_family.experts["beta"]}
    checkpoint = opened(ModelReference("org/model", "v2"), mapping=mapping)
    assert checkpoint.folder == pico_family.experts["beta"]


def test_mapping_of_a_whole_reference(pico_family, opened):
    mapping = {"org/model+org/skill": pico_family.experts["beta"]}
    checkpoint = opened(ModelReference("org/model", adapter="org/skill"), mapping=mapping)
    assert checkpoint.folder == pico_family.experts["beta"]


def test_mapping_to_nothing_names_both_sides(opened, tmp_path):
    with pytest.raises(SourceError, match=r"org/model: mapped to .*gone"):
        opened("org/model", mapping={"org/model": tmp_path / "gone"})


def test_the_hub_cache_is_used_without_a_network(pico_family, tmp_path, monkeypatch):
    """A cache as huggingface_hub lays it out: snapshots are links into blobs."""
    repository = tmp_path / "hub" / "models--org--pico"
    (repository / "refs").mkdir(parents=True)
    (repository / "blobs").mkdir()
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    for number, file in enumerate(sorted(pico_family.base.iterdir())):
        shutil.copy(file, repository / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    checkpoint = open_checkpoint(ModelReference("org/pico"), folder=tmp_path)
    assert checkpoint.folder == snapshot
    assert checkpoint.tensor("model.norm.weight").shape == (16,)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="--map org/pico=PATH"):
        open_checkpoint(ModelReference("org/pico"), folder=tmp_path)


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
    ("header", "data", "message"),
    [
        ({"a": ONE}, b"123", "cut off: the header promises 4 bytes"),
        ({"a": ONE}, b"12345", "belong to none"),
        ({"a": {**ONE, "shape": [2]}}, b"1234", "takes 8 bytes"),
        ({"a": {**ONE, "shape": [-1]}}, b"1234", "expected sizes"),
        ({"a": {**ONE, "shape": [True]}}, b"1234", "expected sizes"),
        ({"a": {**ONE, "dtype": "F7"}}, b"1234", "unknown dtype 'F7'"),
        ({"a": ONE, "b": ONE}, b"1234", "overlap"),
        ({"a": {**ONE, "data_offsets": [4, 8]}}, b"12345678", "gap"),
        ({"a": 3}, b"", "expected dtype"),
        ([], b"", "expected a JSON object"),
        (b"{nonsense", b"", "not valid JSON"),
        (b"\xff\xfe", b"", "not valid JSON"),
        (b"[" * 100_000, b"", "nested too deeply"),
        (
            b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}',
            b"",
            "key 'a' is given twice",
        ),
    ],
)
def test_headers_that_lie(
    pico_family, opened, copy_checkpoint, write_safetensors, header, data, message
):
    folder = copy_checkpoint(pico_family.base)
    write_safetensors(folder / "model.safetensors", header, data)
    with pytest.raises(SourceError, match=message):
        opened(folder)


@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"\xff" * 8, b"\xff\xff\xff\x7f" + b"\0" * 4]
)
def test_files_that_are_no_safetensors(pico_family, opened, copy_checkpoint, content):
    folder = copy_checkpoint(pico_family.base)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(SourceError, match="cut off, or not a safetensors file"):
        opened(folder)


def test_a_header_too_large_to_read(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write((200_000_000).to_bytes(8, "little"))
        stream.truncate(300_000_000)  # a sparse file
    with pytest.raises(SourceError, match="a header of 200000000 bytes"):
        opened(folder)


def test_a_file_cut_off_half_way(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(SourceError, match=r"model\.safetensors: cut off"):
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_nonfinite_weights_are_named(pico_family, opened, copy_checkpoint, value, dtype):
    name = "model.layers.1.mlp.up_proj.weight"
    weight = load_file(pico_family.base / "model.safetensors")[name].to(dtype)
    clean = opened(copy_checkpoint(pico_family.base, edit={name: weight.clone()}, name="clean"))
    weight[3, 5] = value
    dirty = opened(copy_checkpoint(pico_family.base, edit={name: weight}, name="dirty"))
    assert find_nonfinite(clean) is None
    assert find_nonfinite(dirty) == name
    assert find_nonfinite(dirty) == name  # from the note


def test_the_largest_finite_number_is_finite(pico_family, opened, copy_checkpoint):
    name = "model.norm.weight"
    weight = torch.full((16,), -torch.finfo(torch.bfloat16).max, dtype=torch.bfloat16)
    assert find_nonfinite(opened(copy_checkpoint(pico_family.base, edit={name: weight}))) is None


def test_the_hash_follows_the_content(pico_family, opened, copy_checkpoint):
    same = copy_checkpoint(pico_family.base, name="same")
    other = copy_checkpoint(pico_family.base, config={"rope_theta": 5.0}, name="other")
    assert opened(same).content_hash == opened("base").content_hash
    assert opened(other).content_hash != opened("base").content_hash
    assert opened("alpha").content_hash != opened("base").content_hash


@pytest.fixture
def hasty(monkeypatch) -> None:
    """The times of a file are trusted at once: a test does not wait until they have settled."""
    monkeypatch.setattr("merging.hashing.SETTLED", -1.0)


def test_a_changed_file_is_hashed_again(tmp_path, hasty):
    file = tmp_path / "weights"
    file.write_bytes(b"a" * 100)
    first = hash_files([file], tmp_path / "cache")
    assert list((tmp_path / "cache" / "hashes").iterdir())
    assert hash_files([file], tmp_path / "cache") == first
    time.sleep(0.05)  # more than a tick of the file system's clock
    file.write_bytes(b"b" * 100)
    assert hash_files([file], tmp_path / "cache") != first


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(b"a" * 100)
    hash_files([file], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_hashes_need_no_cache(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(os.urandom((16 << 20) + 5))  # more than one piece
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the cache folder would be")
    assert hash_files([file], blocked) == hash_files([file], tmp_path / "cache")


@pytest.mark.parametrize("note", ["", "[]", '{"stamp": 3}', "{" * 100_000])
def test_a_damaged_note_is_ignored(tmp_path, note, hasty):
    file = tmp_path / "weights"
    file.write_bytes(b"a" * 100)
    expected = hash_files([file], tmp_path / "cache")
    (stored,) = (tmp_path / "cache" / "hashes").iterdir()
    stored.write_text(note)
    assert hash_files([file], tmp_path / "cache") == expected
