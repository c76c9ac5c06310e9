"""The recipe of a study as JSON Schema, from the tables that its readers use.

An editor that has it completes and checks what can be known without models: keys, forms, names
of methods and parameters, and what single numbers may be. What goes together (a parameter and its
method, density and epsilon) is the business of `check`. A recipe that asks for mergekit's own
reading (`eutectic: {exact: true}`) is left alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from merging.methods.parameters import Parameter
from merging.methods.table import METHODS
from merging.recipe_keys import (
    FILTER_KEYS,
    OWN_KEYS,
    RECIPE_KEYS,
    ROW_KEYS,
    SLICE_KEYS,
    SLICE_SOURCE_KEYS,
    SOURCE_KEYS,
    TOKEN_KEYS,
    TOKENIZER_KEYS,
    Keys,
)
from merging.recipe_reader import DTYPES, MAX_SEED
from merging.recipe_sources import MAX_LAYER
from merging.recipe_tokenizer import MAX_MULTIPLE, MAX_TOKEN_ID
from merging.recipe_values import IDLE, MAX_FILTERS, MAX_GRADIENT
from search.range_keys import CHOICE_KEYS, LAYER_KEYS, RANGE_KEYS

Schema = dict[str, Any]

NUMBER: Schema = {"type": "number"}
SWITCH: Schema = {"type": "boolean"}
MODEL: Schema = {"type": "string", "minLength": 1}
TEXT_OR_NONE: Schema = {"type": ["string", "null"]}


def recipe_definitions() -> dict[str, Schema]:
    """The parts of a recipe by name, `recipe` the whole, for `$defs`."""
    return {
        "recipe": _recipe(),
        "source": _mapping(
            SOURCE_KEYS, {"model": MODEL, "parameters": ref("parameters")}, "model"
        ),
        "slice": _slice(),
        "slice_source": _slice_source(),
        "layer": _layer(),
        **_parameters(),
        "tokenizer": _tokenizer(),
        "token": _token(),
    }


def ref(name: str) -> Schema:
    """A part by its name."""
    return {"$ref": f"#/$defs/{name}"}


def _mapping(keys: Keys, forms: Mapping[str, Schema], *required: str) -> Schema:
    """A mapping of the keys of a table that have a form, and of no others."""
    properties = {
        name: {"description": key.meaning, **forms[name]}
        for name, key in keys.items()
        if name in forms
    }
    found: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**found, "required": list(required)} if required else found


def _recipe() -> Schema:
    dtype = {"enum": [*DTYPES, *(f"torch.{name}" for name in DTYPES), None]}
    own = {"mask_seed": _whole(0, MAX_SEED), "exact": SWITCH}
    forms = {
        "merge_method": any_of({"enum": list(METHODS)}, _choice({"enum": list(METHODS)})),
        "base_model": TEXT_OR_NONE,
        "models": _list_or_none(ref("source")),
        "slices": _list_or_none(ref("slice")),
        "parameters": ref("parameters"),
        "dtype": dtype,
        "out_dtype": dtype,
        "tokenizer": any_of(ref("tokenizer"), {"type": "null"}),
        "tokenizer_source": TEXT_OR_NONE,
        "chat_template": TEXT_OR_NONE,
        "eutectic": {**_mapping(OWN_KEYS, own), "type": ["object", "null"]},
        "name": {},
    }
    strict = _mapping(RECIPE_KEYS, forms, "merge_method")
    strict["oneOf"] = [_given("models"), _given("slices")]
    exact = {"properties": {"eutectic": _of("exact", {"const": True})}, "required": ["eutectic"]}
    return {
        "description": "A mergekit recipe; any number in it may be a range.",
        "if": exact,
        "then": {"type": "object", "required": ["merge_method"]},
        "else": strict,
    }


def _of(key: str, form: Schema) -> Schema:
    """A mapping in which a key is there and has that form."""
    return {"type": "object", "required": [key], "properties": {key: form}}


def _given(key: str) -> Schema:
    return _of(key, {"type": "array", "minItems": 1})


def _list_or_none(items: Schema) -> Schema:
    return {"type": ["array", "null"], "items": items}


def any_of(*forms: Schema) -> Schema:
    """One of several forms."""
    return {"anyOf": list(forms)}


def _whole(low: int, high: int | None = None) -> Schema:
    bounds = {"minimum": low} if high is None else {"minimum": low, "maximum": high}
    return {"type": "integer", **bounds}


def _source() -> Schema:
    return _mapping(SOURCE_KEYS, {"model": MODEL, "parameters": ref("parameters")}, "model")


def _slice() -> Schema:
    sources = {"type": "array", "minItems": 1, "items": ref("slice_source")}
    forms = {"sources": sources, "base_model": TEXT_OR_NONE, "parameters": ref("parameters")}
    return _mapping(SLICE_KEYS, forms, "sources")


def _slice_source() -> Schema:
    ends = {"type": "array", "minItems": 2, "maxItems": 2, "items": ref("layer")}
    forms = {"model": MODEL, "parameters": ref("parameters"), "layer_range": ends}
    return _mapping(SLICE_SOURCE_KEYS, forms, "model")


def _layer() -> Schema:
    """An end of `layer_range`."""
    layer = _whole(0, MAX_LAYER)
    forms = {"range": _pair(layer), "step": _whole(1), "start": layer}
    searched = _mapping(LAYER_KEYS, forms, "range")
    listed = {"choice": {"type": "array", "minItems": 1, "items": layer}, "start": layer}
    return any_of(layer, searched, _mapping(LAYER_KEYS, listed, "choice"))


def _pair(item: Schema) -> Schema:
    return {"type": "array", "minItems": 2, "maxItems": 2, "items": item}


def _choice(item: Schema) -> Schema:
    listed = {"type": "array", "minItems": 1, "uniqueItems": True, "items": item}
    return _mapping(CHOICE_KEYS, {"choice": listed, "start": item}, "choice")


def _same_names() -> dict[str, list[Parameter]]:
    """The parameters of all methods, by name."""
    named: dict[str, list[Parameter]] = {}
    for method in METHODS.values():
        for one in method.parameters:
            named.setdefault(one.name, []).append(one)
    return named


def _parameters() -> dict[str, Schema]:
    """`parameters`, and the forms that its values refer to: one for all of the same bounds."""
    properties: dict[str, Schema] = {}
    forms: dict[str, Schema] = {}
    known: dict[str, str] = {}
    for name, same in _same_names().items():
        values = _values(same)
        like = known.setdefault(str(values), name)
        forms[f"value_of_{like}"] = any_of(*values)
        forms[f"setting_of_{like}"] = _setting(f"value_of_{like}")
        meanings = dict.fromkeys(f"{one.meaning}: {one.expected()}" for one in same)
        said = "; or ".join(meanings)
        properties[name] = {"description": said, **ref(f"setting_of_{like}")}
    whole = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    return {"parameters": whole, **forms}


def _values(same: Sequence[Parameter]) -> list[Schema]:
    """What a parameter can be, but for filters."""
    if same[0].kind == "bool":
        switch: Schema = {"enum": [True, False, 0, 1]}
        return [switch] if same[0].name in IDLE else [switch, _choice(switch)]
    scalar = _scalar(same)
    return [scalar, _range(scalar), _choice(scalar), _gradient(scalar)]


def _setting(value: str) -> Schema:
    """A value, or filters, or nothing."""
    entry = _mapping(FILTER_KEYS, {"filter": TEXT_OR_NONE, "value": ref(value)}, "value")
    filters = {"type": "array", "minItems": 1, "maxItems": MAX_FILTERS, "items": entry}
    return any_of(ref(value), entry, filters, {"type": "null"})


def _scalar(same: Sequence[Parameter]) -> Schema:
    """A number within the widest bounds that the methods have."""
    found: Schema = {"type": "integer" if all(one.kind == "int" for one in same) else "number"}
    low = min((one.low, one.low_open) for one in same)
    high = max((one.high, not one.high_open) for one in same)
    if math.isfinite(low[0]):
        found["exclusiveMinimum" if low[1] else "minimum"] = low[0]
    if math.isfinite(high[0]):
        found["maximum" if high[1] else "exclusiveMaximum"] = high[0]
    return found


def _range(scalar: Schema) -> Schema:
    several = any_of(scalar, {"type": "array", "minItems": 1, "items": scalar})
    forms = {
        **_plain_range(scalar),
        "start": several,
        "anchors": any_of(_whole(1), {"enum": ["auto", "layers"]}),
        "blocks": _whole(1),
    }
    return _mapping(RANGE_KEYS, forms, "range")


def _plain_range(scalar: Schema) -> dict[str, Schema]:
    step = {"type": "number", "exclusiveMinimum": 0}
    return {"range": _pair(scalar), "log": SWITCH, "step": step, "start": scalar}


def _gradient(scalar: Schema) -> Schema:
    one = _plain_range(scalar)
    start = any_of(scalar, {"type": "array", "minItems": 1, "maxItems": 1, "items": scalar})
    item = any_of(scalar, _mapping(RANGE_KEYS, {**one, "start": start}, "range"))
    return {"type": "array", "minItems": 1, "maxItems": MAX_GRADIENT, "items": item}


def _tokenizer() -> Schema:
    tokens = {"type": ["object", "null"], "additionalProperties": ref("token")}
    padded = {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_MULTIPLE}
    forms: dict[str, Schema] = {
        "source": {"type": "string"},
        "tokens": tokens,
        "pad_to_multiple_of": padded,
    }
    return _mapping(TOKENIZER_KEYS, forms)


def _token() -> Schema:
    """Where the row of one token comes from."""
    zero = _mapping(ROW_KEYS, {"kind": {"const": "zero"}}, "kind")
    forms: dict[str, Schema] = {
        "kind": {"const": "model_token"},
        "model": MODEL,
        "token": {"type": ["string", "null"], "minLength": 1},
        "token_id": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_TOKEN_ID},
    }
    other = _mapping(ROW_KEYS, forms, "kind", "model")
    source = any_of(MODEL, zero, other, {"type": "null"})
    own = _mapping(TOKEN_KEYS, {"source": source, "force": SWITCH})
    return {**own, "type": ["object", "null"]}
