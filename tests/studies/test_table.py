"""Trials as a table: which columns, which rows, in which formats."""

import csv
import io
import json

import pandas as pd
import pytest

from studies.table import readable, spreadsheet_safe, trial_frame


def test_columns_are_number_state_parameters_objectives_items(make_view) -> None:
    view = make_view(objectives=2, trials=30)
    frame = trial_frame(view)
    parameters = list(view.trials[0].parameters)
    assert list(frame.columns) == ["number", "state", *parameters, "logic", "code", "items"]
    assert list(frame["number"]) == list(range(30))
    failed = frame[frame["state"] == "failed"]
    assert len(failed) == 1 and failed[["logic", "code"]].isna().all(axis=None)


def test_the_front_only(make_view) -> None:
    view = make_view(trials=30)
    on_front = [trial.number for trial in view.trials if trial.on_front]
    assert 0 < len(on_front) < 30
    assert list(trial_frame(view, front_only=True)["number"]) == on_front


def test_no_trials_is_a_table_of_no_rows(make_view) -> None:
    assert list(trial_frame(make_view(trials=0)).columns) == [
        "number", "state", "logic", "code", "items",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\tx"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(text: str) -> None:
    frame = pd.DataFrame({"a": [text, "plain"], text: [-1.0, 2.0]})
    safe = spreadsheet_safe(frame)
    assert list(safe["a"]) == [f"'{text}", "plain"] and list(safe.columns) == ["a", f"'{text}"]
    assert list(safe.iloc[:, 1]) == [-1.0, 2.0]  # numbers stay numbers


def test_the_command_in_every_format(searched, tmp_path) -> None:
    listed = searched.call("trials", searched.run, "--format", "csv").stdout
    assert listed == (searched.run / "trials.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(listed)))
    objects = json.loads(searched.call("trials", searched.run, "--format", "json").stdout)
    assert [list(one) for one in objects] == [list(row) for row in rows]
    assert [one["sums"] for one in objects] == [float(row["sums"]) for row in rows]
    refused = searched.call("trials", searched.run, "--format", "parquet")
    assert refused.exit_code == 2 and "-o FILE" in refused.stderr
    file = tmp_path / "trials.parquet"
    assert searched.call("trials", searched.run, "--format", "parquet", "-o", file).exit_code == 0
    assert pd.read_parquet(file).to_dict("records") == objects
    shown = searched.call("trials", searched.run).stdout.splitlines()
    assert shown[0].split() == list(rows[0]) and len(shown) == 7


def test_the_command_with_front(searched) -> None:
    shown = searched.call("trials", searched.run, "--front", "--format", "json").stdout
    found = json.loads(shown)
    every = json.loads(searched.call("trials", searched.run, "--format", "json").stdout)
    for one in found:
        assert not any(
            (other["sums"] >= one["sums"] and other["lines"] <= one["lines"])
            and (other["sums"], other["lines"]) != (one["sums"], one["lines"])
            for other in every
        )
    assert 0 < len(found) < len(every)


def test_people_read_names_on_one_line_and_that_there_is_nothing(make_view) -> None:
    text = readable(pd.DataFrame({"a\u202eb": [0.123456, None], "c": ["x\ny", "z"]}))
    assert text.splitlines()[0].split() == ["a", "b", "c"] and "0.1235" in text and "x y" in text
    assert readable(trial_frame(make_view(trials=0))) == "no trials"
