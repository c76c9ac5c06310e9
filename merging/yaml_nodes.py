"""YAML nodes to plain data, with the line and column of every value and key.

Strings, numbers, booleans, null, lists and mappings come out, read by YAML 1.1 as mergekit reads
them. Two differences from `yaml.safe_load`: `1e-3` is a number (YAML 1.1 wants `1.0e-3` and reads
a text), and what YAML 1.1 reads as something nobody means (`010` is 8, `1:30` is 90, a date) is
refused. So are tags of other than plain data, and a key given twice, with both lines. Aliases are
expanded within bounds.
"""

import math
import re
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .errors import RecipeError
from .lost_indentation import Line, lost_under_duplicate
from .yaml_text import MAX_DEPTH, MAX_NODES, compose, is_empty

Keys = tuple[str | int, ...]
Mark = tuple[int, int]
"""Line and column, from 1."""

MAX_KEY = 500

_TAG = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_REAL = re.compile(r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
_EXPONENT = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+")
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WORDS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_KINDS = {"int": "a number", "float": "a number", "bool": "true or false", "null": "nothing"}


@dataclass(slots=True)
class Tree:
    """What one document says: its data, and the marks of values and keys by path.

    `nodes` counts the values of the file so far.
    """

    file: str
    data: object = None
    marks: dict[Keys, Mark] = field(default_factory=dict)
    key_marks: dict[Keys, Mark] = field(default_factory=dict)
    nodes: int = 0
    exact: bool = False
    notices: list[tuple[Mark, str]] = field(default_factory=list)


def parse_trees(text: str, file: str, *, exact: bool = False) -> list[Tree]:
    """Reads the documents of a YAML text, at least one; bounds hold for all of them together.

    exact: of a key given twice the last counts, and numbers are what YAML 1.1 makes of them, both
    with a notice.

    Raises:
        RecipeError: not YAML, empty, out of bounds, or a value that is not plain data.
    """
    trees: list[Tree] = []
    for root in compose(text, file):
        tree = Tree(file, nodes=trees[-1].nodes if trees else 0, exact=exact)
        tree.data = _plain(tree, root, (), ())
        trees.append(tree)
    return trees


def reads_as_number(text: str) -> bool:
    """Whether the unquoted text is a number here and a text to PyYAML."""
    return _EXPONENT.fullmatch(text) is not None and math.isfinite(_float(text))


def _fault(tree: Tree, node: Node, message: str) -> RecipeError:
    line, column = _mark(node)
    return RecipeError(f"{tree.file}:{line}:{column} {message}")


def _mark(node: Node) -> Mark:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _enter(tree: Tree, node: Node, above: tuple[Node, ...]) -> tuple[Node, ...]:
    """Counts a node in and gives the nodes around what is in it; refuses what is out of bounds."""
    tree.nodes += 1
    if tree.nodes > MAX_NODES:
        raise _fault(tree, node, f"more than {MAX_NODES} values once its aliases are expanded")
    if any(node is one for one in above):
        raise _fault(tree, node, "an alias stands inside the value it names")
    if len(above) >= MAX_DEPTH:
        raise _fault(tree, node, f"nested more than {MAX_DEPTH} deep once aliases are expanded")
    return (*above, node)


def _plain(tree: Tree, node: Node, path: Keys, above: tuple[Node, ...]) -> object:
    """The plain data of a node that stands in the nodes `above`."""
    within = _enter(tree, node, above)
    tree.marks[path] = _mark(node)
    if isinstance(node, MappingNode) and node.tag == _TAG + "map":
        return _mapping(tree, node, path, within)
    if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
        items = enumerate(node.value)
        return [_plain(tree, item, (*path, index), within) for index, item in items]
    if isinstance(node, ScalarNode):
        return _scalar(tree, node)
    raise _no_plain_data(tree, node)


def _no_plain_data(tree: Tree, node: Node) -> RecipeError:
    tag = repr(node.tag)[1:61].rstrip("'")  # a tag may have any character in it, written as %0A
    return _fault(tree, node, f"the tag `{tag}` is not plain data; remove it")


def _mapping(
    tree: Tree, node: MappingNode, path: Keys, above: tuple[Node, ...]
) -> dict[str, object]:
    """A mapping; what `<<` merges in gives way to its own keys, as in YAML 1.1."""
    own = [pair for pair in node.value if pair[0].tag != _TAG + "merge"]
    lines = [Line(_key(tree, key), *_mark(key), empty=is_empty(value)) for key, value in own]
    _tell_twice(tree, lines)
    data: dict[str, object] = {}
    for line, (_, value) in zip(lines, own, strict=True):
        tree.key_marks[(*path, line.key)] = (line.line, line.column)
        data[line.key] = _plain(tree, value, (*path, line.key), above)
    for key, value in node.value:
        if key.tag == _TAG + "merge":
            _merge_in(tree, data, value, path, above)
    return data


def _merge_in(
    tree: Tree, data: dict[str, object], node: Node, path: Keys, above: tuple[Node, ...]
) -> None:
    """Adds the keys of a merged mapping (or several, earlier ones first) that `data` has not."""
    for one in node.value if isinstance(node, SequenceNode) else [node]:
        if not isinstance(one, MappingNode):
            raise _fault(tree, one, "`<<` takes a mapping or a list of mappings")
        part = Tree(tree.file, nodes=tree.nodes, exact=tree.exact, notices=tree.notices)
        found = _mapping(part, one, path, _enter(part, one, above))
        tree.nodes = part.nodes
        fresh = found.keys() - data.keys()
        data.update({key: value for key, value in found.items() if key in fresh})
        depth = len(path)
        for marks, more in ((tree.marks, part.marks), (tree.key_marks, part.key_marks)):
            marks.update({at: mark for at, mark in more.items() if at[depth] in fresh})


def _key(tree: Tree, node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _fault(tree, node, "a key must be a text, not a list or a mapping")
    if node.tag not in (_TAG + "str", _TAG + "value"):
        kind = node.tag.removeprefix(_TAG)
        kind = _KINDS.get(kind, f"a {kind}")
        raise _fault(tree, node, f"the key `{node.value}` is read as {kind}, not a text; quote it")
    key = _clean(tree, node)
    if len(key) > MAX_KEY:
        raise _fault(tree, node, f"a key of {len(key)} characters; at most {MAX_KEY} are read")
    return key


def _tell_twice(tree: Tree, lines: list[Line]) -> None:
    """Refuses a key that is given twice; tells of it where the last one counts."""
    first: dict[str, Line] = {}
    for line in lines:
        if line.key in first:
            twice = (
                f"the key `{_shown(line.key)}` is given twice, in line {first[line.key].line} "
                f"and in line {line.line}"
            )
            if not tree.exact:
                why = lost_under_duplicate(lines, line.key) or "; keep one of them"
                raise RecipeError(f"{tree.file}:{line.line}:{line.column} {twice}{why}")
            tree.notices.append(((line.line, line.column), f"{twice}; the last one counts"))
        first[line.key] = line


def _shown(key: str) -> str:
    """A key as messages show it, on one line."""
    return key if key.isprintable() else repr(key)[1:-1]


def _scalar(tree: Tree, node: ScalarNode) -> object:
    """The value of a scalar by its tag, which PyYAML resolved from its looks or the user wrote."""
    kind = node.tag.removeprefix(_TAG)
    if kind in ("str", "value", "merge"):
        text = _clean(tree, node)
        return _float(text) if node.style is None and reads_as_number(text) else text
    if kind == "null":
        return None
    if kind == "bool" and node.value.lower() in _WORDS:
        return _WORDS[node.value.lower()]
    if kind in ("int", "float"):
        return _number(tree, node, kind)
    if kind == "timestamp":
        raise _fault(tree, node, f"`{node.value}` is a date in YAML; quote it to make it a text")
    raise _no_plain_data(tree, node)


def _clean(tree: Tree, node: ScalarNode) -> str:
    value: str = node.value
    if found := _NOT_TEXT.search(value):
        code = ord(found.group())
        raise _fault(tree, node, f"the text holds the character #x{code:04x}; remove it")
    return value


def _number(tree: Tree, node: ScalarNode, kind: str) -> int | float:
    """A decimal number; the forms of YAML 1.1 that nobody means are refused."""
    value: str = node.value
    if kind == "float" and value.lower() in _SPECIAL:
        return _SPECIAL[value.lower()]
    if _DECIMAL.fullmatch(value) and len(value) <= 20:
        number = int(value.replace("_", ""))
        return number if kind == "int" else float(number)
    if kind == "float" and (_REAL.fullmatch(value) or reads_as_number(value)):
        if math.isfinite(real := _float(value)):
            return real
    if tree.exact and isinstance(found := _as_yaml_reads(value), int | float):
        tree.notices.append((_mark(node), f"`{value[:40]}` is read as {found}"))
        return found
    raise _fault(
        tree,
        node,
        f"`{value[:40]}` is not a plain decimal number (YAML 1.1 reads octal, hexadecimal and "
        "sexagesimal ones); write it in decimal, or quote it to make it a text",
    )


def _as_yaml_reads(text: str) -> object:
    """What PyYAML, and so mergekit, makes of a number; None where it makes nothing of it."""
    try:
        return yaml.safe_load(text) if len(text) <= 20 else None
    except (yaml.YAMLError, ValueError):
        return None


def _float(text: str) -> float:
    return float(text.replace("_", ""))
