"""`verify` finds what it ought to: nothing where nothing changed, and every change there is."""

import json
import shutil
from contextlib import closing

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.block_codec import decode, encode, unpacked_keys


def test_winner_and_trials_are_identical(searched) -> None:
    for arguments in ([], ["--trial", "0"], ["--trial", "5"]):
        result = searched.call("verify", searched.run, *arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout.endswith("identical\n")
    found = json.loads(searched.call("verify", searched.run, "--json").stdout)
    assert found["items"] == 100 and found["same_recipe"] and found["different"] == []


def test_a_recorded_result_that_was_altered(another) -> None:
    import sqlite3

    with closing(sqlite3.connect(another.run / "study.db")) as database:
        query = (
            "SELECT r.rowid, items, body FROM eutectic_results r "
            "JOIN eutectic_blocks USING (block) WHERE task = 'sums'"
        )
        for row, keys, body in database.execute(query).fetchall():
            items = [dict(one) for one in decode(body, unpacked_keys(keys)).values()]
            items[2]["acc"] = (1.0 - items[2]["acc"][0],)
            database.execute(
                "UPDATE eutectic_results SET body = ? WHERE rowid = ?", (encode(items), row)
            )
        database.commit()
    result = another.call("verify", another.run, "--trial", 1)
    assert result.exit_code == 1 and "items differ" in result.stdout
    assert "sums item" in result.stderr and "recorded" in result.stderr
    found = json.loads(another.call("verify", another.run, "--trial", 1, "--json").stdout)
    assert {one["task"] for one in found["different"]} == {"sums"}


def test_a_model_that_was_changed(another) -> None:
    place = (another.folder / "alpha").resolve()
    (another.folder / "alpha").unlink()
    shutil.copytree(place, another.folder / "alpha")
    file = another.folder / "alpha" / "model.safetensors"
    tensors = {name: tensor + 0.5 for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    result = another.call("verify", another.run, "--trial", 2)
    assert result.exit_code == 1 and "other weights" in result.stderr
    assert torch.isfinite(tensors["model.norm.weight"]).all()


def test_a_winner_file_that_was_edited(another) -> None:
    file = another.run / "winner.yaml"
    text = file.read_text()
    file.write_text(text.replace("dtype: bfloat16", "dtype: float32"))
    result = another.call("verify", another.run)
    assert result.exit_code == 1 and "other weights" in result.stderr
    file.write_text(text.replace("merge_method: ", "merge_method: x"))
    result = another.call("verify", another.run)
    assert result.exit_code == 2 and "winner.yaml:3:" in result.stderr


def test_a_run_without_a_winner(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.change(("max_drop: 5.0", "max: 0.001"))
    assert bench.search("--trials", "1").exit_code == 3
    result = bench.call("verify", bench.run)
    assert result.exit_code == 3 and "no winner" in result.stderr
    assert bench.call("verify", bench.run, "--trial", 0).exit_code == 0


def test_nothing_recorded_is_not_taken_for_identical(another) -> None:
    import sqlite3

    with closing(sqlite3.connect(another.run / "study.db")) as database:
        database.execute("DELETE FROM eutectic_results")
        database.commit()
    result = another.call("verify", another.run)
    assert result.exit_code == 2 and "to compare with" in result.stderr
