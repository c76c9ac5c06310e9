"""Blocks along depth become slices: the same merge, written so that mergekit reads it.

A slice of n layers whose parameters are `Blocked` is cut where any of them changes. Each piece
has its own sources and layer ranges; what else varies along depth is written out, one value a
layer. mergekit evaluates a list at t = layer / (n - 1) of its piece, so a list of n values is
those values; t = 0 outside the layers, so a last piece of no layers carries depth 0 for the
tensors after them.

What falls through one level's filters reaches the next level; a slice's own entries followed by
the top's say the same in one list.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merging.schedule import depth, interpolate

from .space_ranges import Value
from .space_walk import is_conditional, mappings, slice_lengths


@dataclass(frozen=True, slots=True)
class Blocked:
    """A parameter's values for even runs of layers, in the place of a number."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Layers [start, stop) of a slice (None: `models`); start = stop: what comes after."""

    slice: int | None
    start: int
    stop: int


def runs(length: int, count: int) -> list[tuple[int, int]]:
    """`count` even runs of `length` layers as [start, stop), earlier ones larger."""
    size, larger = divmod(length, count)
    starts = [index * size + min(index, larger) for index in range(count + 1)]
    return list(zip(starts, starts[1:], strict=False))


def gradient(values: Sequence[float], length: int) -> list[float]:
    """A gradient's value at each of `length` layers; a single layer takes the last (t = 1)."""
    return [interpolate(tuple(values), depth(layer, length)) for layer in range(length)]


def pieces(data: Mapping[str, Any], layers: int) -> list[Piece]:
    """The slices of the recipe after cutting, in order; a slice that is not cut is one piece."""
    result = []
    lengths = slice_lengths(data, layers)
    for index, length in lengths.items():
        part = data if index is None else data["slices"][index]
        counts = {len(one.values) for one in _blocked(part)}
        starts = {start for count in counts for start, _ in runs(length, count)} | {0}
        bounds = [*sorted(starts), length]
        result += [Piece(index, a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
        if len(starts) > 1 and index in (None, len(lengths) - 1):
            result.append(Piece(index, length, length))
    return result


def cut(data: Mapping[str, Any], layers: int, needs_base: bool) -> dict[str, Any]:
    """The recipe with every `Blocked` replaced by slices; its other parts are copied as they are.

    Args:
        data: Plain recipe data with at least one `Blocked`.
        layers: Layers of the models (`models` form).
        needs_base: Whether the base is a source of every slice though the `models` form does not
            list it.
    """
    parts = pieces(data, layers)
    lengths = slice_lengths(data, layers)
    whole = [piece for piece in parts if piece.stop - piece.start == lengths[piece.slice]]
    top = {name: one for name, one in data.get("parameters", {}).items() if _varies(one)}
    slices = [
        copy.deepcopy(data["slices"][piece.slice])
        if piece in whole
        else _piece(
            _slice(data, piece.slice, layers, needs_base), top, piece, lengths[piece.slice]
        )
        for piece in parts
    ]
    result: dict[str, Any] = {}
    for key, value in data.items():
        if key in ("models", "slices"):
            result["slices"] = slices
        elif key == "parameters" and "models" in data:
            rest = {name: copy.deepcopy(one) for name, one in value.items() if name not in top}
            result |= {key: rest} if rest else {}
        else:
            result[key] = copy.deepcopy(value)
    return result


def _slice(
    data: Mapping[str, Any], index: int | None, layers: int, needs_base: bool
) -> Mapping[str, Any]:
    if index is not None:
        return mappings(data["slices"])[index]
    sources = [{**model, "layer_range": [0, layers]} for model in data["models"]]
    base = data.get("base_model")
    if base and needs_base and all(source["model"] != base for source in sources):
        sources.append({"model": base, "layer_range": [0, layers]})
    return {"sources": sources}


def _piece(
    whole: Mapping[str, Any], top: Mapping[str, Any], piece: Piece, length: int
) -> dict[str, Any]:
    result = {key: copy.deepcopy(value) for key, value in whole.items() if key != "parameters"}
    result["sources"] = []
    for source in whole["sources"]:
        first = source["layer_range"][0]
        own = {"model": source["model"], "layer_range": [first + piece.start, first + piece.stop]}
        if "parameters" in source:
            own["parameters"] = _settings(source["parameters"], piece, length)
        result["sources"].append(own)
    settings = {
        name: _joined(one, top.get(name)) for name, one in whole.get("parameters", {}).items()
    }
    settings |= {name: one for name, one in top.items() if name not in settings}
    if settings:
        result["parameters"] = _settings(settings, piece, length)
    return result


def _joined(own: Any, top: Any) -> Any:
    if top is None or not _is_filter_list(own):
        return own
    return _as_filter_list(own) + _as_filter_list(top)


def _settings(settings: Mapping[str, Any], piece: Piece, length: int) -> dict[str, Any]:
    return {name: _setting(one, piece, length) for name, one in settings.items()}


def _setting(setting: Any, piece: Piece, length: int) -> Any:
    if is_conditional(setting):
        return {**setting, "value": _value(setting["value"], piece, length)}
    if _is_filter_list(setting):
        return [_setting(one, piece, length) for one in setting]
    return _value(setting, piece, length)


def _value(value: Any, piece: Piece, length: int) -> Any:
    tail = piece.start == piece.stop
    if isinstance(value, Blocked):
        if tail:
            return value.values[0]
        spans = runs(length, len(value.values))
        return next(
            one for one, (a, b) in zip(value.values, spans, strict=True) if a <= piece.start < b
        )
    if not isinstance(value, list):
        return value
    if tail:
        return value[0]
    here = gradient(value, length)[piece.start : piece.stop]
    return here[0] if len(here) == 1 else here


def _blocked(data: Any) -> Iterator[Blocked]:
    if isinstance(data, Blocked):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _blocked(value)
    elif isinstance(data, list):
        for value in data:
            yield from _blocked(value)


def _varies(setting: Any) -> bool:
    values = [one.get("value") for one in _as_filter_list(setting)]
    return any(isinstance(value, Blocked | list) for value in values)


def _is_filter_list(setting: Any) -> bool:
    return is_conditional(setting) or (
        isinstance(setting, list) and any(is_conditional(one) for one in setting)
    )


def _as_filter_list(setting: Any) -> list[Any]:
    if is_conditional(setting):
        return [setting]
    return setting if _is_filter_list(setting) else [{"value": setting}]
