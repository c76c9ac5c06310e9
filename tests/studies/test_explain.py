"""`explain`: no number is cut off, and a study's ranges are shown where a number would be."""

import json

import pytest

WIDE = """\
merge_method: dare_ties
base_model: base
models:
  - {model: alpha, parameters: {weight: [0.1, 0.2, 0.5], density: [0.3, 0.9]}}
  - {model: beta, parameters: {weight: [{filter: mlp, value: 0.7}, {value: 0.2}], density: [0.3, 0.9]}}
  - {model: gamma, parameters: {weight: [0.1, 0.5], density: [{filter: up_proj, value: 0.4}, {value: 0.2}]}}
dtype: bfloat16
"""  # noqa: E501


@pytest.mark.parametrize("width", [80, 200])
def test_every_number_is_there_at_any_width(bench, width: int, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    (bench.folder / "wide.yml").write_text(WIDE)
    shown = bench.call("explain", "wide.yml").stdout
    assert max(map(len, shown.splitlines())) <= width and "…" not in shown
    for heading in (f"{name} ({place})" for name in ("weight", "density") for place in (1, 2, 3)):
        assert heading in shown
    assert shown.count("layers ") == (1 if width == 200 else 3)


def test_a_study_shows_what_values_may_be(bench) -> None:
    shown = bench.call("explain", bench.study)
    assert shown.exit_code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0] == "ties, 29 tensors"
    assert "(1) alpha  0 to 1  0.1 to 0.9" in lines and "(2) beta   0 to 1         0.5" in lines
    rows = json.loads(bench.call("explain", bench.study, "--json").stdout)
    values = {(row["model"], row["parameter"]): row["value"] for row in rows}
    assert values["alpha", "weight"] == {"range": [0.0, 1.0]}
    assert values["beta", "density"] == 0.5


def test_choices_and_methods(bench) -> None:
    bench.change(
        ("merge_method: ties", "merge_method: {choice: [ties, task_arithmetic]}"),
        ("density: 0.5", "density: {choice: [0.2, 1.0]}"),
        ("{normalize: false}", "{normalize: {choice: [false, true]}}"),
    )
    shown = bench.call("explain", bench.study).stdout
    assert "0.2 or 1" in shown and "normalize false or true" in shown
    assert "ties, 29 tensors" in shown and "task_arithmetic, 29 tensors" in shown


def test_a_candidates_numbers_lie_in_what_was_shown(searched) -> None:
    """The tables of a run's study and of its winner agree, tensor by tensor."""
    study = json.loads(searched.call("explain", searched.run / "study.yaml", "--json").stdout)
    winner = searched.folder / "winner.yaml"
    assert searched.call("export", searched.run, "--trial", 3, "-o", winner).exit_code == 0
    rows = json.loads(searched.call("explain", winner, "--json").stdout)
    spans = {(one["tensor"], str(one["model"]).split("/")[-1], one["parameter"]): one["value"]
             for one in study}  # fmt: skip
    for row in rows:
        span = spans[row["tensor"], str(row["model"]).split("/")[-1], row["parameter"]]
        low, high = span["range"] if isinstance(span, dict) else (span, span)
        assert low <= row["value"] <= high
