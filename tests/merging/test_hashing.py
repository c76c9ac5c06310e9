"""Hashes follow the content, and a weight that is no number is found."""

import os
import time

import pytest
import torch
from safetensors.torch import load_file

from merging.hashing import find_nonfinite, hash_files


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
    (same / "generation_config.json").write_text('{"repetition_penalty": 2.0}')
    assert opened(same).content_hash != opened("base").content_hash


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
