"""Where a parameter is looked up: the chain of settings that a tensor may come to.

A source's own setting, its slice's, the recipe's, the method's default; of each its filter list
in order, up to the first entry that takes every tensor. The same rule as `merging.schedule`,
over dimensions in the place of numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merging.document import Path
from merging.methods.table import METHODS

from .space_parts import Knot, Slot
from .space_ranges import Value
from .space_walk import Position, entries, positions


@dataclass(frozen=True, slots=True)
class Level:
    """One entry of a chain: what tensors it takes (None: all), and its values along depth."""

    filter: str | None
    form: str
    knots: tuple[Knot, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Every setting of a recipe, with the slots that stand in them."""

    settings: tuple[Position, ...]
    slots: Mapping[Path, Slot]

    def chain(self, name: str, default: Value, place: Position) -> Iterator[Level]:
        """The entries that a parameter of the source at `place` may come from, in order.

        What is no number stands as the default: reading the recipe refuses it.
        """
        for level in ("source", "slice", "top"):
            for one in self.settings:
                if one.parameter == name and one.level == level and _covers(one, place):
                    for entry in entries(one):
                        yield self._level(entry.filter, entry.path, entry.data, default)
                        if entry.filter is None:
                            return
        yield Level(None, "constant", (Knot(None, default),))

    def _level(self, filter: str | None, path: Path, data: object, default: Value) -> Level:
        if (slot := self.slots.get(path)) is not None:
            return Level(filter, slot.form, slot.knots)
        numbers = data if isinstance(data, list) and data else [data]
        knots = [Knot(None, one if isinstance(one, int | float) else default) for one in numbers]
        return Level(filter, "linear" if len(knots) > 1 else "constant", tuple(knots))


def look_into(template: Mapping[str, Any], layers: int, slots: Sequence[Slot]) -> Lookup:
    """The lookup of a recipe with ranges."""
    return Lookup(tuple(positions(template, layers)), {slot.path: slot for slot in slots})


def default_of(method: str, name: str) -> Value:
    """A method's default for a parameter; 1 where it is required, or not the method's."""
    parameter = METHODS[method].parameter(name)
    return 1.0 if parameter is None or parameter.default is None else parameter.default


def _covers(setting: Position, place: Position) -> bool:
    if setting.level == "source":
        return setting.path[:-1] == place.path
    return setting.level == "top" or setting.slice == place.slice
