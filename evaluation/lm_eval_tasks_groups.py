"""What a name of lm-eval's asks for: one task, or the subtasks of a group or tag.

A group is taken as lm-eval takes it: keys of its YAML that are no group's keys are set in every
subtask, an entry of its list may set more (`- task: x` with keys beside it) or be a group itself,
and the outer one's word counts; its figure is over all subtasks below it, however deep. Two things
are not lm-eval's, which gives all tasks below an entry `- task: GROUP` with keys beside it one
name and so keeps the last, and which takes an entry with `group` and a list of its own for the
group of that name elsewhere: here the first are all kept, and the list counts.
"""

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lm_eval.config.group import AggMetricConfig, GroupConfig

from .errors import TaskError
from .lm_eval_tasks_index import Entry, Names
from .lm_eval_tasks_yaml import read_yaml
from .spec import LmEvalSpec

Config = dict[str, Any]
GROUP_KEYS = frozenset(field.name for field in fields(GroupConfig))
STRUCTURE = frozenset(("tag", "group", "task_list"))
"""Keys that place a task among others."""


@dataclass(frozen=True, slots=True)
class Subtask:
    """A task, with what the groups above it set in it."""

    name: str
    path: Path
    """The YAML that holds most of it."""
    folders: tuple[Path, ...]
    """Where its data files may lie: the folders of the user's own YAMLs it is made of."""
    code: Path | None
    """The user's own YAML that has to be allowed: its own, or that of the group that names it."""
    config: Config


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks that a name asks for."""

    subtasks: tuple[Subtask, ...]
    grouped: bool
    figures: tuple[AggMetricConfig, ...] = ()
    """What a group says of its metrics; empty where it is a mere list. Known once resolved."""


@dataclass(frozen=True, slots=True)
class _Above:
    """What the groups above an entry say of it."""

    changes: Config
    folders: tuple[Path, ...] = ()
    code: Path | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Reader:
    spec: LmEvalSpec
    names: Names
    resolve: bool

    def find(self, name: str, where: str) -> Entry:
        """The entry of a name that is there, once."""
        if name in self.names.doubled:
            one, other = self.names.doubled[name]
            raise fault(self.spec, f"both {one} and {other} define {name!r}; rename one")
        entry = self.names.find(name)
        if entry is None:
            raise _unknown(self.spec, self.names, name, where)
        return entry

    def load(self, path: Path) -> Config:
        """The YAML with what it includes."""
        try:
            config: Config = read_yaml(path, resolve=self.resolve)
        except Exception as problem:  # functions of a stranger are imported
            raise fault(self.spec, f"{path}: {type(problem).__name__}: {problem}") from problem
        return config

    def below(self, entry: Entry, above: _Above) -> Iterator[Subtask]:
        """The tasks of an entry, in lm-eval's order."""
        if entry.name in above.names:
            raise fault(self.spec, f"the group {entry.name!r} holds itself")
        if entry.path is None:
            inner = _Above(above.changes, above.folders, above.code, (*above.names, entry.name))
            for member in entry.members:
                yield from self.below(self.find(member, f" of tag {entry.name!r}"), inner)
            return
        here = (entry.path.parent,) if entry.own else ()
        code = above.code or (entry.path if entry.own else None)
        config, folders = self.load(entry.path), (*here, *above.folders)
        if entry.kind == "group":
            names = (*above.names, entry.name)
            inner = _Above(above.changes, folders, code, names)
            yield from self.members(entry.name, entry.path, config, inner)
        else:
            merged = _task(entry.name, config | deepcopy(above.changes))
            yield Subtask(entry.name, entry.path, folders, code, merged)

    def members(self, group: str, path: Path, config: Config, above: _Above) -> Iterator[Subtask]:
        """The tasks of a group; of an entry that stands in it twice the last one counts."""
        listed = config.get("task")
        if not isinstance(listed, list) or not listed:
            raise fault(
                self.spec,
                f"{path}: the group {group!r} has no list of tasks; where `group` was to be a "
                "label of a task, write `tag`",
            )
        own = {key: value for key, value in config.items() if key not in GROUP_KEYS}
        inner = _Above({**own, **above.changes}, above.folders, above.code, above.names)
        found: dict[str, tuple[Subtask, ...]] = {}
        for entry in listed:
            name, tasks = self.member(group, path, entry, inner)
            found[name] = tuple(tasks)
        for kept in found.values():
            yield from kept

    def member(
        self, group: str, path: Path, entry: object, above: _Above
    ) -> tuple[str, Iterator[Subtask]]:
        """One entry of a group's list: a name, a task with changes, or a group written there."""
        keys = entry if isinstance(entry, Mapping) else {"task": entry}
        name = keys.get("group", keys.get("task"))
        if not isinstance(name, str):
            raise fault(self.spec, f"{path}: expected a name or `task: NAME`, got {entry!r:.80}")
        if "group" in keys and isinstance(keys.get("task"), list):
            inline = f"{group}::{name}"
            return inline, self.members(inline, path, dict(keys), above)
        changes = {k: v for k, v in keys.items() if k not in ("task", "group")}
        inner = _Above(above.changes | changes, above.folders, above.code, above.names)
        if "group" not in keys and changes and self.names.find(name) is None:
            inline = f"{group}::{name}"
            config = _task(inline, deepcopy(inner.changes))
            return inline, iter([Subtask(inline, path, above.folders, above.code, config)])
        return name, self.below(self.find(name, f" of group {group!r} ({path})"), inner)


def plan_of(spec: LmEvalSpec, names: Names, *, resolve: bool) -> Plan:
    """The tasks that `spec.task` asks for; with `resolve` the functions they name are imported.

    Raises:
        TaskError: an unknown folder or name (with the nearest names), a name in two files, a group
            that cannot be read.
    """
    if spec.include_path is not None and not spec.include_path.exists():
        raise fault(spec, f"include_path: there is no folder {spec.include_path}")
    reader = _Reader(spec, names, resolve)
    entry = reader.find(spec.task, "")
    subtasks = tuple(reader.below(entry, _Above({})))
    for name, count in Counter(subtask.name for subtask in subtasks).items():
        if count > 1:
            raise fault(spec, f"{spec.task!r} holds the task {name!r} twice; name each once")
    if entry.kind != "group" or entry.path is None or not resolve:
        return Plan(subtasks, entry.kind != "task")
    return Plan(subtasks, True, _figures(spec, entry.path, reader.load(entry.path)))


def fault(spec: LmEvalSpec, text: str) -> TaskError:
    """The error about a task, with its place in the study file."""
    return TaskError(f"{spec.place + ' ' if spec.place else ''}task {spec.name!r}: {text}")


def _task(name: str, config: Config) -> Config:
    return {k: v for k, v in config.items() if k not in STRUCTURE} | {"task": name}


def _figures(spec: LmEvalSpec, path: Path, config: Config) -> tuple[AggMetricConfig, ...]:
    listed = config.get("aggregate_metric_list") or []
    entries = [listed] if isinstance(listed, dict) else listed
    try:
        return tuple(AggMetricConfig(**entry) for entry in entries)
    except (TypeError, ValueError) as problem:
        raise fault(spec, f"{path}: aggregate_metric_list: {problem}") from problem


def _unknown(spec: LmEvalSpec, names: Names, name: str, where: str) -> TaskError:
    for path, problem in names.unreadable.items():
        if name in path.read_text(encoding="utf-8", errors="replace"):
            return fault(spec, f"{path}: cannot be read as YAML: {problem}")
    places = f"in {spec.include_path} or lm-eval" if spec.include_path else "in lm-eval"
    near = difflib.get_close_matches(name, names.every(), 3)
    hint = f"; the nearest are {', '.join(near)}" if near else ""
    return fault(spec, f"there is no task {name!r}{where} {places}{hint}")
