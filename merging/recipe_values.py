"""The `parameters:` of a recipe, at each of its levels: names, forms and ranges, with places.

A parameter is a value, a gradient (a list of numbers along depth) or a list of `{filter, value}`.
Names and ranges come from the table of methods. What mergekit would ignore in silence is told: an
unknown name (refused if `strict`), a parameter at a level where it does nothing, one that only
other methods read, a filter entry that is never reached.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from .document import Document, Notice, Path, did_you_mean
from .errors import RecipeError
from .lost_indentation import parameter_names
from .methods.method import Method
from .methods.parameters import Parameter
from .methods.table import METHODS
from .recipe import Conditional, Gradient, ModelReference, Scalar, Setting
from .recipe_keys import FILTER_KEYS
from .references import parse_reference

MAX_GRADIENT = 4096
MAX_FILTERS = 256
MAX_NUMBER = 3.4028234663852886e38
"""The largest number of float32, in which merges are computed."""

_TRUE = ("true", "yes", "on", "y", "t", "1")
_FALSE = ("false", "no", "off", "n", "f", "0")

Level = Literal["model", "base", "slice", "recipe"]
"""Where `parameters:` stands; "base" is the base model among the models."""

IDLE = frozenset({"int8_mask"})
"""Parameters that are legal and change no value: mergekit saves memory with them."""


@dataclass(slots=True)
class Reading:
    """One recipe being read: its document, how strict to be, and the notices gathered so far.

    `exact`: values count as mergekit reads them, in and out of range.
    """

    document: Document
    strict: bool
    exact: bool = False
    notices: list[Notice] = field(default_factory=list)

    def notice(self, path: Path, message: str) -> None:
        """Gathers a warning about the key at a path."""
        self.notices.append(self.document.notice(path, message, key=True))

    def unknown(self, path: Path, message: str) -> None:
        """Refuses a key that mergekit knows nothing of; where nothing is strict, warns."""
        if self.strict and not self.exact:
            raise self.document.error(path, message, key=True)
        self.notice(path, f"{message}; it does nothing")

    def mapping(self, value: object, path: Path) -> dict[str, object]:
        """The value as a mapping; nothing (an empty `parameters:`) is an empty one."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.document.error(path, f"expected keys and values, got {shown(value)}")
        return value

    def sequence(self, value: object, path: Path) -> list[object]:
        """The value as a list that is not empty."""
        if not isinstance(value, list) or not value:
            raise self.document.error(path, f"expected a list, got {shown(value)}")
        return value


def shown(value: object) -> str:
    """A value as messages show it, short."""
    if isinstance(value, dict):
        return "keys and values"
    if value is None:
        return "nothing"
    return repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."


def read_model(document: Document, value: object, path: Path) -> ModelReference:
    """A model as a recipe names it."""
    if not isinstance(value, str):
        quote = "; quote it" if isinstance(value, bool | int | float) else ""
        raise document.error(path, f"expected a path or a hub name, got {shown(value)}{quote}")
    try:
        return parse_reference(value)
    except RecipeError as error:
        raise document.error(path, str(error)) from None


def read_parameters(
    reading: Reading,
    value: object,
    path: Path,
    method: Method,
    level: Level,
) -> dict[str, Setting]:
    """The parameters written at one level; unknown ones are left out once they have been told."""
    found: dict[str, Setting] = {}
    for name, written in reading.mapping(value, path).items():
        at = (*path, name)
        own = method.parameter(name)
        known = own or _of_another_method(name)
        if known is None:
            _tell_unknown(reading, at, name, method)
            continue
        idle = _why_idle(name, own, method, level)
        if idle is not None:
            reading.notice(at, idle)
        if written is None and reading.exact:
            raise reading.document.error(at, f"expected {known.expected()}, got nothing")
        if written is not None and not (reading.exact and written == []):
            found[name] = _read_setting(reading, written, at, known, checked=idle is None)
    return found


def _of_another_method(name: str) -> Parameter | None:
    return next((one for method in METHODS.values() if (one := method.parameter(name))), None)


def _tell_unknown(reading: Reading, at: Path, name: str, method: Method) -> None:
    hint = did_you_mean(name, parameter_names())
    known = ", ".join(one.name for one in method.parameters)
    tail = hint or f" ({method.name} has {known})"
    reading.unknown(at, f"no merge method has a parameter {name!r}{tail}")


def _why_idle(name: str, own: Parameter | None, method: Method, level: Level) -> str | None:
    """Why a parameter changes nothing where it stands, None where it counts."""
    if own is None:
        return f"{method.name} has no parameter {name!r}; it does nothing"
    if name in IDLE:
        return "only saves memory in mergekit; it does nothing here"
    if level in ("model", "base") and own.scope == "global":
        return (
            f"{name!r} counts in the top-level `parameters` (or a slice's); under a model it does "
            "nothing, as in mergekit"
        )
    if level == "base" and method.base_apart:
        return f"{method.name} reads no parameters of the base model; it does nothing"
    return None


def _read_setting(
    reading: Reading, value: object, path: Path, parameter: Parameter, *, checked: bool
) -> Setting:
    """One value, a gradient, or filters; a bare `{filter, value}` counts as a list of one."""
    if isinstance(value, dict) and not FILTER_KEYS.keys().isdisjoint(value):
        return (_read_entry(reading, value, path, parameter, checked),)
    if not isinstance(value, list) or not any(isinstance(item, dict) for item in value):
        return _read_plain(reading, value, path, parameter, checked)
    if len(value) > MAX_FILTERS:
        raise reading.document.error(path, f"more than {MAX_FILTERS} filters")
    entries = [
        _read_entry(reading, item, (*path, index), parameter, checked)
        for index, item in enumerate(value)
    ]
    _tell_unreached(reading, path, entries)
    return tuple(entries)


def _tell_unreached(reading: Reading, path: Path, entries: Iterable[Conditional]) -> None:
    everything: int | None = None
    for index, entry in enumerate(entries):
        if everything is not None:
            reading.notice((*path, index), f"never reached: entry [{everything}] matches all")
        elif entry.filter is None or entry.filter in ("*", ""):
            everything = index


def _read_entry(
    reading: Reading, value: object, path: Path, parameter: Parameter, checked: bool
) -> Conditional:
    """One `{filter, value}`."""
    document = reading.document
    if not isinstance(value, dict):
        got = shown(value)
        raise document.error(path, f"expected {{filter, value}} like its neighbours, got {got}")
    for key in value:
        if key not in FILTER_KEYS:
            hint = did_you_mean(key, FILTER_KEYS)
            reading.unknown((*path, key), f"{key!r} is not part of a filter{hint}")
    filter = value.get("filter")
    if filter is not None and not isinstance(filter, str):
        raise document.error((*path, "filter"), f"expected a text (quote it), got {shown(filter)}")
    if value.get("value") is None:
        raise document.error(path, "the filter has no `value`")
    return Conditional(
        filter, _read_plain(reading, value["value"], (*path, "value"), parameter, checked)
    )


def _read_plain(
    reading: Reading, value: object, path: Path, parameter: Parameter, checked: bool
) -> Scalar | Gradient:
    """One value or a gradient."""
    if not isinstance(value, list):
        return _read_scalar(reading, value, path, parameter, checked)
    if not value:
        raise reading.document.error(path, f"an empty list; expected {parameter.expected()}")
    if parameter.kind == "bool":
        raise reading.document.error(path, "expected true or false (or filters), got a list")
    if len(value) > MAX_GRADIENT:
        raise reading.document.error(path, f"a gradient of more than {MAX_GRADIENT} values")
    return tuple(
        float(_read_scalar(reading, item, (*path, index), parameter, checked))
        for index, item in enumerate(value)
    )


def _read_scalar(
    reading: Reading, value: object, path: Path, parameter: Parameter, checked: bool
) -> Scalar:
    """A truth value (0 and 1 count, as in mergekit), or a number in range as a float."""
    document = reading.document
    if reading.exact:
        value = _understood(value, parameter)
    if isinstance(value, dict) and not {"range", "choice"}.isdisjoint(value):
        raise document.error(path, "a range; only the recipe of a study may have ranges")
    if parameter.kind == "bool" and isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    number = None if parameter.kind == "bool" else _finite(value)
    if number is None:
        hint = "; remove the quotes" if isinstance(value, str) and _is_number(value) else ""
        if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
            hint = "; merges are computed in float32, which ends at 3.4e+38"
        expected = parameter.expected()
        raise document.error(path, f"expected {expected}, got {shown(value)}{hint}")
    if checked and (fault := parameter.fault(number, loose=reading.exact)):
        raise document.error(path, fault)
    return number


def _understood(value: object, parameter: Parameter) -> object:
    """A quoted number or truth value, or a truth value for a number, as mergekit reads it."""
    if parameter.kind == "bool":
        words = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
        return words.get(value.lower(), value) if isinstance(value, str) else value
    if isinstance(value, bool):
        return float(value)
    return float(value) if isinstance(value, str) and _is_number(value) else value


def _finite(value: object) -> float | None:
    """The number as a float; None where it is none, or none that is finite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -MAX_NUMBER <= value <= MAX_NUMBER else None


def _is_number(text: str) -> bool:
    try:
        return _finite(float(text)) is not None
    except ValueError:
        return False
