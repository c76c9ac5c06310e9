"""Reads the rows of a task's file: JSONL, CSV or Parquet, one at a time.

Files come from strangers: a row, a cell's length and the number of rows are bounded, and every
fault is one message with the file and the line. JSON's numbers, lists and null keep their types;
in CSV every cell is a string.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import TaskError

MAX_ROWS = 1_000_000
MAX_CELL = 1_000_000
"""Characters of one string, anywhere in a row."""
MAX_LINE = 4 * MAX_CELL
MAX_FILE = 2**32
MAX_ROW_GROUP = 2**31
"""Bytes of one Parquet row group, uncompressed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row with where it stands, and the hash of its content (16 hex digits)."""

    place: str
    values: Mapping[str, object]
    content: str


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file in its order.

    Raises:
        TaskError: the file is missing, empty, of another kind or too large; a line is no JSON
            object, a row has too many or too few cells, a cell is too large.
    """
    readers = {".jsonl": read_jsonl, ".csv": read_csv, ".parquet": read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TaskError(
            f"{path}: expected a file that ends in .jsonl, .csv or .parquet, got {path.suffix!r}"
        )
    if not path.is_file():
        there = "is a pipe or a device" if path.exists() else "does not exist"
        what = "is a folder" if path.is_dir() else there
        raise TaskError(f"{path}: the task's file {what}; `file` is relative to the study file")
    if path.stat().st_size > MAX_FILE:
        raise TaskError(f"{path}: larger than {MAX_FILE} bytes; keep the part to be scored")
    count = 0
    for place, values in reader(path):
        count += 1
        if count > MAX_ROWS:
            raise TaskError(f"{path}: more than {MAX_ROWS} rows; keep the part to be scored")
        yield Row(place, values, content_hash(place, values))
    if count == 0:
        raise TaskError(f"{path}: the file has no rows")


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """An object a line; empty lines are skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), start=1):
            place = f"{path}:{number}"
            if len(line) > MAX_LINE:
                raise TaskError(f"{place}: the line is longer than {MAX_LINE} bytes")
            text = decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line, place)
            if not text.strip():
                continue
            try:
                values = json.loads(text)
            except (ValueError, RecursionError) as fault:
                raise TaskError(f"{place}: not JSON: {fault or 'nested too deeply'}") from None
            if not isinstance(values, dict):
                raise TaskError(
                    f"{place}: expected a JSON object with the columns of one row, "
                    f"got {type(values).__name__}"
                )
            yield place, values


def read_csv(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """A header, then a row a record, cells as strings; quoted cells may span lines."""
    with path.open(encoding="utf-8-sig", newline="") as file, csv_faults(path):
        records = csv.reader(file, strict=True)
        header = next(records, None)
        if header is None:
            return
        twice = {name for name, count in Counter(header).items() if count > 1}
        if twice:
            raise TaskError(f"{path}:1: column {min(twice)!r} stands twice in the header")
        for cells in records:
            place = f"{path}:{records.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise TaskError(
                    f"{place}: expected {len(header)} cells as in the header, got {len(cells)}"
                )
            yield place, dict(zip(header, cells, strict=True))


def read_parquet(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """A row a record, types as Arrow gives them in Python."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for group in range(file.metadata.num_row_groups):
                if file.metadata.row_group(group).total_byte_size > MAX_ROW_GROUP:
                    raise TaskError(f"{path}: a row group of more than {MAX_ROW_GROUP} bytes")
            number = size = 0
            for batch in file.iter_batches(batch_size=256):
                size += batch.nbytes
                if size > MAX_FILE:
                    raise TaskError(f"{path}: more than {MAX_FILE} bytes once it is unpacked")
                for values in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", values
    except (pyarrow.ArrowException, OSError) as fault:
        raise TaskError(f"{path}: not a readable Parquet file: {fault}") from None


@contextmanager
def csv_faults(path: Path) -> Iterator[None]:
    """The faults of the csv module and of decoding, as task errors."""
    try:
        yield
    except csv.Error as fault:
        raise TaskError(f"{path}: not CSV: {fault}") from None
    except UnicodeDecodeError as fault:
        raise TaskError(f"{path}: not UTF-8: {fault.reason} at byte {fault.start}") from None


def decode(line: bytes, place: str) -> str:
    """The line as text."""
    try:
        return line.decode()
    except UnicodeDecodeError as fault:
        raise TaskError(f"{place}: not UTF-8: {fault.reason} at byte {fault.start}") from None


def content_hash(place: str, values: Mapping[str, object]) -> str:
    """BLAKE2b of the row's canonical JSON, 16 hex digits: the same whatever the columns' order.

    Raises:
        TaskError: a string is too long, or holds half of a surrogate pair.
    """
    for name, cell in values.items():
        if isinstance(cell, str | bytes) and len(cell) > MAX_CELL:
            raise TaskError(f"{place}: column {name!r} has a cell longer than {MAX_CELL}")
    try:
        text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
        data = text.encode()
    except (UnicodeEncodeError, RecursionError, ValueError) as fault:
        raise TaskError(f"{place}: the row cannot be written as UTF-8 JSON: {fault}") from None
    if len(data) > MAX_LINE:
        raise TaskError(f"{place}: the row is longer than {MAX_LINE} bytes")
    return hashlib.blake2b(data, digest_size=8).hexdigest()
