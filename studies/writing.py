"""Files that are replaced whole: no reader sees half of one, and neither does a power cut."""

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes a file beside its place, on the disk itself, and moves it there.

    What a kill leaves beside it makes way the next time; so does a link that a stranger put there,
    which is not written through.

    Raises:
        OSError: the folder cannot be written to, or the disk is full; nothing is left beside it.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a name that is there before its text is an empty file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
