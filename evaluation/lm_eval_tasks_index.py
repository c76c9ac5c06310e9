"""Names of lm-eval's tasks, groups and tags, the user's own before those that lm-eval ships.

lm-eval's own index parses 14,000 YAML files, which takes ten seconds. Here the shipped ones are
searched as text, includes followed, and give the same names, files and members; the user's are
read as data. Nothing of any of them runs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import lm_eval.tasks

from .lm_eval_tasks_yaml import read_yaml

Kind = Literal["task", "group", "tag"]
_IGNORED = {"__pycache__", ".ipynb_checkpoints"}
_KEYS = re.compile(
    rb"^[\"']?(task|group|class|tag|include)[\"']?[ \t]*:"
    rb"((?:[ \t]*[^\s#].*|[ \t]*(?:#.*)?(?:\r?\n[ \t]*-.*)+)?)",
    re.M,
)
"""A top-level key with what stands behind it: a scalar, or a list in either form."""
_NAME = re.compile(r"[ \t]*[\"']?([^\"'#\r\n]*?)[\"']?[ \t]*(?:#.*)?$")
_WORD = re.compile(r"\w[\w.+-]*")
_ENTRY = re.compile(r"(?m)\r?\n[ \t]*-|^[ \t]*-|[\[\],]")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a name stands for."""

    name: str
    kind: Kind
    path: Path | None
    """The YAML; None for a tag, which is written in those of its members."""
    own: bool
    members: tuple[str, ...] = ()
    """Of a tag, sorted."""


@dataclass(frozen=True, slots=True)
class Names:
    """What can be named: `own` comes before what lm-eval ships."""

    own: Mapping[str, Entry]
    doubled: Mapping[str, tuple[Path, Path]]
    """Names in two of the user's files."""
    unreadable: Mapping[Path, str]
    """Files in the user's folder that are no YAML: harmless unless they mention what is asked."""

    def find(self, name: str) -> Entry | None:
        """The entry of a name."""
        return self.own.get(name) or shipped_names().get(name)

    def every(self) -> list[str]:
        """All names, for the nearest ones."""
        return [*self.own, *shipped_names()]


def own_names(place: Path | None) -> Names:
    """The names in a folder of the user's (or one file), subfolders included."""
    if place is None:
        return Names({}, {}, {})
    found: dict[str, Entry] = {}
    tags: dict[str, list[str]] = {}
    doubled: dict[str, tuple[Path, Path]] = {}
    unreadable: dict[Path, str] = {}
    files = sorted(place.rglob("*.y*ml")) if place.is_dir() else [place]
    for path in filter(Path.is_file, files):
        try:
            config = read_yaml(path, resolve=False)
        except Exception as problem:  # other YAML files may lie there
            unreadable[path] = str(problem)
            continue
        entry = _own_entry(config, path)
        if entry is None:
            continue
        if (before := found.get(entry.name)) is not None and before.path is not None:
            doubled[entry.name] = before.path, path
            continue
        found[entry.name] = entry
        given = config.get("tag") or ()
        listed = given if isinstance(given, list | tuple) else [given]
        if entry.kind == "task":
            _collect(tags, [one for one in listed if isinstance(one, str)], entry.name)
    return Names({**_tag_entries(tags, own=True), **found}, doubled, unreadable)


@cache
def shipped_names() -> Mapping[str, Entry]:
    """Everything that lm-eval ships, by name; read once a process."""
    root = Path(lm_eval.tasks.__file__).parent
    heads: dict[Path, Mapping[str, str]] = {}
    found: dict[str, Entry] = {}
    tags: dict[str, list[str]] = {}
    paths = (p for p in root.glob("**/*.yaml") if not _IGNORED.intersection(p.parts))
    for path in sorted(paths, key=Path.as_posix):
        head = _head(path, heads)
        kind: Kind = "group" if "group" in head and "class" not in head else "task"
        match = _NAME.match(head.get(kind, ""))
        if match is None or not match[1] or match[1] in found:
            continue  # where a name comes again, the first file counts, as in lm-eval
        found[match[1]] = Entry(match[1], kind, path, own=False)
        if kind == "task":
            _collect(tags, _WORD.findall(head.get("tag", "")), match[1])
    return {**_tag_entries(tags, own=False), **found}


def _own_entry(config: Mapping[str, Any], path: Path) -> Entry | None:
    kind: Kind = "group" if "group" in config and "class" not in config else "task"
    name = config.get(kind)
    return Entry(name, kind, path, own=True) if isinstance(name, str) and name else None


def _collect(tags: dict[str, list[str]], given: Iterable[object], task: str) -> None:
    for tag in given:
        tags.setdefault(str(tag), []).append(task)


def _tag_entries(tags: Mapping[str, list[str]], own: bool) -> dict[str, Entry]:
    plain = {tag: Entry(tag, "tag", None, own) for tag in tags}
    return {tag: replace(entry, members=tuple(sorted(tags[tag]))) for tag, entry in plain.items()}


def _head(path: Path, known: dict[Path, Mapping[str, str]]) -> Mapping[str, str]:
    """The keys of a YAML that place it among others, its own before those it includes."""
    if path not in known:
        known[path] = {}  # a file that includes itself ends here
        text = path.read_bytes() if path.is_file() else b""
        own = {key.decode(): rest.decode(errors="replace") for key, rest in _KEYS.findall(text)}
        names = (part.strip().strip("\"'") for part in _ENTRY.split(own.pop("include", "")))
        included = (_head((path.parent / name).resolve(), known) for name in names if name)
        known[path] = {key: rest for head in included for key, rest in head.items()} | own
    return known[path]
