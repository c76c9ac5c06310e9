"""Every parameter of a recipe's plain data, with what stands around it.

Works on data that nobody has checked yet: what has not the form of a recipe is passed over here,
and refused by `merging.recipe` when the first filling is read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeGuard

from merging.document import Document, Path
from merging.errors import RecipeError, UnsupportedError
from merging.methods.method import Method

from .space_ranges import is_range


@dataclass(frozen=True, slots=True)
class Position:
    """One key under `parameters`, at `path`.

    `model` is the reference as written (level "source" only), `is_base` whether it is the base
    there; `slice` its index in a `slices` recipe, `layers` the length of that slice (None at the
    top of slices that differ).
    """

    path: Path
    level: Literal["source", "slice", "top"]
    layers: int | None
    slice: int | None = None
    model: str | None = None
    is_base: bool = False
    parameter: str = ""
    data: object = None

    def read_by(self, method: Method) -> bool:
        """Whether the method reads this parameter here."""
        parameter = method.parameter(self.parameter)
        if parameter is None or self.level != "source":
            return parameter is not None
        return parameter.scope == "model" and not (self.is_base and method.base_apart)


@dataclass(frozen=True, slots=True)
class Entry:
    """All of a parameter, or one value of its filter list (`filter` None: every tensor)."""

    path: Path
    filter: str | None
    filtered: bool
    data: object


def positions(data: Mapping[str, object], layers: int) -> Iterator[Position]:
    """Every parameter of a recipe, in its order; `layers` is the length of its models."""
    base = data.get("base_model")
    lengths = slice_lengths(data, layers)
    common = set(lengths.values()) - {0}
    fixed = len(common) == 1 and not any(map(is_searched, mappings(data.get("slices"))))
    top = Position((), "top", next(iter(common)) if fixed else None)
    for key, value in data.items():
        if key == "parameters":
            yield from _parameters(value, replace(top, path=(key,)))
        elif key == "models":
            for source in _sources(value, base, Position((key,), "source", layers)):
                yield from _parameters(source.data, source)
        elif key == "slices":
            for index, cut in enumerate(mappings(value)):
                around = Position((key, index, "parameters"), "slice", lengths[index], index)
                yield from _parameters(cut.get("parameters"), around)
                for source in _slice_sources(cut, base, around):
                    yield from _parameters(source.data, source)


def source_places(data: Mapping[str, object], layers: int) -> Iterator[Position]:
    """Every use of a model, as the position of its `parameters` (which may be missing)."""
    base = data.get("base_model")
    yield from _sources(data.get("models"), base, Position(("models",), "source", layers))
    lengths = slice_lengths(data, layers)
    for index, cut in enumerate(mappings(data.get("slices"))):
        around = Position(("slices", index, "parameters"), "slice", lengths[index], index)
        yield from _slice_sources(cut, base, around)


def slice_lengths(data: Mapping[str, object], layers: int) -> dict[int | None, int]:
    """Slice index to its number of layers; the `models` form is one slice, None.

    Where layers are searched, the most that it can be.
    """
    if "slices" not in data:
        return {None: layers}
    return {
        index: max((_length(source) for source in mappings(cut.get("sources"))), default=0)
        for index, cut in enumerate(mappings(data["slices"]))
    }


def entries(position: Position) -> Iterator[Entry]:
    """The values of a parameter: itself, or its filter list's."""
    data, path = position.data, position.path
    if is_conditional(data):
        yield _conditional(data, path)
    elif isinstance(data, list) and any(is_conditional(one) for one in data):
        for index, one in enumerate(data):
            if is_conditional(one):
                yield _conditional(one, (*path, index))
    else:
        yield Entry(path, None, False, data)


def models_of(data: Mapping[str, object]) -> list[str]:
    """Every model of the recipe but the base, in the order of the text, each once."""
    places = source_places(data, 0)
    return list(dict.fromkeys(one.model for one in places if one.model and not one.is_base))


def model_labels(references: Sequence[str]) -> dict[str, str]:
    """A short name for each model: the last part of its path, more parts where that is shared."""
    parts = {reference: _parts(reference) for reference in references}
    labels: dict[str, str] = {}
    for reference, own in parts.items():
        others = [other for name, other in parts.items() if name != reference]
        size = 1
        while size < len(own) and any(other[-size:] == own[-size:] for other in others):
            size += 1
        label = "/".join(own[-size:])
        labels[reference] = reference if label in labels.values() else label
    return labels


def refuse_stray_ranges(document: Document, data: object, path: Path = ()) -> None:
    """Refuses ranges where none may stand.

    Raises:
        RecipeError: a range outside `parameters`, `merge_method` and the `layer_range` of slices,
            with its place.
    """
    children: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(data, Mapping):
        plain = ("parameters",) if path else ("parameters", "tokenizer")  # tokens have any name
        children = ((key, one) for key, one in data.items() if key not in plain)
    elif isinstance(data, list):
        children = iter(enumerate(data))
    for key, value in children:
        if isinstance(value, Mapping) and ("range" in value or "choice" in value):
            if (*path, key) != ("merge_method",) and not _is_layer((*path, key)):
                raise _stray(document, (*path, key))
        else:
            refuse_stray_ranges(document, value, (*path, key))


def refuse_modules(document: Document) -> None:
    """Refuses a recipe of modules, which only a merge takes.

    Raises:
        UnsupportedError: with the place.
    """
    if isinstance(document.data, Mapping) and document.data.get("modules"):
        text = "modules cannot be searched yet; `merge`, `explain` and `evaluate` take them"
        raise UnsupportedError(document.message(("modules",), text, key=True))


def is_searched(cut: Mapping[str, object]) -> bool:
    """Whether the layers of a slice are searched: a range stands in a `layer_range`."""
    written = [source.get("layer_range") for source in mappings(cut.get("sources"))]
    return any(is_range(end) for ends in written if isinstance(ends, list) for end in ends)


def is_conditional(data: object) -> TypeGuard[Mapping[str, object]]:
    """Whether data is a `{filter, value}`."""
    return isinstance(data, Mapping) and ("filter" in data or "value" in data)


def mappings(data: object) -> list[Mapping[str, object]]:
    """A list's entries, an empty mapping for what is none, so that indices stay."""
    return (
        [one if isinstance(one, Mapping) else {} for one in data] if isinstance(data, list) else []
    )


def _sources(data: object, base: object, around: Position) -> Iterator[Position]:
    for number, source in enumerate(mappings(data)):
        if isinstance(model := source.get("model"), str):
            path = (*around.path, number, "parameters")
            yield replace(
                around,
                path=path,
                model=model,
                is_base=model == base,
                data=source.get("parameters"),
            )


def _slice_sources(
    cut: Mapping[str, object], base: object, around: Position
) -> Iterator[Position]:
    inner = replace(around, path=(*around.path[:-1], "sources"), level="source")
    return _sources(cut.get("sources"), cut.get("base_model", base), inner)


def _parameters(data: object, around: Position) -> Iterator[Position]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield replace(around, path=(*around.path, key), parameter=key, data=value)


def _is_layer(path: Path) -> bool:
    """Whether a path is that of one end of a source's layers in a slice."""
    return len(path) == 6 and (path[0], path[2], path[4]) == ("slices", "sources", "layer_range")


def _stray(document: Document, path: Path) -> RecipeError:
    return document.error(
        path,
        "a range may stand in parameters and merge_method, and as an end of a slice's "
        "layer_range, only; write one value",
    )


def _length(source: Mapping[str, object]) -> int:
    """Its layers; where they are searched, the most it can have."""
    ends = source.get("layer_range")
    if not isinstance(ends, list) or len(ends) != 2:
        return 0
    first, last = _numbers(ends[0]), _numbers(ends[1])
    return max(max(last) - min(first), 0) if first and last else 0


def _numbers(end: object) -> list[int]:
    """What one end of a source's layers can be, as far as it says so."""
    listed = end.get("range", end.get("choice")) if is_range(end) else [end]
    numbers = listed if isinstance(listed, list) else []
    whole = [one for one in numbers if isinstance(one, int) and not isinstance(one, bool)]
    return whole if len(whole) == len(numbers) else []


def _conditional(data: Mapping[str, object], path: Path) -> Entry:
    text = data.get("filter")
    name = text if isinstance(text, str) and text not in ("", "*") else None
    return Entry((*path, "value"), name, True, data.get("value"))


def _parts(reference: str) -> list[str]:
    last = reference.rsplit("+", 1)[-1].split("@", 1)[0]
    return [part for part in re.split(r"[/\\]", last) if part not in ("", ".", "..")] or [
        reference
    ]
