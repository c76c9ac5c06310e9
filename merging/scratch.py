"""Where a merge grows: a hidden folder beside its final place, gone when the merge is.

A process that is killed leaves its folder behind. Each folder is locked while its process lives,
so the next merge to the same place knows which are left over, and removes them. Where there are
no locks (other systems than Unix, some network file systems) they stay.
"""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".partial"
LOCK = "lock"
SHOWN = 60
"""Characters of the final name that the hidden one has: with more it could be too long."""


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` for the time of a merge.

    Raises:
        OSError: it cannot be made.
    """
    prefix = f".{out.name[:SHOWN]}."
    for left in out.parent.glob(f"{glob.escape(prefix)}*{SUFFIX}"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(
        prefix=prefix, suffix=SUFFIX, dir=out.parent, ignore_cleanup_errors=True
    ) as name:
        lock = os.open(Path(name) / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(lock)
            yield Path(name)
        finally:
            os.close(lock)


def _remove_if_left(folder: Path) -> None:
    """Removes a folder whose process is gone."""
    with suppress(OSError):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if _lock(lock):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _lock(descriptor: int) -> bool:
    """Locks an open file; False where another process has it, or nothing can be locked."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True
