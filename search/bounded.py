"""Unpacking what may come from a stranger's database, within bounds."""

import json
import zlib
from typing import Any

from .errors import SearchError

MOST = 64 << 20
"""Bytes of one block of results; the largest that are written have about a hundredth of it."""


def inflate(packed: bytes, most: int = MOST) -> bytes:
    """What zlib packed.

    Raises:
        SearchError: it is damaged, or would be larger than `most`: some kilobytes can become
            gigabytes.
    """
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(packed, most)
    except zlib.error as error:
        raise SearchError(f"a block of results in the run is damaged: {error}") from None
    if not unpacking.eof:
        what = "cut off" if len(data) < most else f"larger than the {most} bytes that one may have"
        raise SearchError(f"a block of results in the run is damaged: {what}")
    return data


def parsed(text: str | bytes) -> Any:
    """What JSON says; raises SearchError where it is none, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SearchError(f"an entry of the run is damaged: not JSON: {error}") from None
