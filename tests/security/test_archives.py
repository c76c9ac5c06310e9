"""Archives and files that are larger inside: not read, or bounded as they unpack."""

import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation import rows as rows_module


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "gguf"])
def test_a_model_in_an_archive_is_not_unpacked(bench, refused, suffix) -> None:
    file = bench.folder / f"alpha.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("../../escaped", "x")
    elif suffix == "gguf":
        file.write_bytes(b"GGUF")
    else:
        with tarfile.open(file, "w") as archive:
            archive.add(bench.study, "../../escaped")
    bench.change(("- model: alpha", f"- model: ./{file.name}"))
    message = "GGUF weights" if suffix == "gguf" else "expected a checkpoint folder"
    refused(bench.call("check", bench.study), message)
    assert not (bench.folder.parent / "escaped").exists()
    assert not (bench.folder.parent.parent / "escaped").exists()


@pytest.mark.parametrize("suffix", ["zip", "jsonl.gz", "csv.gz", "pkl", "npy"])
def test_a_task_in_an_archive_is_not_unpacked(bench, refused, suffix) -> None:
    (bench.folder / f"sums.{suffix}").write_bytes(b"PK")
    bench.change(("file: sums.jsonl", f"file: sums.{suffix}"))
    refused(bench.call("check", bench.study), "expected a file that ends in .jsonl")


def test_a_parquet_file_that_is_far_larger_inside(bench, refused, monkeypatch) -> None:
    """A dictionary says one long text once and the rows name it: megabytes become gigabytes."""
    count, cell = 20_000, "x" * 10_000
    column = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [cell])
    table = pa.table({"question": column.cast(pa.string())})
    pq.write_table(table, bench.folder / "sums.parquet", use_dictionary=True)
    assert (bench.folder / "sums.parquet").stat().st_size < 1 << 20
    monkeypatch.setattr(rows_module, "MAX_FILE", 1 << 24)
    bench.change(("file: sums.jsonl", "file: sums.parquet"))
    refused(bench.call("check", bench.study), "bytes once it is unpacked")
