"""`name@revision`: two revisions of one name are two models; without a network, from the cache."""

import shutil
from pathlib import Path

import pytest
import torch

from merging.document import parse_documents
from merging.errors import SourceError
from merging.merge import merge_tensor
from merging.opening import open_recipe
from merging.recipe import ModelReference
from merging.sources import open_checkpoint, open_models

OLD, NEW = "a" * 40, "b" * 40
NORM = "model.norm.weight"


@pytest.fixture
def hub(pico_family, tmp_path, monkeypatch):
    """A cache as huggingface_hub lays it out: org/pico, alpha as `v1` and beta as `main`."""
    repository = tmp_path / "hub" / "models--org--pico"
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs" / "pr").mkdir(parents=True)
    for commit, folder in ((OLD, "alpha"), (NEW, "beta")):
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for file in pico_family.experts[folder].iterdir():
            blob = repository / "blobs" / f"{folder}-{file.name}"
            shutil.copy(file, blob)
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    (repository / "refs" / "v1").write_text(OLD)
    (repository / "refs" / "pr" / "7").write_text(OLD)
    (repository / "refs" / "main").write_text(NEW)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def norm_of(folder: Path) -> torch.Tensor:
    return open_checkpoint(ModelReference(str(folder)), folder=folder).tensor(NORM)


@pytest.mark.parametrize(
    ("revision", "expert"),
    [("v1", "alpha"), (OLD, "alpha"), ("pr/7", "alpha"), ("main", "beta"), (None, "beta")],
)
def test_a_branch_a_tag_or_a_commit(hub, pico_family, revision, expert):
    found = open_checkpoint(ModelReference("org/pico", revision), folder=hub)
    assert torch.equal(found.tensor(NORM), norm_of(pico_family.experts[expert]))


def test_two_revisions_of_one_name_are_two_models(hub, pico_family):
    text = """\
merge_method: linear
models:
  - {model: org/pico@v1, parameters: {weight: 1}}
  - {model: org/pico, parameters: {weight: 3}}
dtype: float32
"""
    found = open_recipe(parse_documents(text, "r.yml"), folder=hub, mapping={}, allow_pickle=False)
    assert [str(model) for model in found.checkpoints] == ["org/pico@v1", "org/pico"]
    assert len({one.content_hash for one in found.checkpoints.values()}) == 2
    job = next(job for job in found.jobs if job.name == NORM)
    merged = merge_tensor(job, lambda model, name: found.checkpoints[model].tensor(name), 0)
    old, new = (norm_of(pico_family.experts[name]).float() for name in ("alpha", "beta"))
    torch.testing.assert_close(merged, (old + 3 * new) / 4)


@pytest.mark.parametrize("revision", ["v2", "c" * 40])
def test_a_revision_that_is_not_cached(hub, revision):
    with pytest.raises(SourceError) as caught:
        open_checkpoint(ModelReference("org/pico", revision), folder=hub)
    message = str(caught.value)
    assert message.startswith(f"org/pico@{revision}: neither a folder in {hub} nor a model in the")
    assert "cache (of org/pico the cache has main, pr/7, v1), and the hub is" in message
    assert message.endswith(f"give its folder with --map org/pico@{revision}=PATH")


def test_a_snapshot_of_which_files_are_missing(hub):
    (hub / "hub" / "models--org--pico" / "snapshots" / OLD / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="the hub is switched off"):
        open_checkpoint(ModelReference("org/pico", "v1"), folder=hub)
    assert open_checkpoint(ModelReference("org/pico"), folder=hub).tensors


def test_a_folder_has_no_two_revisions(pico_family, hub):
    text = "merge_method: linear\nmodels: [{model: base@v1}, {model: base@v2}]\n"
    text += "parameters: {weight: 1}\n"
    (document,) = parse_documents(text, "r.yml")
    from merging.recipe_reader import read_recipe

    recipe, _ = read_recipe(document, strict=True)

    def opened(**mapping: Path):
        mapping = {name.replace("_", "@"): place for name, place in mapping.items()}
        return open_models(recipe, folder=pico_family.root, mapping=mapping, allow_pickle=False)

    with pytest.raises(SourceError) as caught:
        opened()
    assert str(caught.value).startswith("base@v1 and base@v2 are both the folder ")
    assert "--map base@v2=PATH" in str(caught.value)
    assert len(opened(base_v2=pico_family.experts["beta"])) == 2
