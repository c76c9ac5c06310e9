"""What `init` was told to read, remembered on this machine: the user named those files already.

One small JSON note a study in the cache folder, under the study's own path. A note that cannot be
written or read costs a `--allow-file` and nothing else.
"""

import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from merging.hashing import cache_folder

from .drafting.questions import given_file


def remember_files(study: Path, tasks: Iterable[str]) -> None:
    """Notes the files among what `--task` gave, for a study that was just written."""
    files = [found[1] for one in tasks if (found := given_file(one)) is not None]
    note = _note(study)
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps([str(one.resolve()) for one in files]), encoding="utf-8")


def remembered_files(study: Path) -> list[Path]:
    """The files that `init` was told of when it wrote this study."""
    try:
        data = json.loads(_note(study).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Path(one) for one in data if isinstance(one, str)] if isinstance(data, list) else []


def _note(study: Path) -> Path:
    name = hashlib.blake2b(str(study.resolve()).encode(), digest_size=16).hexdigest()
    return cache_folder() / "named" / f"{name}.json"
