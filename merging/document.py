"""YAML read once, at the edge: plain data, and the place of every value and key.

PyYAML composes the nodes (`yaml_text`); nothing is constructed but plain Python data, a key given
twice in one mapping is refused with both lines, and aliases cannot blow the document up
(`yaml_nodes`). What the data mean is the business of `recipe_reader` and of study files.
"""

import pathlib
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from .errors import RecipeError, UnsupportedError
from .yaml_nodes import Tree, parse_trees

MAX_BYTES = 2**20

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
    """One YAML document: plain data, where each value (`places`) and key (`key_places`) stands.

    `prefix` is the way from the file's root to `data`: messages show it, paths given here lack it.
    `notices` tell what was read in mergekit's way (`exact`) and would be refused otherwise.
    """

    file: str
    data: object
    places: Mapping[Path, Place]
    key_places: Mapping[Path, Place]
    prefix: Path = ()
    notices: tuple[Notice, ...] = ()

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where the value (or the key) at a path stands, else the nearest known one around it."""
        if key and path in self.key_places:
            return self.key_places[path]
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return Place(self.file, 1, 1)

    def message(self, path: Path, text: str, *, key: bool = False) -> str:
        """`file:line:column models[1].parameters.density: text`."""
        where = path_text((*self.prefix, *path))
        return f"{self.place(path, key=key)} {where + ': ' if where else ''}{text}"

    def error(self, path: Path, message: str, *, key: bool = False) -> RecipeError:
        """The error to raise for the value at a path, or for its key."""
        return RecipeError(self.message(path, message, key=key))

    def notice(self, path: Path, message: str, *, key: bool = False) -> Notice:
        """The warning to give for the value at a path, or for its key."""
        where = path_text((*self.prefix, *path))
        return Notice(self.place(path, key=key), f"{where + ': ' if where else ''}{message}")

    def child(self, *path: str | int) -> "Document":
        """The subtree at a path; its messages still show file, line and the whole path.

        Raises:
            RecipeError: there is nothing at that path.
        """
        data = self.data
        for step, key in enumerate(path):
            if isinstance(data, dict) and key in data:
                data = data[key]
            elif isinstance(data, list) and isinstance(key, int) and 0 <= key < len(data):
                data = data[key]
            else:
                raise self.error(path[:step], f"{key!r} is missing")
        return Document(
            self.file,
            data,
            _below(self.places, path),
            _below(self.key_places, path),
            (*self.prefix, *path),
            self.notices,
        )

    def with_data(self, data: object) -> "Document":
        """The same places with other data: what a program put in the place of what was written."""
        return replace(self, data=data)


def read_document(path: pathlib.Path, *, exact: bool = False) -> Document:
    """Reads a YAML file of at most 1 MiB, in UTF-8, that holds one document.

    exact: as in `parse_document`.

    Raises:
        RecipeError: the file is missing, unreadable, too large, not UTF-8, or not plain YAML.
        UnsupportedError: it holds several documents.
    """
    return _only(read_documents(path, exact=exact))


def read_documents(path: pathlib.Path, *, exact: bool = False) -> tuple[Document, ...]:
    """Reads all documents (`---` between them) of a YAML file; at least one.

    Raises:
        RecipeError: as `read_document`.
    """
    try:
        _require_ordinary(path)
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path}: larger than {MAX_BYTES >> 20} MiB, no recipe or study")
    return parse_documents(_decode(content, str(path)), str(path), exact=exact)


def parse_document(text: str, file: str, *, exact: bool = False) -> Document:
    """Reads YAML of one document from a text; `file` is the name that messages give it.

    exact: read as mergekit reads it: the last of equal keys counts, `010` is 8; with notices.

    Raises:
        RecipeError: it is not plain YAML of a bearable size; with its place.
        UnsupportedError: it holds several documents.
    """
    return _only(parse_documents(text, file, exact=exact))


def parse_documents(text: str, file: str, *, exact: bool = False) -> tuple[Document, ...]:
    """Reads all documents of a YAML text; at least one.

    Raises:
        RecipeError: it is not plain YAML of a bearable size; with its place.
    """
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{file}: larger than {MAX_BYTES >> 20} MiB, no recipe or study")
    return tuple(_document(tree) for tree in parse_trees(text, file, exact=exact))


def path_text(path: Path) -> str:
    """A path as messages show it: `models[1].parameters.density`."""
    text = ""
    for key in path:
        plain = isinstance(key, str) and key.isprintable()  # a token may be a line break
        text += f".{key}" if plain else f"[{key!r}]"
    return text.removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that looks most like this one, None where none looks like it."""
    by_form = {one.lower().replace("-", "_"): one for one in sorted(known)}
    found = get_close_matches(word.lower().replace("-", "_"), by_form, n=1)
    return by_form[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'density'?`, or nothing where no known word looks like this one."""
    found = nearest(word, known)
    return f", did you mean {found!r}?" if found else ""


def _document(tree: Tree) -> Document:
    return Document(
        tree.file,
        tree.data,
        {path: Place(tree.file, *mark) for path, mark in tree.marks.items()},
        {path: Place(tree.file, *mark) for path, mark in tree.key_marks.items()},
        notices=tuple(Notice(Place(tree.file, *mark), text) for mark, text in tree.notices),
    )


def _only(documents: tuple[Document, ...]) -> Document:
    """The one document; the commands that take stages read them with `read_documents`."""
    if len(documents) > 1:
        raise UnsupportedError(
            f"{documents[1].place(())} a second YAML document begins here (`---`); a study is one "
            "document and its `recipe` one merge: merge the stages before the last one with "
            "`eutectic merge`, and name the folders they become"
        )
    return documents[0]


def _below(places: Mapping[Path, Place], path: Path) -> dict[Path, Place]:
    depth = len(path)
    return {at[depth:]: place for at, place in places.items() if at[:depth] == path}


def _require_ordinary(path: pathlib.Path) -> None:
    """Refuses folders, and pipes and devices, which could be read for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise RecipeError(f"{path}: is a folder; give the YAML file in it")
    if not stat.S_ISREG(mode):
        raise RecipeError(f"{path}: is a pipe or a device; save the YAML to a file first")


def _decode(content: bytes, file: str) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise RecipeError(f"{file}:1:1 the file is in UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise RecipeError(
            f"{file}:{line}:{column} the byte #x{content[error.start]:02x} is not UTF-8; "
            "save the file as UTF-8"
        ) from None
