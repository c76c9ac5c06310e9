"""The user's own scoring function, from a file that the command line allowed by name.

`score: scorers.py:function` is code: it runs with the user's rights, in this process, and only if
its file was named with `--allow-code`. The file's hash is part of every result's key, so an edited
scorer never meets results of the old one. Nothing restrains what an allowed file does.
"""

import copy
import hashlib
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import TaskError

MAX_SOURCE = 1_000_000


@dataclass(frozen=True, slots=True)
class Scorer:
    """A function of (row, text) to a number, higher is better, with the hash of its file."""

    file: Path
    function_name: str
    digest: str
    function: Callable[[dict[str, object], str], object]

    def __call__(self, row: Mapping[str, object], text: str) -> float:
        """The number for one generated text; the function gets its own copy of the row.

        Raises:
            TaskError: the function raises, or returns no finite number.
        """
        place = f"{self.file}:{self.function_name}"
        try:
            value = self.function(copy.deepcopy(dict(row)), text)
        except Exception as fault:  # the user's code may raise anything
            raise TaskError(f"score: {place} raised {type(fault).__name__}: {fault}") from fault
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise TaskError(f"score: {place} must return a finite number, got {value!r:.60}")
        return number


def load_scorer(reference: str, allowed: frozenset[Path]) -> Scorer:
    """Loads `FILE:FUNCTION`; the bytes that are hashed are the bytes that run.

    Raises:
        TaskError: another form, a file that is missing or not allowed, no such function, or a file
            that fails when it is run.
    """
    name, _, function_name = reference.rpartition(":")
    if not name or not function_name.isidentifier():
        raise TaskError(f"score: expected `scorers.py:function`, got {reference!r}")
    file = Path(name)
    if not file.is_file():
        raise TaskError(f"score: {file}: there is no such file")
    if file.resolve() not in {path.resolve() for path in allowed}:
        raise TaskError(
            f"score: {file} is code and runs only if you allow it: add --allow-code {file}"
        )
    source = file.read_bytes()
    if len(source) > MAX_SOURCE:
        raise TaskError(f"score: {file}: larger than {MAX_SOURCE} bytes")
    function = getattr(run_module(file, source), function_name, None)
    if not callable(function):
        raise TaskError(f"score: {file}: it defines no function {function_name!r}")
    digest = hashlib.blake2b(source, digest_size=16).hexdigest()
    return Scorer(file, function_name, digest, function)


def run_module(file: Path, source: bytes) -> types.ModuleType:
    """The module that the source makes; it is not registered under any name.

    Raises:
        TaskError: it does not compile, or raises.
    """
    module = types.ModuleType("eutectic_scorer")
    module.__file__ = str(file)
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)
    except Exception as fault:  # the user's code may raise anything
        raise TaskError(f"score: {file}: {type(fault).__name__}: {fault}") from fault
    return module
