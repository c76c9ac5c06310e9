"""Python of the user's own, from a file that the command line allowed by name.

It is code: it runs with the user's rights, in this process, and only if its file was named with
`--allow-code`. Nothing restrains what an allowed file does. Scorers and samplers are read so; the
bytes that are hashed are the bytes that run.
"""

import hashlib
import shlex
import types
from pathlib import Path

from .errors import TaskError

MAX_SOURCE = 1_000_000


def read_own_code(what: str, file: Path, allowed: frozenset[Path]) -> tuple[bytes, str]:
    """The source of an allowed file, and its digest.

    Args:
        what: The key that names it, for messages: `score`, `sampler`.
        file: The file.
        allowed: What the command line allowed.

    Raises:
        TaskError: a file that is missing, not allowed, or too large.
    """
    if not file.is_file():
        raise TaskError(f"{what}: {file}: there is no such file")
    if file.resolve() not in {path.resolve() for path in allowed}:
        raise TaskError(
            f"{what}: {file} is code and runs only if you allow it: add --allow-code "
            f"{shlex.quote(str(file))}"
        )
    source = file.read_bytes()
    if len(source) > MAX_SOURCE:
        raise TaskError(f"{what}: {file}: larger than {MAX_SOURCE} bytes")
    return source, hashlib.blake2b(source, digest_size=16).hexdigest()


def run_own_code(what: str, file: Path, source: bytes, module: types.ModuleType) -> None:
    """Fills a module with what the source makes.

    Raises:
        TaskError: it does not compile, or raises.
    """
    module.__file__ = str(file)
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as fault:  # the user's code may raise anything
        raise TaskError(f"{what}: {file}: {type(fault).__name__}: {fault}") from fault
