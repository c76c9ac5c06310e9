"""A stranger's text in Markdown: shown as it is, absolute paths cut to their last part.

A card travels, and so do the words that a tracker is told: no folder of this machine is in them.
"""

import re
from collections.abc import Iterable

import yaml

from .wording import clean

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
ROOT = r"(?:file://|~)?(?:/|[A-Za-z]:[\\/])"
IS_ABSOLUTE = re.compile(ROOT)
ABSOLUTE = re.compile(
    rf"(?<![\w.:/\\~-]){ROOT}[^\s'\"`,;()\[\]{{}}<>|/\\]+[/\\][^\s'\"`,;()\[\]{{}}<>|]*"
)
MARKUP = re.compile(r"([\\`*_\[\]<>|#~&!$])")


def escaped(raw: str) -> str:
    """One line of Markdown that shows `raw` as it is, absolute paths cut to their last part."""
    return MARKUP.sub(r"\\\1", ABSOLUTE.sub(_last_part, clean(raw)))


def listed(sentences: Iterable[str]) -> str:
    """A list of sentences."""
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)


def _last_part(match: re.Match[str]) -> str:
    return _base_name(match.group())


def _base_name(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "path"


def _portable(model: str) -> str:
    """A model's name, `model+adapter` too; a path may have spaces in it."""
    parts = model.split("+")
    return "+".join(_base_name(part) if IS_ABSOLUTE.match(part) else part for part in parts)


def name_cell(raw: str) -> str:
    """A model's name in a line or a table."""
    return escaped(_portable(raw))


def fenced(source: str) -> str:
    """YAML in a fence longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", source)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{source.strip()}\n{fence}"


def without_paths(recipe: str) -> str:
    """The recipe, absolute paths cut: scalars by their place in the YAML, comments by pattern."""
    pieces, end = [], 0
    for node in sorted(_scalars(recipe), key=lambda node: node.start_mark.index):
        start = node.start_mark.index
        if _portable(node.value) != node.value:
            pieces += [recipe[end:start], _quoted(_portable(node.value))]
            end = node.end_mark.index
    text = "".join((*pieces, recipe[end:]))
    return re.sub(r"(?m)^\s*#.*$", lambda line: ABSOLUTE.sub(_last_part, line.group()), text)


def _quoted(name: str) -> str:
    return yaml.safe_dump(name, width=10**6, allow_unicode=True).removesuffix("\n...\n").strip()


def _scalars(recipe: str) -> Iterable[yaml.ScalarNode]:
    """Every scalar, keys included; an anchor is met once."""
    todo = [yaml.compose(recipe, Loader=yaml.SafeLoader)]
    seen: set[int] = set()
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield node
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
        elif isinstance(node, yaml.MappingNode):
            todo += [part for pair in node.value for part in pair]
