"""A document becomes a recipe, or one message that says what is wrong with it and where.

Everything that needs no model is checked here: form, names, ranges, the numbers that must go
together at every depth. Shapes, layer counts and filters that leave a tensor without a value are
the business of `plan`. Who is merged is read by `recipe_sources`, several stages by `stages`.
"""

from .document import Document, Notice, Path, did_you_mean
from .errors import MergeError, UnsupportedError
from .lost_indentation import parameter_names
from .methods.method import Method
from .methods.table import METHODS, find_method
from .recipe import Recipe
from .recipe_keys import OWN_KEYS, RECIPE_KEYS
from .recipe_rules import check_models, check_numbers
from .recipe_sources import SourceReader
from .recipe_tokenizer import check_tokenizer, read_chat_template, read_tokenizer
from .recipe_values import Reading, read_model, read_parameters, shown

DTYPES = ("float32", "bfloat16", "float16")
MAX_SEED = 2**63 - 1


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
    base = None
    if data.get("base_model"):
        base = read_model(document, data["base_model"], ("base_model",))
    reader = SourceReader(reading, method, base)
    recipe = Recipe(
        merge_method=method.name,
        base_model=base,
        models=reader.models(data, ()),
        slices=reader.slices(data, ()),
        modules=reader.modules(data, ()),
        parameters=read_parameters(
            reading, data.get("parameters"), ("parameters",), method, "recipe"
        ),
        dtype=_dtype(document, data, "dtype"),
        out_dtype=_dtype(document, data, "out_dtype"),
        mask_seed=mask_seed,
        tokenizer=read_tokenizer(reading, data),
        chat_template=read_chat_template(document, data),
        exact=reading.exact,
    )
    check_models(reading, recipe, method)
    check_tokenizer(document, recipe)
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
    """The top-level keys: nothing unknown, one of models, slices and modules."""
    document = reading.document
    for key in data:
        if key not in RECIPE_KEYS:
            _tell_unknown_top(reading, data, key)
    given = [key for key in ("models", "slices", "modules") if data.get(key)]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise document.error(
            (), f"expected exactly one of `models`, `slices` and `modules`, got {got}"
        )


def _tell_unknown_top(reading: Reading, data: dict[str, object], key: str) -> None:
    if key not in parameter_names():
        hint = did_you_mean(key, {*RECIPE_KEYS, *parameter_names()})
        hint = hint or f" ({', '.join(RECIPE_KEYS)})"
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
    own = reading.mapping(data.get("eutectic"), ("eutectic",))
    for key in own:
        if key in OWN_KEYS:
            continue
        hint = did_you_mean(key, OWN_KEYS)
        message = f"`eutectic` has no key {key!r}{hint or ': ' + ', '.join(OWN_KEYS)}"
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
