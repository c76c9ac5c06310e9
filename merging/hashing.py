"""Content hashes of checkpoints, and whether their weights are finite; remembered in a cache.

A file's digest is a BLAKE2b tree: BLAKE2b-256 over the digests of its pieces of 16 MiB, which
threads compute side by side; the result does not depend on how many. It is remembered by path,
size and times of the file, in one small JSON note a file, replaced atomically: processes may race,
the last one wins with the same content. A cache folder that cannot be written to costs time and
nothing else.
"""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from .checkpoint import Checkpoint
from .errors import SourceError
from .finite import all_finite

PIECE = 16 << 20
STEP = 1 << 20
SETTLED = 2.0
"""Seconds after its last change from which on a file's times are trusted to tell a next change."""


def cache_folder() -> Path:
    """`EUTECTIC_CACHE`, else `eutectic` in `XDG_CACHE_HOME`, else `~/.cache/eutectic`."""
    if own := os.environ.get("EUTECTIC_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eutectic"


def hash_files(files: Iterable[Path], cache: Path) -> str:
    """Hex digest of the names and bytes of some files; their order does not matter.

    Raises:
        SourceError: a file cannot be read, or changed while it was.
    """
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(files, key=lambda file: file.name):
        total.update(f"{file.name}\0{_file_digest(file, cache)}\0".encode())
    return total.hexdigest()


def find_nonfinite(checkpoint: Checkpoint, cache: Path | None = None) -> str | None:
    """The first tensor (in stored order) with a NaN or an infinity in it, None if all are finite.

    The answer is remembered by content hash.

    Raises:
        SourceError: a file cannot be read.
    """
    note = (cache or cache_folder()) / "finite" / f"{checkpoint.content_hash}.json"
    known = _read_note(note)
    if "nonfinite" in known:
        return known["nonfinite"]
    names = checkpoint.tensors
    found = next((name for name in names if not all_finite(checkpoint.tensor(name))), None)
    _write_note(note, {"nonfinite": found})
    return found


def _file_digest(file: Path, cache: Path) -> str:
    try:
        before = _stamp(file)
        name = hashlib.blake2b(str(file.resolve()).encode(), digest_size=16).hexdigest()
        note = cache / "hashes" / f"{name}.json"
        known = _read_note(note)
        if known.get("stamp") == before and (digest := known.get("digest")):
            return digest
        digest = _read_digest(file, int(before.split()[0]))
        after = _stamp(file)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error
    if before != after:
        raise SourceError(
            f"{file}: changed while it was being read; try again when it is complete"
        )
    if time.time() - file.stat().st_ctime > SETTLED:
        _write_note(note, {"stamp": before, "digest": digest})
    return digest


def _stamp(file: Path) -> str:
    """Size and times; copying tools cannot set back the last change of the inode."""
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _read_digest(file: Path, size: int) -> str:
    with (
        file.open("rb", buffering=0) as stream,
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
    ):
        starts = range(0, size, PIECE)
        digests = pool.map(lambda start: _piece_digest(stream.fileno(), start, size), starts)
        return hashlib.blake2b(b"".join(digests), digest_size=32).hexdigest()


def _piece_digest(descriptor: int, start: int, size: int) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    stop = min(start + PIECE, size)
    while start < stop:
        data = os.pread(descriptor, min(STEP, stop - start), start)
        if not data:
            break  # cut off meanwhile: the stamp differs afterwards
        digest.update(data)
        start += len(data)
    return digest.digest()


def _read_note(file: Path) -> dict[str, str | None]:
    """A remembered note; an unreadable or strange one is as good as none."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {key: value for key, value in data.items() if value is None or isinstance(value, str)}


def _write_note(file: Path, note: dict[str, str | None]) -> None:
    """Replaces a note in one step; a failure only costs time, so it is let pass."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(note, stream)
            os.replace(temporary, file)
        except OSError:
            os.unlink(temporary)
