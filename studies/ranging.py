"""Ranges around the numbers of a recipe somebody already has.

What a range spans is a guess that fits published recipes. Parameters that a merge method does not
read are left out, since in a study they would be faults.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from merging.document import Document
from merging.methods.method import Method
from merging.methods.table import find_method
from merging.recipe_values import IDLE
from merging.schedule import depth, interpolate

Number = int | float


def ranged_recipe(document: Document, layers: int | None) -> dict[str, Any]:
    """The recipe's data with ranges around its numbers.

    Parameters that do nothing are left out. `layers`: of the models, None where that is not known;
    a gradient of more values than there are layers becomes one value a layer.
    """
    data: dict[str, Any] = dict(document.data)  # type: ignore[call-overload]
    method = find_method(str(data["merge_method"]))
    base = data.get("base_model") if method.base_apart else None
    data["models"] = [_source(one, method, base, layers) for one in data.get("models") or []]
    cuts = data.get("slices") or []
    lengths = [_length(cut) for cut in cuts]
    data["slices"] = [
        {**cut, "sources": [_source(one, method, base, length) for one in cut["sources"]]}
        for cut, length in zip(cuts, lengths, strict=True)
    ]
    for form in ("models", "slices"):
        if not data[form]:
            del data[form]
    depth_of_shared = min(lengths) if lengths else layers
    own_shared = data.get("parameters") or {}
    shared = _ranged(own_shared, method, ("model", "global"), depth_of_shared)
    if any(one.name == "lambda" for one in method.parameters) and "lambda" not in own_shared:
        shared["lambda"] = {"range": [0.5, 1.5], "start": 1.0}
    data["parameters"] = shared
    if not shared:
        del data["parameters"]
    return {key: value for key, value in data.items() if key in RECIPE_KEYS}


RECIPE_KEYS = (
    "merge_method base_model models slices parameters dtype out_dtype tokenizer_source tokenizer "
    "chat_template eutectic"
).split()


def _length(cut: Mapping[str, Any]) -> int:
    """Layers of a slice, at least 1."""
    start, stop = cut["sources"][0].get("layer_range") or (0, 1)
    return max(1, stop - start)


def _source(entry: Any, method: Method, base: object, layers: int | None) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"model": entry}
    kept = {key: value for key, value in entry.items() if key != "parameters"}
    parameters = entry.get("parameters") or {}
    if entry.get("model") == base:
        return kept  # a base listed among the models counts for nothing in a task-vector method
    ranged = _ranged(parameters, method, ("model",), layers)
    return {**kept, "parameters": ranged} if ranged else kept


def _ranged(
    parameters: Mapping[str, Any], method: Method, scopes: tuple[str, ...], layers: int | None
) -> dict[str, Any]:
    known = {one.name for one in method.parameters if one.scope in scopes} - IDLE
    named = ((name, value) for name, value in parameters.items() if name in known)
    return {name: _range(name, value, layers) for name, value in named}


def _range(name: str, value: Any, layers: int | None) -> Any:
    """A range in the place of a number, a gradient, or the values of a filter list."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Number):
        return {"range": _bounds(name, [float(value)]), "start": value}
    if isinstance(value, Mapping):
        return {**value, "value": _range(name, value.get("value"), layers)}
    if isinstance(value, list) and all(isinstance(one, Number) for one in value):
        if layers is not None and len(value) > layers:
            value = [interpolate(tuple(value), depth(one, layers)) for one in range(layers)]
        if len(value) == 1:
            return _range(name, value[0], layers)
        bounds = _bounds(name, [float(one) for one in value])
        return {"range": bounds, "anchors": len(value), "start": value}
    if isinstance(value, list):
        return [_range(name, one, layers) for one in value]
    return value


def _bounds(name: str, values: Sequence[float]) -> list[float]:
    """From low to high around what somebody chose, as wide as is usual for the parameter."""
    low, high = min(values), max(values)
    if name == "density":
        bounds = (max(0.05, low - 0.3), min(1.0, high + 0.3))
    elif name == "epsilon":
        bounds = (low / 2, high * 1.5)
    elif name == "lambda":
        bounds = (low / 2, high * 1.5) if low > 0 else (min(low, -1.0), max(high, 1.0))
    else:
        bounds = (min(0.0, 2 * low), max(1.0, 2 * high))
    return [round(bound, 6) for bound in bounds]
