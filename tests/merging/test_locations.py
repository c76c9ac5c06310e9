"""A name finds its folder, or the message says how to give one, whatever the network does."""

import shutil
import time

import pytest

from merging.errors import SourceError
from merging.recipe import ModelReference
from merging.sources import open_checkpoint


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
