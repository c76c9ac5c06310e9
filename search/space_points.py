"""A search space: the way from values to a recipe's plain data and back.

Nothing is clamped: a value outside its range is an error. Values are recipe values; the
coordinates that samplers work in are `coordinates`' business.
"""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from merging.document import Path, path_text
from merging.methods.table import METHODS

from .density_limits import Limits
from .errors import SpaceError
from .layer_stack import Stack
from .space_blocks import Blocked, Piece, cut, pieces
from .space_methods import of_one_method
from .space_parts import METHOD, Dimension, Slot, Values
from .space_ranges import Value, is_range
from .space_read import difference, put, read_slot

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, slots=True)
class Space:
    """Every recipe that a study allows.

    `template` is the recipe with its ranges, `layers` the layers of its models. `start` is the
    point that the user came with where `started`, else the middle of each range (of its
    logarithm; the first choice).
    """

    template: Mapping[str, Any]
    layers: int
    methods: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    slots: tuple[Slot, ...]
    limits: Limits
    labels: Mapping[str, str]
    """Each model's short name, by the reference as written."""
    starts: Mapping[str, Values]
    """By merge method, the one that the search starts from first."""
    started: bool
    stack: Stack = Stack()
    """The layers of its slices, where they are searched."""

    @property
    def start(self) -> Values:
        """The point that the search starts from."""
        return next(iter(self.starts.values()))

    @property
    def conditional(self) -> bool:
        """Whether some dimension is read by some of the methods only."""
        return any(one.methods != self.methods for one in self.dimensions)

    @property
    def identity(self) -> list[str]:
        """What must stay when a search goes on: `describe`, as JSON holds it."""
        return describe(self)

    def distributions(self) -> dict[str, "BaseDistribution"]:
        """Dimension name to Optuna distribution, over recipe values: for logs and tables."""
        return {one.name: one.distribution() for one in self.dimensions}

    def method(self, values: Values) -> str:
        """The merge method of a point.

        Raises:
            SpaceError: the method is searched, and the point names none of the choice.
        """
        if len(self.methods) == 1:
            return self.methods[0]
        if (name := values.get(METHOD)) not in self.methods:
            raise SpaceError(f"{METHOD}: expected one of {', '.join(self.methods)}, got {name!r}")
        return str(name)

    def active(self, method: str) -> tuple[Dimension, ...]:
        """The dimensions that a merge method reads, in the order of the recipe."""
        return tuple(one for one in self.dimensions if method in one.methods)

    def fault(self, values: Values) -> str | None:
        """Says why values are no point of the space, None where they are one."""
        try:
            method = self.method(values)
        except SpaceError as error:
            return str(error)
        active = {one.name: one for one in self.active(method)}
        if missing := [name for name in active if name not in values]:
            return f"{method} needs a value for {', '.join(missing)}"
        if extra := [name for name in values if name not in active]:
            return f"{method} does not read {', '.join(extra)}"
        for name, dimension in active.items():
            if fault := dimension.range.fault(values[name]):
                return f"{name}: {fault}"
        if fault := self.stack.fault(values):
            return fault
        return self.limits.fault(values) if method in self.limits.methods else None

    def contains(self, values: Values) -> bool:
        """Whether values are a point of the space."""
        return self.fault(values) is None

    def fill(self, values: Values) -> dict[str, Any]:
        """The recipe at a point: plain data of its own, without ranges, blocks written as slices.

        Raises:
            SpaceError: the values are no point of the space.
        """
        if fault := self.fault(values):
            raise SpaceError(fault)
        method = self.method(values)
        data = self._marked(method, values)
        return cut(data, self.layers, _base_takes_part(data)) if self._is_cut(method) else data

    def sketch(self, values: Values) -> dict[str, Any]:
        """The recipe in its own form, the first value of each block: for messages with places."""
        data = self._marked(self.method(values), values)
        for slot in self._slots(self.method(values)):
            if slot.form == "blocks":
                first = slot.knots[0]
                put(data, slot.path, first.value if first.name is None else values[first.name])
        return data

    def read(self, data: Mapping[str, Any]) -> dict[str, Value]:
        """The point whose filling is `data`: `read(fill(values)) == values`.

        Of gradients beside blocks, values whose depth lies between two layers come back to 9
        digits.

        Raises:
            SpaceError: `data` is no filling of this space; the message names the first difference.
        """
        if (method := data.get(METHOD)) not in self.methods:
            raise SpaceError(
                f"{METHOD}: expected one of {', '.join(self.methods)}, got {method!r}"
            )
        parts = self._pieces(str(method)) if self._is_cut(str(method)) else []
        values: dict[str, Value] = {METHOD: str(method)}
        for slot in self._slots(str(method)):
            values |= zip(slot.names(), read_slot(slot, data, parts), strict=True)
        values = {one.name: values[one.name] for one in self.active(str(method))}
        if found := difference(self.fill(values), data, (), 1e-9 if parts else 0.0):
            raise SpaceError(f"not a filling of this space: {found}")
        return values

    def _slots(self, method: str) -> list[Slot]:
        return [one for one in self.slots if method in one.methods]

    def _is_cut(self, method: str) -> bool:
        return any(slot.form == "blocks" for slot in self._slots(method))

    def _pieces(self, method: str) -> list[Piece]:
        marked: dict[str, Any] = copy.deepcopy(dict(self.template))
        for slot in self._slots(method):
            if slot.form == "blocks":
                put(marked, slot.path, Blocked((0.0,) * len(slot.knots)))
        return pieces(marked, self.layers)

    def _marked(self, method: str, values: Values) -> dict[str, Any]:
        """The recipe in its own form, with `Blocked` where values change along blocks."""
        data: dict[str, Any] = copy.deepcopy(dict(self.template))
        for slot in self._slots(method):
            put(data, slot.path, slot.data(values))
        self.stack.spread(data)
        data[METHOD] = method
        of_one_method(data, self.layers, self.methods)
        return data


def describe(space: Space) -> list[str]:
    """The whole space in lines: the layers, every range, every number and name that is fixed."""
    lines = [f"layers: {space.layers}"]
    for path, value in _leaves(space.template, ()):
        if is_range(value):
            value = {key: one for key, one in value.items() if key != "start"}
        lines.append(f"{path_text(path)}: {json.dumps(value, sort_keys=True)}")
    return lines


def changes(before: Sequence[str], now: Sequence[str]) -> list[str]:
    """What differs between two descriptions: `- was`, `+ is`, in the order of the recipes."""
    gone = [f"- {line}" for line in before if line not in now]
    return gone + [f"+ {line}" for line in now if line not in before]


def _base_takes_part(data: Mapping[str, Any]) -> bool:
    """Whether a base that `models` does not list is a source all the same (`merging.sections`)."""
    return METHODS[data[METHOD]].takes_in(data.get("parameters") or {})


def _leaves(data: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(data, Mapping) and not is_range(data):
        for key, value in data.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(data, list) and any(isinstance(one, Mapping | list) for one in data):
        for index, value in enumerate(data):
            yield from _leaves(value, (*path, index))
    else:
        yield path, data
