"""A document becomes a recipe, or one message that says what is wrong with it and where.

Everything that needs no model is checked here: form, names, ranges, the numbers that must go
together at every depth. Shapes, layer counts and filters that leave a tensor without a value are
the business of `plan`. Not supported, and refused by name: `modules`, tokenizer sections, several
stages.
"""

from .document import Document, Notice, Path, did_you_mean
from .errors import MergeError, RecipeError, UnsupportedError
from .lost_indentation import parameter_names
from .methods.method import Method
from .methods.table import METHODS, find_method
from .recipe import ModelReference, Recipe, Slice, Source
from .recipe_rules import check_models, check_numbers
from .recipe_values import Reading, read_parameters, shown
from .references import parse_reference

DTYPES = ("float32", "bfloat16", "float16")
KEYS = (
    "merge_method",
    "base_model",
    "models",
    "slices",
    "parameters",
    "dtype",
    "out_dtype",
    "eutectic",
    "name",
)
MAX_SEED = 2**63 - 1
MAX_LAYER = 2**20

_NOT_SUPPORTED = {
    "modules": "write the recipe with `models` or `slices`; one module at a time",
    "tokenizer_source": "leave it out if all models share one vocabulary: the base model's "
    "tokenizer is copied; else bring the models to one vocabulary with mergekit first",
    "tokenizer": "leave it out if all models share one vocabulary: the base model's tokenizer is "
    "copied; else bring the models to one vocabulary with mergekit first",
    "chat_template": "leave it out: the base model's chat template is copied",
}


def read_recipe(
    document: Document, *, strict: bool, exact: bool = False
) -> tuple[Recipe, tuple[Notice, ...]]:
    """Reads and checks a recipe of numbers.

    Args:
        document: mergekit's YAML, whole or as the `recipe` of a study (`Document.child`).
        strict: refuse keys that mergekit knows nothing of (a study), else warn (a recipe that is
            only merged).
        exact: take mergekit's side of every difference (`merging.differences`), as a recipe asks
            for that says `eutectic: {exact: true}`.

    Returns:
        The recipe, and a notice for everything legal that does nothing.

    Raises:
        RecipeError: what came, the rule and the place.
        UnsupportedError: something of mergekit's that is not supported, by name.
    """
    reading = Reading(document, strict)
    data = _top(document)
    mask_seed, own_exact = _own(reading, data)
    reading.exact = exact or own_exact
    method = _method(document, data)
    method = method.loosened() if reading.exact else method
    _check_form(reading, data)
    base = (
        _model(document, data["base_model"], ("base_model",)) if data.get("base_model") else None
    )
    recipe = Recipe(
        merge_method=method.name,
        base_model=base,
        models=_models(reading, data, method, base),
        slices=_slices(reading, data, method, base),
        parameters=read_parameters(
            reading, data.get("parameters"), ("parameters",), method, "recipe"
        ),
        dtype=_dtype(document, data, "dtype"),
        out_dtype=_dtype(document, data, "out_dtype"),
        mask_seed=mask_seed,
        exact=reading.exact,
    )
    check_models(reading, recipe, method)
    check_numbers(reading, recipe, method)
    notices = sorted(
        (*document.notices, *reading.notices), key=lambda one: (one.place.line, one.place.column)
    )
    return recipe, tuple(notices)


def _top(document: Document) -> dict[str, object]:
    """The top-level keys, once it is clear that this is a recipe."""
    if not isinstance(document.data, dict):
        got = shown(document.data)
        raise document.error((), f"expected a recipe (merge_method, models, ...), got {got}")
    data: dict[str, object] = document.data
    if "merge_method" not in data and "recipe" in data:
        raise document.error(
            ("recipe",), "a study: its recipe has ranges; expected a recipe with numbers", key=True
        )
    return data


def _check_form(reading: Reading, data: dict[str, object]) -> None:
    """The top-level keys: nothing unsupported, nothing unknown, models or slices."""
    document = reading.document
    for key, what in _NOT_SUPPORTED.items():
        if data.get(key):
            raise UnsupportedError(
                document.message((key,), f"not supported yet: {what}", key=True)
            )
    for key in data:
        if key not in KEYS and key not in _NOT_SUPPORTED:
            _tell_unknown_top(reading, data, key)
    if bool(data.get("models")) == bool(data.get("slices")):
        got = "both" if data.get("models") else "neither"
        raise document.error((), f"expected exactly one of `models` and `slices`, got {got}")


def _tell_unknown_top(reading: Reading, data: dict[str, object], key: str) -> None:
    if key not in parameter_names():
        hint = did_you_mean(key, {*KEYS, *parameter_names()}) or f" ({', '.join(KEYS)})"
        reading.unknown((key,), f"a recipe has no key {key!r}{hint}")
        return
    lost = "parameters" in data and not data["parameters"]
    why = " (nothing is indented under `parameters:`: did the file lose its indentation?)"
    reading.unknown((key,), f"{key!r} belongs under `parameters:`{why if lost else ''}")


def _method(document: Document, data: dict[str, object]) -> Method:
    name = data.get("merge_method")
    at: Path = ("merge_method",)
    if not isinstance(name, str):
        got = shown(name) if "merge_method" in data else "none"
        raise document.error(at, f"expected a merge method ({', '.join(METHODS)}), got {got}")
    try:
        return find_method(name)
    except MergeError as error:
        raise document.error(at, str(error)) from None


def _model(document: Document, value: object, path: Path) -> ModelReference:
    if not isinstance(value, str):
        quote = "; quote it" if isinstance(value, bool | int | float) else ""
        raise document.error(path, f"expected a path or a hub name, got {shown(value)}{quote}")
    try:
        return parse_reference(value)
    except RecipeError as error:
        raise document.error(path, str(error)) from None


def _models(
    reading: Reading, data: dict[str, object], method: Method, base: ModelReference | None
) -> tuple[Source, ...]:
    if not data.get("models"):
        return ()
    written = enumerate(reading.sequence(data["models"], ("models",)))
    return tuple(
        _source(reading, value, ("models", index), method, base, sliced=False)
        for index, value in written
    )


def _slices(
    reading: Reading, data: dict[str, object], method: Method, base: ModelReference | None
) -> tuple[Slice, ...]:
    if not data.get("slices"):
        return ()
    written = enumerate(reading.sequence(data["slices"], ("slices",)))
    return tuple(_slice(reading, value, ("slices", at), method, base) for at, value in written)


def _slice(
    reading: Reading, value: object, path: Path, method: Method, base: ModelReference | None
) -> Slice:
    data = reading.mapping(value, path)
    _only(reading, data, path, ("sources", "base_model", "parameters"), "a slice")
    own = data.get("base_model")
    own_base = _model(reading.document, own, (*path, "base_model")) if own else None
    written = enumerate(reading.sequence(data.get("sources"), (*path, "sources")))
    sources = tuple(
        _source(reading, one, (*path, "sources", at), method, own_base or base, sliced=True)
        for at, one in written
    )
    parameters = read_parameters(
        reading, data.get("parameters"), (*path, "parameters"), method, "slice"
    )
    return Slice(sources, own_base, parameters)


def _source(
    reading: Reading,
    value: object,
    path: Path,
    method: Method,
    base: ModelReference | None,
    *,
    sliced: bool,
) -> Source:
    """One entry of `models` or of a slice's `sources`."""
    data = reading.mapping(value, path)
    keys = ("model", "parameters", "layer_range") if sliced else ("model", "parameters")
    _only(reading, data, path, keys, "a source" if sliced else "a model")
    if "model" not in data:
        raise reading.document.error(path, "the key `model` is missing: whose weights?")
    model = _model(reading.document, data["model"], (*path, "model"))
    parameters = read_parameters(
        reading,
        data.get("parameters"),
        (*path, "parameters"),
        method,
        "base" if model == base else "model",
    )
    layers = _layer_range(reading.document, data, path) if sliced else None
    return Source(model, parameters, layers)


def _only(
    reading: Reading, data: dict[str, object], path: Path, keys: tuple[str, ...], what: str
) -> None:
    """Tells of every key that has no meaning here."""
    for key in data:
        if key in keys:
            continue
        if key in parameter_names():
            reading.unknown((*path, key), f"{key!r} belongs under `parameters:`")
        elif key == "layer_range":
            reading.unknown((*path, key), "`layer_range` counts in `slices` only")
        else:
            hint = did_you_mean(key, keys)
            reading.unknown((*path, key), f"{what} has no key {key!r}{hint or ''}")


def _layer_range(document: Document, data: dict[str, object], path: Path) -> tuple[int, int]:
    at = (*path, "layer_range")
    value = data.get("layer_range")
    whole = isinstance(value, list) and all(
        isinstance(end, int) and not isinstance(end, bool) for end in value
    )
    if not isinstance(value, list) or not whole or len(value) != 2:
        got = shown(value)
        raise document.error(
            at, f"expected [first, end]: two whole numbers, end not in; got {got}"
        )
    first, end = value
    if not 0 <= first <= end <= MAX_LAYER:
        raise document.error(at, f"expected 0 <= first <= end, got {shown(value)}")
    return first, end


def _dtype(document: Document, data: dict[str, object], key: str) -> str | None:
    value = data.get(key)
    if value is None:
        return None
    name = value.removeprefix("torch.") if isinstance(value, str) else ""
    if name in DTYPES:
        return name
    if name in ("float64", "int64"):
        raise UnsupportedError(
            document.message((key,), f"{name} is not supported: use one of {', '.join(DTYPES)}")
        )
    hint = did_you_mean(name, DTYPES)
    raise document.error((key,), f"expected {', '.join(DTYPES)}; got {shown(value)}{hint}")


def _own(reading: Reading, data: dict[str, object]) -> tuple[int, bool]:
    """`eutectic: {mask_seed: N, exact: true}`, which mergekit ignores; 0 and false by default."""
    known = ("mask_seed", "exact")
    own = reading.mapping(data.get("eutectic"), ("eutectic",))
    for key in own:
        if key in known:
            continue
        hint = did_you_mean(key, known)
        message = f"`eutectic` has no key {key!r}{hint or ': ' + ', '.join(known)}"
        raise reading.document.error(("eutectic", key), message, key=True)
    seed = own.get("mask_seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        at = ("eutectic", "mask_seed")
        raise reading.document.error(at, f"expected a whole number from 0, got {shown(seed)}")
    exact = own.get("exact", False)
    if not isinstance(exact, bool):
        at = ("eutectic", "exact")
        raise reading.document.error(at, f"expected true or false, got {shown(exact)}")
    return seed, exact
