"""Spreadsheets: no cell of a CSV begins as a formula, whatever a stranger called things."""

import csv
import io

import pandas as pd
import pytest

from studies.table import spreadsheet_safe

FORMULAS = (
    "=HYPERLINK(A1)",
    "+1+cmd|'/C calc'!A0",
    "-2+3+cmd|'/C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "\uff1d1+1",
    "\uff0b1",
    "\u00a0=1",
    '=1",=2',
)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_that_would_be_a_formula(text) -> None:
    frame = spreadsheet_safe(pd.DataFrame({text: [text, "plain", None], "n": [-1.5, 2, 3]}))
    for row in csv.reader(io.StringIO(frame.to_csv(index=False))):
        for cell in row:
            assert cell[:1].strip() not in ("=", "+", "@", "\uff1d", "\uff0b"), row
            assert (
                cell.lstrip()[:1] not in ("=", "+", "@") and cell[:1] not in "\t\r\n" or not cell
            )
    assert frame["n"].tolist() == [-1.5, 2, 3]


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1", "@x", " =1"])
def test_the_trials_of_a_strangers_run(another, poison, formula) -> None:
    poison(another.run, "alpha", formula)
    written = another.folder / "t.csv"
    out = another.call("trials", another.run, "--format", "csv", "-o", written)
    assert out.exit_code == 0, out.stderr
    header = next(csv.reader(io.StringIO(written.read_text())))
    assert any(formula.strip() in name for name in header)
    assert not any(name.lstrip()[:1] in ("=", "+", "@", "-") for name in header), header
