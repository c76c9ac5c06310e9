"""YAML text to PyYAML's nodes: one document, bounded, every fault with file, line and column.

Nothing is constructed here; `yaml_nodes` makes plain data of the nodes.
"""

import yaml
from yaml.nodes import Node

from .errors import RecipeError, UnsupportedError

MAX_NODES = 50_000
"""Values and keys of a document."""
MAX_DEPTH = 32


def compose(text: str, file: str) -> Node:
    """The root node of the one document in a text.

    Raises:
        RecipeError: not YAML, empty, nested too deep or too large.
        UnsupportedError: more than one document.
    """
    try:
        loader = _BoundedLoader(text)
        node = loader.get_node() if loader.check_node() else None
        second = _next_line(loader) if loader.check_node() else None
    except yaml.reader.ReaderError as error:
        line, column = _line_of(text, error.position)
        code = ord(text[error.position])
        raise RecipeError(
            f"{file}:{line}:{column} the character #x{code:04x} is not allowed in YAML; remove it"
        ) from None
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_syntax_message(error, text, file)) from None
    except (ValueError, OverflowError):  # an escape or a version beyond what chr or int takes
        raise RecipeError(f"{file}:1:1 an escape or a directive has a number too large") from None
    if node is None:
        raise RecipeError(f"{file}:1:1 the file is empty; expected a recipe or a study in YAML")
    if second is not None:
        raise UnsupportedError(
            f"{file}:{second}:1 a second YAML document begins here (`---`): recipes of several "
            "stages are not supported yet; put each stage into its own file and merge one after "
            "the other"
        )
    return node


class _BoundedLoader(yaml.SafeLoader):
    """Stops composing where a document is too deep or too large, long before Python would."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.count = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Composes one node and what is in it, within bounds."""
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH:
            raise self._fault(f"nested more than {MAX_DEPTH} deep")
        if self.count > MAX_NODES:
            raise self._fault(f"more than {MAX_NODES} values")
        node: Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _fault(self, problem: str) -> yaml.MarkedYAMLError:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _next_line(loader: _BoundedLoader) -> int:
    return int(loader.peek_event().start_mark.line) + 1  # type: ignore[no-untyped-call]


def _line_of(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - before.rfind("\n")


def _syntax_message(error: yaml.MarkedYAMLError, text: str, file: str) -> str:
    """PyYAML's complaint on one line, with the hint that its wording keeps back."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    problem = (error.problem or "not YAML")[:200]  # it may quote a name of any length
    lines = text.splitlines()
    hint = ""
    if "\\t" in problem or (line <= len(lines) and "\t" in lines[line - 1][:column]):
        hint = ": this line has a tab; YAML is indented with spaces"
    elif "mapping values are not allowed" in problem:
        hint = (
            ": check the indentation of this line and the one above; quote a text with `: ` in it"
        )
    elif "<block end>" in problem or "expected ':'" in problem:
        hint = ": check the indentation of this line and the ones above"
    return f"{file}:{line}:{column} {problem}{hint}"
