"""A study's recipe becomes its search space: every range found, checked, named.

Anchors: value(l) = sum_k c_k hat_k(l / (L - 1)), the gradient list of a recipe. Blocks: one
value for each of K even runs of layers. `anchors: auto` is a count of anchors for each stage of
the search (`stages`); the space read here is that of one stage.

Fills no recipe and draws no point: see `space_points` and `coordinates`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from merging.document import Document, Path, did_you_mean
from merging.errors import MergeError
from merging.methods.method import Method
from merging.methods.table import METHODS, find_method
from merging.recipe_reader import read_recipe

from .density_pairs import find_limits
from .layer_stack import Stack
from .space_layers import dimensions_of, read_stack
from .space_parts import METHOD, Dimension, Knot, Slot, Values
from .space_points import Space, changes, describe
from .space_ranges import Range, Value, is_range, middle, read_range
from .space_walk import (
    Entry,
    Position,
    entries,
    model_labels,
    models_of,
    positions,
    refuse_stray_ranges,
    source_places,
)

__all__ = ["Dimension", "Space", "Values", "changes", "describe", "space_from"]
MAX_DIMENSIONS = 2000


def space_from(document: Document, *, layers: int, stage: int = 0) -> Space:
    """Reads the search space of a recipe.

    Args:
        document: The recipe (of a study, its `recipe`), with its ranges.
        layers: Layers of the models, at least 1.
        stage: Which count of anchors `auto` stands for, from 0 (one anchor).

    Raises:
        RecipeError: a fault of a range or of the recipe around it, with its place.
        UnsupportedError: a range or a method that eutectic does not do (yet).
    """
    if not isinstance(document.data, dict):
        raise document.error((), "expected a recipe: merge_method, models, parameters")
    builder = _Builder(document, document.data, layers, stage, *_methods(document))
    refuse_stray_ranges(document, document.data)
    builder.layer_ends()
    for position in positions(document.data, layers):
        builder.setting(position)
    if not builder.dimensions:
        read_recipe(document, strict=True)  # what is wrong with the recipe comes first
        raise document.error(
            (), "nothing to search: write {range: [low, high]} in the place of a number"
        )
    return builder.space()


def _methods(document: Document) -> tuple[tuple[Method, ...], Dimension | None]:
    """The merge methods of the recipe, and the dimension where they are a choice."""
    assert isinstance(document.data, dict)
    data = document.data.get(METHOD)
    if not is_range(data):
        return (_method(document, data, (METHOD,)),), None
    choice = read_range(document, (METHOD,), data, None)
    if not choice.choices:
        raise document.error((METHOD,), "expected {choice: [...]} of merge methods, got a range")
    found = tuple(
        _method(document, name, (METHOD, "choice", index))
        for index, name in enumerate(choice.choices)
    )
    names = tuple(method.name for method in found)
    start = choice.start[0] if choice.start else None
    dimension = Dimension(METHOD, (METHOD,), METHOD, None, choice, names, start=start)
    return found, dimension if len(found) > 1 else None


def _method(document: Document, name: object, path: Path) -> Method:
    if name is None:
        raise document.error((), f"the recipe has no {METHOD}")
    try:
        return find_method(str(name))
    except MergeError as error:
        raise document.error(path, str(error)) from None


@dataclass(slots=True)
class _Builder:
    """Gathers the dimensions of one recipe."""

    document: Document
    data: dict[str, Any]
    layers: int
    stage: int
    methods: tuple[Method, ...]
    method_dimension: Dimension | None
    dimensions: list[Dimension] = field(init=False)
    slots: list[Slot] = field(default_factory=list, init=False)
    labels: dict[str, str] = field(init=False)
    names: set[str] = field(default_factory=set, init=False)
    stack: Stack = field(default=Stack(), init=False)

    def __post_init__(self) -> None:
        self.dimensions = [self.method_dimension] if self.method_dimension else []
        base = self.data.get("base_model")
        models = models_of(self.data)
        slice_bases = [one.model for one in source_places(self.data, self.layers) if one.is_base]
        named = [*models, base, *slice_bases]
        self.labels = model_labels([one for one in named if isinstance(one, str)])
        self.names = {METHOD}

    def layer_ends(self) -> None:
        """Takes in the layers of slices, where they are searched."""
        self.stack = read_stack(self.document, self.data)
        ends, slots = dimensions_of(self.stack, tuple(one.name for one in self.methods))
        self.dimensions += ends
        self.slots += slots
        self.names |= {one.name for one in ends}

    def setting(self, position: Position) -> None:
        """Takes in one parameter of the recipe."""
        for entry in entries(position):
            if isinstance(entry.data, Mapping):
                found = read_range(
                    self.document, entry.path, entry.data, position.layers, self.stage
                )
                self.add(position, entry, [(entry.path, found)] * found.count, found.form)
            elif isinstance(entry.data, list) and any(map(is_range, entry.data)):
                self.add(position, entry, list(self.elements(entry)), "linear")

    def elements(self, entry: Entry) -> Iterator[tuple[Path, Range | Value]]:
        """The ranges and numbers of a gradient."""
        assert isinstance(entry.data, list)
        for index, one in enumerate(entry.data):
            path = (*entry.path, index)
            if not is_range(one):
                yield path, one
                continue
            for key in ("anchors", "blocks"):
                if key in one:
                    text = "write one range for all of the gradient"
                    raise self.document.error((*path, key), text)
            found = read_range(self.document, path, one, None)
            if found.choices:
                raise self.document.error(path, "a gradient takes numbers; use a range here")
            yield path, found

    def add(
        self,
        position: Position,
        entry: Entry,
        knots: Sequence[tuple[Path, Range | Value]],
        form: Any,
    ) -> None:
        """Adds a slot, and a dimension for each range among its knots."""
        methods = self.readers(position, entry)
        slot: list[Knot] = []
        for index, (path, found) in enumerate(knots):
            if not isinstance(found, Range):
                slot.append(Knot(None, found))
                continue
            self.legal(position, path, found, methods)
            own = replace(found, form="constant", count=1, start=None, auto=False)
            start = None if found.start is None else found.start[min(index, found.count - 1)]
            mark = _mark(index, len(knots), "auto" if found.auto else form)
            name = self.name(position, entry, mark)
            model = self.labels[position.model] if position.model else None
            self.dimensions.append(
                Dimension(name, path, position.parameter, model, own, methods, index, start)
            )
            slot.append(Knot(name))
        nested = any(isinstance(one, Range) and one.auto for _, one in knots)
        self.slots.append(Slot(entry.path, form, tuple(slot), methods, nested))
        if len(self.dimensions) > MAX_DIMENSIONS:
            raise self.document.error(entry.path, f"more than {MAX_DIMENSIONS} dimensions")

    def readers(self, position: Position, entry: Entry) -> tuple[str, ...]:
        """The methods that read a parameter where it stands."""
        found = tuple(one.name for one in self.methods if position.read_by(one))
        if found and position.parameter != "int8_mask":
            return found
        of_methods = {one.name: one for method in self.methods for one in method.parameters}
        name = position.parameter
        methods = " or ".join(method.name for method in self.methods)
        if name == "int8_mask":
            why = "int8_mask changes no value, there is nothing to search"
        elif name not in of_methods:
            hint = did_you_mean(name, of_methods) or f"; it has {', '.join(of_methods)}"
            why = f"{methods} has no parameter {name!r}{hint}"
        elif of_methods[name].scope == "global":
            why = f"{name} is read from the top-level `parameters` only; move the range there"
        else:
            why = f"{methods} does not read the {name} of the base model; drop it"
        raise self.document.error(position.path, why, key=True)

    def legal(self, position: Position, path: Path, found: Range, methods: Sequence[str]) -> None:
        """Refuses a range that holds values which a method refuses."""
        ends = found.choices or (found.low, found.high)
        for name in methods:
            parameter = METHODS[name].parameter(position.parameter)
            if parameter and parameter.kind == "int" and not _whole(found):
                text = f"{name}: {position.parameter} is a whole number; give whole ends, step: 1"
                raise self.document.error((*path, "range"), text)
            for index, value in enumerate(ends):
                if parameter and (fault := parameter.fault(value)):
                    hint = "; write {choice: [true, false]}" if parameter.kind == "bool" else ""
                    key = "choice" if found.choices else "range"
                    raise self.document.error((*path, key, index), f"{name}: {fault}{hint}")

    def name(self, position: Position, entry: Entry, mark: str) -> str:
        """A short name that no other dimension has."""
        parts = [f"slice{position.slice}"] if position.slice is not None else []
        parts += [self.labels[position.model]] if position.model else []
        parts += [position.parameter]
        if entry.filtered:
            parts += [entry.filter or "rest"]
        name, again = ".".join(parts) + mark, 2
        while name in self.names:
            name, again = f"{'.'.join(parts)}~{again}{mark}", again + 1
        self.names.add(name)
        return name

    def space(self) -> Space:
        """The finished space: limits found, a filling for each method read, the start found."""
        dimensions = tuple(self.dimensions)
        names = tuple(method.name for method in self.methods)
        ranges = {one.name: one.range for one in dimensions}
        limits = find_limits(self.data, self.layers, names, self.slots, ranges)
        if found := limits.impossible():
            blamed = next(one for one in dimensions if one.name == found[0])
            raise self.document.error(blamed.path, found[1])
        started = any(one.start is not None for one in dimensions)
        slots = tuple(self.slots)
        space = Space(
            self.data,
            self.layers,
            names,
            dimensions,
            slots,
            limits,
            self.labels,
            {},
            started,
            self.stack,
        )
        first = self.first()
        ordered = sorted(names, key=lambda name: name != first)
        starts = {name: self.start(space, name, name == first) for name in ordered}
        for start in starts.values():
            read_recipe(self.document.with_data(space.sketch(start)), strict=True)
        return replace(space, starts=starts)

    def first(self) -> str:
        """The method that the search starts from: the user's, else one that reads their values."""
        if self.method_dimension is not None and self.method_dimension.start is not None:
            return str(self.method_dimension.start)
        given = [one for one in self.dimensions if one.start is not None]
        names = [one.name for one in self.methods]
        fits = (name for name in names if all(name in one.methods for one in given))
        return next(fits, names[0])

    def start(self, space: Space, method: str, theirs: bool) -> Values:
        """The user's values, else middles, moved where they would not go together."""
        active = space.active(method)
        values = {one.name: _middle(one) for one in active}
        if self.method_dimension is not None:
            values[METHOD] = method
        given = [one for one in active if one.start is not None and theirs]
        free = {one.name for one in active} - {one.name for one in given}
        values = space.stack.moved_inside(values, free)
        if method in space.limits.methods:
            values = space.limits.moved_inside(values, free)
        if given and (fault := space.fault(values)):
            path = (*given[0].path, "start")
            raise self.document.error(path, f"the search cannot start here: {fault}")
        return values


def _mark(index: int, count: int, form: str) -> str:
    """What tells the values of one range apart; depth, where their count grows."""
    if count == 1:
        return ""
    if form == "auto":
        return f"@{100 * index // (count - 1)}%"
    return f"{'#' if form == 'blocks' else '@'}{index}"


def _whole(found: Range) -> bool:
    """Whether a range of numbers has whole numbers only."""
    numbers = (found.low, found.high, found.step)
    return bool(found.choices) or all(one is not None and one == int(one) for one in numbers)


def _middle(dimension: Dimension) -> Value:
    own = dimension.range
    if dimension.start is not None:
        return dimension.start
    if own.choices:
        return own.choices[0]
    found = middle(own, own.low, own.high)
    return int(found) if own.integer else found
