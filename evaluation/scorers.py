"""The user's own scoring function, from a file that the command line allowed by name.

`score: scorers.py:function` is code and runs as `own_code` says. The file's hash is part of every
result's key, so an edited scorer never meets results of the old one.
"""

import copy
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import TaskError
from .own_code import read_own_code, run_own_code


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
    source, digest = read_own_code("score", file, allowed)
    module = types.ModuleType("eutectic_scorer")  # registered under no name
    run_own_code("score", file, source, module)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise TaskError(f"score: {file}: it defines no function {function_name!r}")
    return Scorer(file, function_name, digest, function)
