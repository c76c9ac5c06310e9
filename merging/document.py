"""YAML read once, at the edge: plain data, and the place of every value and key.

PyYAML composes the nodes; nothing is constructed but plain Python data, a key given twice in one mapping
is refused with both lines, and aliases cannot blow the document up.
"""

from collections.abc import Mapping
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and indices from the root of a document to a value: `("models", 1, "parameters")`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning with its place, for a thing that is legal and probably not meant."""

    place: Place
    message: str

    def __str__(self) -> str:
        return f"{self.place} {self.message}"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: plain data, and where each value (`places`) and each key (`key_places`) stands."""

    file: str
    data: object
    places: Mapping[Path, Place]
    key_places: Mapping[Path, Place]
