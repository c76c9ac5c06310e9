"""A block of item results as bytes: numbers in columns, exact to the bit.

    byte 0     FIRST; a body of an earlier version begins with zlib's 0x78 instead
    bytes 1-4  length of the header, unsigned, little-endian
    header     JSON: items, [metric, width, kind, bytes] of each column, bytes of the keys
    payload    one column behind the other, then the keys

A column has the same number of figures for every item, as float64, or as unsigned integers of one,
two or four bytes where that loses nothing (right or wrong, bytes of a text). A mask of bits comes
first where some items lack the metric. What is not of that form (texts, integers, figures that
differ in number) is JSON, compressed. Floats of log-likelihoods do not compress, so nothing else
is.

Whose results these are is not in the body: the block's name is a digest of its items in order
(`blocks.items_name`). A block of another name carries their keys itself, as every block did in
earlier versions: JSON rows of key, prompt hash and numbers, compressed as a whole.
"""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.task import ItemResult, Rows

from .bounded import inflate, parsed
from .errors import SearchError

Mask = NDArray[np.bool_]
Keys = Sequence[tuple[str, str]]
"""Item key and prompt hash of each item of a block."""

FIRST = b"\x01"
_EARLIER = b"\x78"
_LENGTH = struct.Struct("<I")
_BEGIN = 1 + _LENGTH.size
_KINDS: Mapping[str, Any] = {
    "B": np.dtype("<u1"),
    "H": np.dtype("<u2"),
    "I": np.dtype("<u4"),
    "d": np.dtype("<f8"),
}
_MASKED = "?"
"""Behind a kind: some items lack the metric."""
_JSON = "j"


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of some items.

    `values` have shape (items, width), float64 with NaN where `there` says that an item lacks the
    metric; or shape (items,), objects: a tuple each, None where it is lacking.
    """

    values: Rows
    there: Mask

    @property
    def plain(self) -> bool:
        """Whether it is numbers, as many of every item."""
        return self.values.dtype != object


@dataclass(frozen=True, slots=True)
class Place:
    """Where a column stands in the payload."""

    metric: str
    width: int
    kind: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a head says; bodies of equal heads have equal places."""

    items: int
    places: tuple[Place, ...]
    keys: tuple[int, int]
    """Where the keys stand, nowhere if both are equal."""


def columns_of(results: Sequence[ItemResult]) -> dict[str, Column]:
    """Columns by metric, in the order in which metrics are met."""
    names = dict.fromkeys(name for one in results for name in one)
    return {name: _column([one.get(name) for one in results]) for name in names}


def _column(rows: Sequence[tuple[float | str, ...] | None]) -> Column:
    there = np.array([row is not None for row in rows], dtype=np.bool_)
    known = [row for row in rows if row is not None]
    widths = {len(row) for row in known}
    floats = all(isinstance(part, float) for row in known for part in row)
    if len(widths) > 1 or widths == {0} or not floats:
        values: Rows = np.empty(len(rows), dtype=object)
        values[:] = [None if row is None else tuple(row) for row in rows]
        return Column(values, there)
    values = np.full((len(rows), widths.pop()), np.nan)
    values[there] = known
    return Column(values, there)


MOST_ITEMS = 1 << 20
"""Of a block: far more than one ever has, and no more than fits into memory."""


def encode(results: Sequence[ItemResult], keys: Keys | None = None) -> bytes:
    """A block as bytes, in the order given; with its keys where its name does not say them."""
    head: list[list[object]] = []
    parts: list[bytes] = []
    for name, column in columns_of(results).items():
        kind, packed = _packed(column)
        width = column.values.shape[1] if column.plain else 0
        head.append([name, width, kind, len(packed)])
        parts.append(packed)
    named = b"" if keys is None else packed_keys(keys)
    header = json.dumps([len(results), head, len(named)], separators=(",", ":")).encode()
    return b"".join([FIRST, _LENGTH.pack(len(header)), header, *parts, named])


def packed_keys(keys: Keys) -> bytes:
    """Which items a block has, in order, as bytes."""
    return zlib.compress(json.dumps(list(keys)).encode(), 1)


def unpacked_keys(packed: bytes) -> list[tuple[str, str]]:
    """What `packed_keys` packed."""
    return [(key, prompt) for key, prompt in parsed(inflate(packed))]


def _packed(column: Column) -> tuple[str, bytes]:
    """Kind and bytes of a column."""
    if not column.plain:
        rows = [None if one is None else list(one) for one in column.values]
        return _JSON, zlib.compress(json.dumps(rows).encode(), 1)
    values = np.where(column.there[:, None], column.values, 0.0)
    kind = next(kind for kind in _KINDS if _fits(values, kind))
    packed = values.astype(_KINDS[kind]).tobytes()
    if column.there.all():
        return kind, packed
    return kind + _MASKED, np.packbits(column.there).tobytes() + packed


def _fits(values: Rows, kind: str) -> bool:
    """Whether numbers come back from a kind with every bit."""
    if kind == "d":
        return True
    most = np.iinfo(_KINDS[kind]).max
    inside = (values >= 0.0) & (values <= most) & ~np.signbit(values)  # -0.0 is no 0
    return bool(inside.all() and (values == np.floor(values)).all())


def head_of(body: bytes) -> bytes:
    """All of a body before its payload; raises SearchError for one that is not of this form."""
    if body[:1] != FIRST:
        raise SearchError("a block of results is damaged, or was written by a later version")
    (length,) = _LENGTH.unpack_from(body, 1)
    return body[: _BEGIN + length]


@lru_cache(maxsize=4096)
def layout(head: bytes) -> Layout:
    """What a head says."""
    items, columns, keys = parsed(head[_BEGIN:])
    if not 0 <= items <= MOST_ITEMS:
        raise ValueError(f"{items} items")
    places, at = [], 0
    for name, width, kind, size in columns:
        places.append(Place(name, width, kind, at, size))
        at += size
    return Layout(items, tuple(places), (at, at + keys))


def is_earlier(body: bytes) -> bool:
    """Whether a body is JSON rows with their keys, as earlier versions wrote it."""
    return body[:1] == _EARLIER


def unpacked(payloads: Sequence[bytes], items: int, place: Place) -> Column:
    """One column of several blocks of one layout, one behind the other."""
    size, width = len(payloads), place.width
    cut = [one[place.start : place.start + place.size] for one in payloads]
    if place.kind == _JSON:
        rows = [row for one in cut for row in parsed(inflate(one))]
        values: Rows = np.empty(len(rows), dtype=object)
        values[:] = [None if row is None else tuple(row) for row in rows]
        return Column(values, np.array([row is not None for row in rows], dtype=np.bool_))
    table = np.frombuffer(b"".join(cut), dtype=np.uint8).reshape(size, place.size)
    there = np.ones(size * items, dtype=np.bool_)
    if place.kind.endswith(_MASKED):
        bits = -(-items // 8)
        there = np.unpackbits(table[:, :bits], axis=1, count=items).astype(np.bool_).ravel()
        table = np.ascontiguousarray(table[:, bits:])
    found = table.view(_KINDS[place.kind[0]]).reshape(size * items, width).astype(np.float64)
    found[~there] = np.nan
    return Column(found, there)


def decode(body: bytes, keys: Keys | None = None) -> dict[tuple[str, str], ItemResult]:
    """A block as results by key; `keys` are those that its name stands for.

    Raises SearchError for a body that is damaged, or whose keys are not known.
    """
    with readable():
        if is_earlier(body):
            rows = parsed(inflate(body))
            return {(key, prompt): _tuples(result) for key, prompt, result in rows}
        head = head_of(body)
        found, payload = layout(head), body[len(head) :]
        columns = {one.metric: unpacked([payload], found.items, one) for one in found.places}
        start, stop = found.keys
        if stop > start:
            keys = unpacked_keys(payload[start:stop])
    if keys is None or len(keys) != found.items:
        raise SearchError("a block of results is damaged: whose they are is not known")
    return dict(zip(keys, dicts_of(columns, found.items), strict=True))


@contextmanager
def readable() -> Iterator[None]:
    """Says in one message that a block cannot be read, whatever is wrong with it."""
    try:
        yield
    except SearchError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, struct.error, zlib.error) as error:
        raise SearchError(f"a block of results is damaged: {error}") from None


def dicts_of(
    columns: Mapping[str, Column], items: int
) -> list[dict[str, tuple[float | str, ...]]]:
    """Item by item what columns say."""
    rows: list[dict[str, tuple[float | str, ...]]] = [{} for _ in range(items)]
    for name, column in columns.items():
        every: Iterable[Any] = column.values.tolist()
        for row, there, one in zip(rows, column.there.tolist(), every, strict=True):
            if there:
                row[name] = tuple(one)
    return rows


def _tuples(result: Any) -> dict[str, tuple[float | str, ...]]:
    return {name: tuple(numbers) for name, numbers in result.items()}
