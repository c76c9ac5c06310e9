"""YAML text to PyYAML's nodes: bounded, every fault with file, line and column.

Nothing is constructed here; `yaml_nodes` makes plain data of the nodes.
"""

from itertools import islice

import yaml
from yaml.nodes import Node, ScalarNode

from .errors import RecipeError

MAX_NODES = 50_000
"""Values and keys of a file."""
MAX_DEPTH = 32
MAX_DOCUMENTS = 256


def compose(text: str, file: str) -> list[Node]:
    """The root nodes of the documents in a text, of those that hold nothing only the first.

    Raises:
        RecipeError: not YAML, empty, nested too deep or too large.
    """
    try:
        loader = _BoundedLoader(text)
        nodes = list(islice(iter(loader.next_node, None), MAX_DOCUMENTS + 1))
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
    if len(nodes) > MAX_DOCUMENTS:
        line = nodes[-1].start_mark.line + 1
        raise RecipeError(f"{file}:{line}:1 more than {MAX_DOCUMENTS} documents in one file")
    if not nodes:
        raise RecipeError(f"{file}:1:1 the file is empty; expected a recipe or a study in YAML")
    return [node for node in nodes if not is_empty(node)] or nodes[:1]


def is_empty(node: Node) -> bool:
    """Whether a node is nothing: what stands between `---` and `---`, or behind a key."""
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


class _BoundedLoader(yaml.SafeLoader):
    """Stops composing where a document is too deep or too large, long before Python would."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.count = 0

    def next_node(self) -> Node | None:
        """The root of the next document, None behind the last."""
        return self.get_node() if self.check_node() else None

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
