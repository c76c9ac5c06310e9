"""A header that lies is found out before a weight is read."""

import os

import pytest

from merging.errors import SourceError

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": ONE}, b"123", "cut off: the header promises 4 bytes"),
        ({"a": ONE}, b"12345", "belong to none"),
        ({"a": {**ONE, "shape": [2]}}, b"1234", "takes 8 bytes"),
        ({"a": {**ONE, "shape": [-1]}}, b"1234", "expected sizes"),
        ({"a": {**ONE, "shape": [True]}}, b"1234", "expected sizes"),
        ({"a": {**ONE, "dtype": "F7"}}, b"1234", "unknown dtype 'F7'"),
        ({"a": ONE, "b": ONE}, b"1234", "overlap"),
        ({"a": {**ONE, "data_offsets": [4, 8]}}, b"12345678", "gap"),
        ({"a": 3}, b"", "expected dtype"),
        ([], b"", "expected a JSON object"),
        (b"{nonsense", b"", "not valid JSON"),
        (b"\xff\xfe", b"", "not valid JSON"),
        (b"[" * 100_000, b"", "nested too deeply"),
        (
            b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}',
            b"",
            "key 'a' is given twice",
        ),
    ],
)
def test_headers_that_lie(
    pico_family, opened, copy_checkpoint, write_safetensors, header, data, message
):
    folder = copy_checkpoint(pico_family.base)
    write_safetensors(folder / "model.safetensors", header, data)
    with pytest.raises(SourceError, match=message):
        opened(folder)


@pytest.mark.parametrize(
    "content", [b"", b"1234567", b"\xff" * 8, b"\xff\xff\xff\x7f" + b"\0" * 4]
)
def test_files_that_are_no_safetensors(pico_family, opened, copy_checkpoint, content):
    folder = copy_checkpoint(pico_family.base)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(SourceError, match="cut off, or not a safetensors file"):
        opened(folder)


def test_a_header_too_large_to_read(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write((200_000_000).to_bytes(8, "little"))
        stream.truncate(300_000_000)  # a sparse file
    with pytest.raises(SourceError, match="a header of 200000000 bytes"):
        opened(folder)


def test_a_file_cut_off_half_way(pico_family, opened, copy_checkpoint):
    folder = copy_checkpoint(pico_family.base)
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(SourceError, match=r"model\.safetensors: cut off"):
        opened(folder)
