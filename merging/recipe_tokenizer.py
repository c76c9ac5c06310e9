"""`tokenizer`, `tokenizer_source` and `chat_template` of a recipe: read, with places.

Only what the text says is checked here; whether a model has a token is found out when the models
are opened (`aligned`).
"""

import re
from collections.abc import Collection
from typing import Literal

from .chat_templates import BUILT_IN
from .document import Document, Path, did_you_mean
from .recipe import ModelReference, Recipe, TokenizerSection, TokenRow, TokenRule, models_of
from .recipe_keys import ROW_KEYS, TOKEN_KEYS, TOKENIZER_KEYS
from .recipe_values import Reading, read_model, shown

MAX_MULTIPLE = 2**16
MAX_TOKEN_ID = 2**31 - 1
_GENERATION = re.compile(r"\{%[-+]?\s*(end)?generation\s*[-+]?%\}")
"""A tag of transformers' own, which Jinja does not know."""


def read_tokenizer(reading: Reading, data: dict[str, object]) -> TokenizerSection | None:
    """The section; `tokenizer_source: X` is `tokenizer: {source: X}`.

    Raises:
        RecipeError: what came, the rule and the place.
    """
    document = reading.document
    written, short = data.get("tokenizer"), data.get("tokenizer_source")
    if written is not None and short is not None:
        line = document.place(("tokenizer",), key=True).line
        raise document.error(
            ("tokenizer_source",),
            f"says again what `tokenizer` (line {line}) says; keep one of them",
            key=True,
        )
    if short is not None:
        return TokenizerSection(_source(document, short, ("tokenizer_source",)), {}, None)
    if written is None:
        return None
    at: Path = ("tokenizer",)
    if isinstance(written, str):
        raise document.error(at, f"expected {{source: {written}}}, got {shown(written)}")
    section = reading.mapping(written, at)
    _only(reading, section, at, TOKENIZER_KEYS, "`tokenizer`")
    tokens = reading.mapping(section.get("tokens"), (*at, "tokens"))
    return TokenizerSection(
        source=_source(document, section.get("source", "union"), (*at, "source")),
        tokens={
            token: _rule(reading, value, (*at, "tokens", token)) for token, value in tokens.items()
        },
        pad_to_multiple_of=_multiple(document, section.get("pad_to_multiple_of")),
    )


def check_tokenizer(document: Document, recipe: Recipe) -> None:
    """Rows come from models that are merged, and from no others.

    Raises:
        RecipeError: a token's source is no model of the recipe.
    """
    if recipe.tokenizer is None:
        return
    known = models_of(recipe)
    for token, rule in recipe.tokenizer.tokens.items():
        row = rule.source
        if row is not None and row.model is not None and row.model not in known:
            hint = did_you_mean(str(row.model), map(str, known))
            raise document.error(
                ("tokenizer", "tokens", token, "source"),
                f"{str(row.model)!r} is none of the recipe's models{hint or ''}; rows can be "
                f"taken from {', '.join(map(str, known))}",
            )


def read_chat_template(document: Document, data: dict[str, object]) -> str | None:
    """`auto`, the name of a built-in template, or the Jinja text of one.

    Raises:
        RecipeError: anything else; for Jinja with the fault and its line in the template.
    """
    value = data.get("chat_template")
    if value is None or value == "":
        return None
    at: Path = ("chat_template",)
    names = ("auto", *BUILT_IN)
    if not isinstance(value, str) or (value not in names and "{" not in value):
        hint = did_you_mean(value, names) if isinstance(value, str) else ""
        raise document.error(
            at, f"expected {', '.join(names)} or a Jinja template, got {shown(value)}{hint}"
        )
    if value not in names and (fault := _jinja_fault(value)):
        raise document.error(at, fault)
    return value


def _jinja_fault(text: str) -> str | None:
    from jinja2 import Environment, TemplateSyntaxError

    try:
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(_GENERATION.sub("", text))
    except TemplateSyntaxError as error:
        reason = " ".join((error.message or "not Jinja").split())
        return f"not a Jinja template: {reason} (line {error.lineno} of the template)"
    except RecursionError:
        return "not a Jinja template: nested too deep"
    return None


def _source(
    document: Document, value: object, path: Path
) -> ModelReference | Literal["union", "base"]:
    if value == "union":
        return "union"
    if value == "base":
        return "base"
    if not isinstance(value, str):
        raise document.error(path, f"expected union, base or a model, got {shown(value)}")
    return read_model(document, value, path)


def _rule(reading: Reading, value: object, path: Path) -> TokenRule:
    """`{source: ..., force: true}` of one token."""
    data = reading.mapping(value, path)
    _only(reading, data, path, TOKEN_KEYS, "a token")
    if not path[-1]:
        raise reading.document.error(path, "an empty text is no token", key=True)
    force = data.get("force", False)
    if not isinstance(force, bool):
        raise reading.document.error(
            (*path, "force"), f"expected true or false, got {shown(force)}"
        )
    source = data.get("source")
    if source is None and force:
        raise reading.document.error((*path, "force"), "nothing to force: give a `source` too")
    return TokenRule(None if source is None else _row(reading, source, (*path, "source")), force)


def _row(reading: Reading, value: object, path: Path) -> TokenRow:
    """A model, `{kind: model_token, model, token | token_id}` or `{kind: zero}`."""
    document = reading.document
    if isinstance(value, str):
        return TokenRow(read_model(document, value, path))
    if not isinstance(value, dict):
        raise document.error(
            path, f"expected a model, {{kind: model_token}} or {{kind: zero}}, got {shown(value)}"
        )
    kind = value.get("kind")
    if kind == "zero":
        _only(reading, value, path, ("kind",), "a zero row")
        return TokenRow(None)
    if kind != "model_token":
        raise document.error((*path, "kind"), f"expected model_token or zero, got {shown(kind)}")
    _only(reading, value, path, ROW_KEYS, "a model_token")
    model = read_model(document, value.get("model"), (*path, "model"))
    return _other_token(document, value, path, model)


def _other_token(
    document: Document, value: dict[str, object], path: Path, model: ModelReference
) -> TokenRow:
    token, token_id = value.get("token"), value.get("token_id")
    if (token is None) == (token_id is None):
        got = "neither" if token is None else "both"
        raise document.error(path, f"expected one of `token` and `token_id`, got {got}")
    if token is not None:
        if not isinstance(token, str) or not token:
            raise document.error(
                (*path, "token"), f"expected a token (quote it), got {shown(token)}"
            )
        return TokenRow(model, token=token)
    if (
        not isinstance(token_id, int)
        or isinstance(token_id, bool)
        or not (0 <= token_id <= MAX_TOKEN_ID)
    ):
        raise document.error(
            (*path, "token_id"), f"expected a whole number from 0, got {shown(token_id)}"
        )
    return TokenRow(model, token_id=token_id)


def _multiple(document: Document, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_MULTIPLE:
        raise document.error(
            ("tokenizer", "pad_to_multiple_of"),
            f"expected a whole number from 1 to {MAX_MULTIPLE}, got {shown(value)}",
        )
    return value or None


def _only(
    reading: Reading, data: dict[str, object], path: Path, keys: Collection[str], what: str
) -> None:
    for key in data:
        if key not in keys:
            hint = did_you_mean(key, keys) or f" ({', '.join(keys)})"
            reading.unknown((*path, key), f"{what} has no key {key!r}{hint}")
