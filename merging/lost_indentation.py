"""Says what happened to a recipe that lost its indentation on the way through a web page.

Such a file is still YAML: `parameters:` is empty, what belonged under it stands beside it, and a
second `parameters:` makes it a duplicate key. Only the wording of errors is made here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .methods.table import METHODS


@dataclass(frozen=True, slots=True)
class Line:
    """A key of a mapping, where it stands (from 1), and whether nothing stands under it."""

    key: str
    line: int
    column: int
    empty: bool


def parameter_names() -> frozenset[str]:
    """The parameters of all methods: what belongs under `parameters:` and nowhere else."""
    return frozenset(one.name for method in METHODS.values() for one in method.parameters)


def lost_under_duplicate(lines: Sequence[Line], key: str) -> str | None:
    """The explanation for a key given twice with nothing under it; None: the fault is another."""
    starts = [index for index, line in enumerate(lines) if line.key == key]
    runs = [_run(lines, start) for start in starts if lines[start].empty]
    lost = [_words(run) for run in runs if run]
    if not lost:
        return None
    return (
        f". Nothing is indented under `{key}:`, and {' and '.join(lost)} start in the same column "
        f"as `{key}:` itself, so they are not part of it. The file lost its indentation, as a "
        f"recipe copied from a web page does: indent them under their `{key}:`, and a `{key}:` "
        "that belongs to a model under its `- model:`"
    )


def _run(lines: Sequence[Line], start: int) -> list[Line]:
    """The parameters that follow an empty key, up to the first key that is none."""
    known = parameter_names()
    run: list[Line] = []
    for line in lines[start + 1 :]:
        if line.key not in known:
            break
        run.append(line)
    return run


def _words(run: Sequence[Line]) -> str:
    names = ", ".join(f"`{line.key}`" for line in run)
    first, last = run[0].line, run[-1].line
    return f"{names} (line {first})" if first == last else f"{names} (lines {first} to {last})"
