"""Jinja2 over a row, from a stranger's study file: sandboxed, and bounded in output and work.

Templates are checked before they run: expressions, `if` and `for` are allowed, and of methods and
filters those that cannot make much out of little. No macros, imports, assignments or recursion,
and `*` works on numbers only, so what a template can make is bounded by its own length, the row
and its loops, and those are bounded here. A missing column is an error, never an empty string.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, UndefinedError, nodes
from jinja2.environment import TemplateExpression
from jinja2.filters import do_round
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import htmlsafe_json_dumps

from .encoding import shorten
from .errors import TaskError

MAX_TEMPLATE = 64_000
MAX_TEXT = 1_000_000
MAX_NAMES = 256
MAX_LOOP = 1_000
MAX_PRECISION = 300
MAX_DEPTH = 2
"""Loops inside loops."""

NODES = (
    "Template Output TemplateData Name Const Getattr Keyword Getitem Slice Filter Test "
    "If For CondExpr Compare Operand And Or Not List Tuple Dict Pair Add Sub Mul Div FloorDiv Mod "
    "Neg Pos Concat Call"
).split()
METHODS = (
    "strip lstrip rstrip lower upper title capitalize split rsplit splitlines startswith endswith "
    "removeprefix removesuffix index find rfind count isdigit items keys values get cycle"
).split()
FILTERS = (
    "abs capitalize count default d dictsort e escape first float int items join last length list "
    "lower map max min reject rejectattr replace reverse round select selectattr sort string sum "
    "title tojson trim unique upper"
).split()


FAULTS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a template that was let through can raise on a row."""


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox, with multiplication and modulo (formatting) left to numbers."""

    intercepted_binops = frozenset({"*", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuses `"a" * 10**9` and `"%999999999d" % 1`."""
        if not all(isinstance(side, int | float) for side in (left, right)):
            raise TemplateError(f"`{operator}` works on numbers only")
        return super().call_binop(context, operator, left, right)


def make_environment() -> BoundedEnvironment:
    """An environment with the allowed filters, bounded ones in the place of join and replace."""
    environment = BoundedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, finalize=written
    )
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.filters |= {"join": join, "replace": replace, "loop": loop}
    environment.filters |= {"round": rounded, "tojson": tojson}
    environment.globals = {"range": lambda *bounds: loop(range(*bounds))}
    return environment


def written(value: object) -> object:
    """What may stand in a text: anything but null, which would be written as None."""
    if value is None:
        raise TemplateError("a value is null; write {{ x or '' }} if that is meant")
    return value


def join(values: Iterable[object], separator: str = "", attribute: str | None = None) -> str:
    """Jinja's join, bounded."""
    parts: list[str] = []
    for value in values:
        parts.append(str(value if attribute is None else value[attribute]))  # type: ignore[index]
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_TEXT:
        raise TemplateError(f"join: more than {MAX_TEXT} characters")
    return separator.join(parts)


def replace(text: object, old: str, new: str) -> str:
    """Jinja's replace, bounded."""
    source = str(text)
    if len(source) + source.count(old) * len(new) > MAX_TEXT:
        raise TemplateError(f"replace: more than {MAX_TEXT} characters")
    return source.replace(old, new)


def rounded(value: float, precision: int = 0, method: str = "common") -> float:
    """Jinja's round; a power of ten with a thousand million digits is nobody's precision."""
    if abs(precision) > MAX_PRECISION:
        raise TemplateError(f"round: expected at most {MAX_PRECISION} digits, got {precision}")
    return do_round(value, precision, method)  # type: ignore[arg-type]


def tojson(value: object) -> str:
    """Jinja's tojson on one line, safe to stand in HTML as there."""
    return str(htmlsafe_json_dumps(value))


def loop(values: Iterable[object]) -> list[object]:
    """What a `for` may walk, at most MAX_LOOP values."""
    taken: list[object] = []
    for value in values:
        taken.append(value)
        if len(taken) > MAX_LOOP:
            raise TemplateError(f"a loop over more than {MAX_LOOP} values")
    return taken


@dataclass(frozen=True, slots=True)
class Field:
    """What a key of a task (`prompt`, `answer`, ...) says about a row.

    `text` gives the rendered string. `value` keeps the type of a bare column name and of a
    template that is one single expression (`{{ options[:4] }}`).
    """

    key: str
    source: str
    evaluate: Callable[[Mapping[str, object]], object]

    def value(self, row: Mapping[str, object], place: str) -> object:
        """The value for one row; `place` stands first in a message.

        Raises:
            TaskError: a column is missing, the template fails, or the text is too long.
        """
        try:
            found = self.evaluate(row)
            if isinstance(found, StrictUndefined):
                str(found)  # raises: says what is undefined
        except UndefinedError as fault:
            names = ", ".join(sorted(row))
            raise TaskError(f"{place}: {self.key}: {fault} (columns: {names:.200})") from None
        except FAULTS as fault:
            raise TaskError(f"{place}: {self.key}: {fault}") from None
        return found

    def text(self, row: Mapping[str, object], place: str) -> str:
        """The value as text; numbers are written out, null and lists are refused."""
        found = self.value(row, place)
        if isinstance(found, str | int | float):
            return str(found)
        raise TaskError(f"{place}: {self.key}: expected text, got {describe(found)}")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a task's file, for templates and messages."""

    names: frozenset[str]

    def field(self, key: str, source: str, *, column: bool = True) -> Field:
        """What `source` means: a column's name (if `column`), else a template.

        Raises:
            TaskError: no such column, or a template that does not parse or is not allowed.
        """
        if column and source in self.names:
            return Field(key, source, lambda row: cell(row, source))
        if column and source.isidentifier():
            raise TaskError(f"{key}: {self.unknown(source)}")
        try:
            return Field(key, source, compile_template(source))
        except TemplateError as fault:
            raise TaskError(f"{key}: {fault} in {shorten(source)}") from None
        except (RecursionError, SyntaxError, MemoryError):
            raise TaskError(f"{key}: nested too deeply: {shorten(source)}") from None

    def unknown(self, name: str) -> str:
        """Says that there is no such column, and which there are."""
        near = difflib.get_close_matches(name, self.names, n=1, cutoff=0.7)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"no column {name!r}{hint} (columns: {', '.join(sorted(self.names))})"


def cell(row: Mapping[str, object], name: str) -> object:
    """A row's cell in a column."""
    if name not in row:
        raise LookupError(f"this row has no column {name!r}")
    return row[name]


def compile_template(source: str) -> Callable[[Mapping[str, object]], object]:
    """A function of the row; raises TemplateError for what is not allowed."""
    if len(source) > MAX_TEMPLATE:
        raise TemplateError(f"a template of more than {MAX_TEMPLATE} characters")
    environment = make_environment()
    tree = environment.parse(source)
    check_nodes(tree)
    match tree.body:
        case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
            assign = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
            body = nodes.Template([assign], lineno=1)
            body.set_environment(environment)
            compiled = TemplateExpression(environment.from_string(body), undefined_to_none=False)
            return lambda row: compiled(row)
    template = environment.from_string(tree)
    return lambda row: render(template, row)


def check_nodes(tree: nodes.Template) -> None:
    """Refuses what could run without bound, and bounds every loop."""
    for node in tree.find_all(nodes.Node):
        name = type(node).__name__
        if name not in NODES or (isinstance(node, nodes.For) and node.recursive):
            raise TemplateError(f"line {node.lineno}: {name.lower()} is not allowed here")
        if isinstance(node, nodes.Call):
            check_call(node)
    if sum(1 for _ in tree.find_all(nodes.Name)) > MAX_NAMES:
        raise TemplateError(f"more than {MAX_NAMES} names")
    if depth(tree) > MAX_DEPTH:
        raise TemplateError(f"loops nested more than {MAX_DEPTH} deep")
    for node in tree.find_all(nodes.For):
        node.iter = nodes.Filter(node.iter, "loop", [], [], None, None, lineno=node.lineno)


def check_call(node: nodes.Call) -> None:
    """Calls are methods of the list above, and `range`."""
    called = node.node
    name = called.attr if isinstance(called, nodes.Getattr) else getattr(called, "name", "?")
    if name not in (METHODS if isinstance(called, nodes.Getattr) else ("range",)):
        raise TemplateError(f"line {node.lineno}: {name}() is not allowed here")


def depth(node: nodes.Node) -> int:
    """How deep loops stand in each other."""
    inner = max((depth(child) for child in node.iter_child_nodes()), default=0)
    return inner + isinstance(node, nodes.For)


def render(template: Template, row: Mapping[str, object]) -> str:
    """The text, given up as soon as it is too long."""
    parts: list[str] = []
    length = 0
    for part in template.generate(row):
        parts.append(part)
        length += len(part)
        if length > MAX_TEXT:
            raise TemplateError(f"a text of more than {MAX_TEXT} characters")
    return "".join(parts)


def describe(value: object) -> str:
    """A value for a message: its type, and itself where it is short."""
    shown = repr(value)
    name = "null" if value is None else type(value).__name__
    return name if value is None or len(shown) > 60 else f"{name} {shown}"
