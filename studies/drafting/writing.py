"""A study as the text of a file: plain YAML as people write it, with comments that say why."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

WIDTH = 99


def yaml_text(data: Any) -> str:
    """Plain data as YAML, short mappings of numbers on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)


def comment(text: str, indent: int = 0) -> str:
    """A comment of any length, as lines; one text a line of the argument.

    What begins with a space is a command, and stays on its line.
    """
    before = " " * indent + "# "
    lines: list[str] = []
    for part in text.splitlines():
        lines += [part] if part[:1] == " " else textwrap.wrap(part, WIDTH - len(before))
    return "".join(f"{before}{line}\n" for line in lines)


def study_yaml(
    head: str, sections: Mapping[str, Any], notes: Mapping[str, str], tasks: Sequence[str]
) -> str:
    """The file.

    Args:
        head: What stands above everything.
        sections: Key to data, in the order of the file.
        notes: Key of a section to the comment above it.
        tasks: A comment for each entry of `tasks`; empty for none.
    """
    parts = [comment(head)]
    for key, data in sections.items():
        if note := notes.get(key, ""):
            parts.append("\n" + comment(note))
        if key == "tasks":
            parts.append("tasks:\n" + "".join(map(_task, data, tasks)))
        else:
            parts.append(yaml_text({key: data}))
    return "".join(parts)


def _task(data: Any, note: str) -> str:
    body = textwrap.indent(yaml_text([data]), "  ")
    return comment(note, 2) + body


SHORT = {"range", "choice", "trials", "items", "calibration"}
"""Mappings that have one of these keys stand on one line."""


class _Dumper(yaml.SafeDumper):
    """Short mappings of numbers (ranges) and lists of numbers on one line, lists indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def represent_mapping(
        self, tag: str, mapping: Any, flow_style: bool | None = None
    ) -> yaml.MappingNode:
        flow = bool(SHORT & set(mapping)) or set(mapping) == {"task", "metric"}
        return super().represent_mapping(tag, mapping, flow_style=True if flow else flow_style)

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        flow = all(isinstance(one, int | float | str) for one in sequence)
        return super().represent_sequence(tag, sequence, flow_style=True if flow else flow_style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Prompts in double quotes, where line breaks can be seen."""
    style = '"' if "\n" in text or "{" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
