"""The small parts of a checkpoint that a stranger wrote: JSON, shard index, safetensors headers.

Everything is bounded and checked before it is believed. A file of a checkpoint folder has a plain
name, is an ordinary file, and leaves the folder through a link only in the Hugging Face cache,
which is built of links, to what the cache keeps of the same model. Format of a safetensors file: 8
bytes of header length (little-endian), the header as JSON, the tensors' bytes without gaps. The
weights themselves are read by the safetensors library.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType

from .checkpoint import TensorInfo
from .errors import SourceError
from .references import breaks_lines

DTYPES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "F64": ("float64", 8),
        "F32": ("float32", 4),
        "F16": ("float16", 2),
        "BF16": ("bfloat16", 2),
        "F8_E4M3": ("float8_e4m3fn", 1),
        "F8_E5M2": ("float8_e5m2", 1),
        "I64": ("int64", 8),
        "I32": ("int32", 4),
        "I16": ("int16", 2),
        "I8": ("int8", 1),
        "U8": ("uint8", 1),
        "BOOL": ("bool", 1),
    }
)
"""Names of dtypes in a safetensors header: torch's name and bytes an element."""

MAX_JSON = 64 << 20
MAX_HEADER = 100_000_000  # the limit of the safetensors library itself


def member(folder: Path, name: str) -> Path:
    """The file `name` of a checkpoint folder, whether it is there or not.

    Raises:
        SourceError: the name has a folder in it, the file is a link out of the checkpoint, or what
            has the name is no ordinary file.
    """
    if name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
        got = repr(name)[:80]
        raise SourceError(f"{folder}: a file of a checkpoint has a plain name, got {got}")
    file = folder / name
    if file.is_symlink() and not _stays(folder, file):
        raise SourceError(
            f"{file}: a link out of the checkpoint's folder is not followed; copy the file there"
        )
    if file.exists():
        require_file(file)
    return file


def _stays(folder: Path, file: Path) -> bool:
    try:
        target = file.resolve()
    except (OSError, RuntimeError):  # a circle of links
        return False
    real, blobs = folder.resolve(), target.parent
    model = real.parent.parent  # models--OWNER--NAME/snapshots/COMMIT links to ../../blobs
    in_hub_cache = blobs == model / "blobs" and model.name.startswith("models--")
    return in_hub_cache or target.is_relative_to(real)


def require_file(file: Path) -> None:
    """Refuses what is no ordinary file: opening a pipe would wait for ever.

    Raises:
        SourceError: nothing is there, or a folder, a pipe or a device.
    """
    if file.is_file():
        return
    if not file.exists():
        raise SourceError(f"{file}: no such file")
    what = "a folder" if file.is_dir() else "a pipe or a device"
    raise SourceError(f"{file}: {what} where a file should be")


def read_json(file: Path, limit: int = MAX_JSON) -> dict[str, object]:
    """A JSON object from a file of at most `limit` bytes; a key given twice is refused.

    Raises:
        SourceError: the file is missing, too large, or holds anything else.
    """
    require_file(file)
    try:
        with file.open("rb") as stream:
            text = stream.read(limit + 1)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
    if len(text) > limit:
        raise SourceError(f"{file}: larger than the {limit} bytes that such a file may have")
    return parse_object(text, str(file))


def parse_object(text: bytes, place: str) -> dict[str, object]:
    """A JSON object from bytes; `place` opens the message when it is none."""
    try:
        data = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError as error:
        raise SourceError(f"{place}: JSON nested too deeply") from error
    except ValueError as error:
        raise SourceError(f"{place}: not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise SourceError(f"{place}: expected a JSON object, got {type(data).__name__}")
    return data


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    data = dict(pairs)
    if len(data) < len(pairs):
        twice = next(name for name, count in Counter(n for n, _ in pairs).items() if count > 1)
        raise ValueError(f"key {twice!r} is given twice")
    return data


def read_index(file: Path) -> dict[str, str]:
    """Tensor name to shard name from `*.index.json`.

    Raises:
        SourceError: no `weight_map`, or one with anything but text in it.
    """
    entries = read_json(file).get("weight_map")
    if not isinstance(entries, dict) or not entries:
        raise SourceError(f"{file}: expected `weight_map`, from tensor names to shards")
    shards: dict[str, str] = {}
    for name, shard in entries.items():
        if not isinstance(shard, str) or breaks_lines(shard):
            got = repr(shard)[:80]
            raise SourceError(f"{file}: weight_map[{name!r}]: expected a file name, got {got}")
        shards[name] = shard
    return shards


def read_header(file: Path) -> dict[str, TensorInfo]:
    """Shape and dtype of every tensor of one safetensors file.

    Raises:
        SourceError: the file is cut off, the header lies, or a name stands there twice.
    """
    header, space = _header_bytes(file)
    entries = parse_object(header, f"{file}: header")
    entries.pop("__metadata__", None)
    tensors: dict[str, TensorInfo] = {}
    spans: list[tuple[int, int]] = []
    for name, entry in entries.items():
        if breaks_lines(name):
            raise SourceError(f"{file}: header: {name[:80]!r} cannot be the name of a tensor")
        tensors[name], span = _entry(f"{file}: tensor {name!r}", entry)
        spans.append(span)
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise SourceError(f"{file}: header: tensors overlap or leave a gap at byte {end}")
        end = stop
    if end > space:
        raise SourceError(
            f"{file}: cut off: the header promises {end} bytes of tensors, {space} are there"
        )
    if end < space:
        raise SourceError(f"{file}: {space - end} bytes after the last tensor belong to none")
    return tensors


def _header_bytes(file: Path) -> tuple[bytes, int]:
    """The header's text, and how many bytes follow it."""
    require_file(file)
    try:
        size = os.path.getsize(file)
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > size - 8:
                raise SourceError(f"{file}: cut off, or not a safetensors file ({size} bytes)")
            if length > MAX_HEADER:
                raise SourceError(
                    f"{file}: a header of {length} bytes; at most {MAX_HEADER} are read"
                )
            return stream.read(length), size - 8 - length
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error


def _entry(place: str, entry: object) -> tuple[TensorInfo, tuple[int, int]]:
    if not isinstance(entry, dict):
        got = repr(entry)[:80]
        raise SourceError(f"{place}: expected dtype, shape and data_offsets, got {got}")
    kind = entry.get("dtype")
    if not isinstance(kind, str) or kind not in DTYPES:
        raise SourceError(
            f"{place}: unknown dtype {repr(kind)[:80]}; known are {', '.join(DTYPES)}"
        )
    shape = tuple(_sizes(place, "shape", entry.get("shape")))
    offsets = tuple(_sizes(place, "data_offsets", entry.get("data_offsets")))
    dtype, width = DTYPES[kind]
    if len(offsets) != 2 or offsets[1] - offsets[0] != prod(shape) * width:
        raise SourceError(
            f"{place}: shape {list(shape)} of {kind} takes {prod(shape) * width} bytes, "
            f"data_offsets say {list(offsets)}"
        )
    return TensorInfo(shape, dtype), (offsets[0], offsets[1])


def _sizes(place: str, key: str, value: object) -> Iterator[int]:
    if not isinstance(value, list) or len(value) > 16:
        raise SourceError(f"{place}: {key}: expected a short list of sizes")
    for size in value:
        if type(size) is not int or not 0 <= size < 1 << 63:
            raise SourceError(f"{place}: {key}: expected sizes, got {repr(size)[:80]}")
        yield size
