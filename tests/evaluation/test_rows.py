"""Rows of JSONL, CSV and Parquet, and what is said about files that are none."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation import rows as rows_module
from evaluation.errors import TaskError
from evaluation.rows import read_rows

ROWS = [{"q": "one\ntwo", "n": 1, "c": ["a", "b"]}, {"q": 'ü, "quoted"', "n": 2, "c": ["c"]}]


def test_jsonl_and_parquet_give_the_same_rows_with_types(tmp_path: Path, write_rows) -> None:
    jsonl = write_rows(ROWS)
    parquet = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), parquet)
    first, second = list(read_rows(jsonl)), list(read_rows(parquet))
    assert [row.values for row in first] == ROWS == [row.values for row in second]
    assert [row.content for row in first] == [row.content for row in second]
    assert first[1].place == f"{jsonl}:2"
    assert second[1].place == f"{parquet} row 2"


def test_csv_cells_are_strings_and_may_span_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('\ufeffq,n\n"one\ntwo",1\nü,2\n', encoding="utf-8")
    found = list(read_rows(path))
    assert [row.values for row in found] == [{"q": "one\ntwo", "n": "1"}, {"q": "ü", "n": "2"}]
    assert found[1].place == f"{path}:4"


def test_content_hash_ignores_the_order_of_columns(write_rows) -> None:
    path = write_rows([{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}])
    first, second, third = (row.content for row in read_rows(path))
    assert first == second != third
    assert len(first) == 16


def test_empty_lines_and_a_byte_order_mark_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n  \n{"a": 2}')
    assert [row.place for row in read_rows(path)] == [f"{path}:1", f"{path}:4"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', ":2: not JSON"),
        ("a.jsonl", b'{"a": 1}\n[1, 2]\n', ":2: expected a JSON object"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.jsonl", b"", "no rows"),
        ("a.jsonl", b'{"a": "\xff"}\n', ":1: not UTF-8"),
        ("a.jsonl", b'{"a": "\\ud800"}\n', ":1: the row cannot be written as UTF-8"),
        ("a.jsonl", b'{"a": ' + b"[" * 100_000 + b"\n", ":1: not JSON"),
        ("a.csv", b"", "no rows"),
        ("a.csv", b"a,b\n", "no rows"),
        ("a.csv", b"a,b\n1,2\n3\n", ":3: expected 2 cells as in the header, got 1"),
        ("a.csv", b"a,a\n1,2\n", "'a' stands twice"),
        ("a.csv", b"a\n\xff\n", "not UTF-8"),
        ("a.csv", b'a\n"x\n', "not CSV"),
        ("a.csv", b"a\n" + b"x" * 200_000 + b"\n", "not CSV: field larger"),
        ("a.parquet", b"no parquet", "not a readable Parquet file"),
        ("a.txt", b"x", "expected a file that ends in .jsonl, .csv or .parquet, got '.txt'"),
    ],
)
def test_a_fault_is_one_message_with_file_and_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TaskError) as caught:
        list(read_rows(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="does not exist"):
        list(read_rows(tmp_path / "none.jsonl"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TaskError, match="is a folder"):
        list(read_rows(tmp_path / "folder.csv"))


def test_cells_lines_and_rows_are_bounded(write_rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_CELL", 10)
    with pytest.raises(TaskError, match="column 'a' has a cell longer than 10"):
        list(read_rows(write_rows([{"a": "x" * 11}])))
    monkeypatch.setattr(rows_module, "MAX_LINE", 30)
    with pytest.raises(TaskError, match=":1: the line is longer than 30 bytes"):
        list(read_rows(write_rows([{"a": ["xxxxx"] * 9}])))
    monkeypatch.setattr(rows_module, "MAX_ROWS", 2)
    with pytest.raises(TaskError, match="more than 2 rows"):
        list(read_rows(write_rows([{"a": k} for k in range(3)])))
