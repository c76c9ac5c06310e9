"""Model references: `path`, `path@revision`, `path+adapter`, `path@revision+adapter@revision`.

The rule is mergekit's and looks at the text only: one `+` separates model and adapter, in each of
the two one `@` separates name and revision. A local path that has a `+` or an `@` in it therefore
cannot be written in a recipe: rename the folder, or write another name and map that to the path.
"""

import unicodedata

from .errors import RecipeError
from .recipe import ModelReference

MAX_LENGTH = 4096


def parse_reference(text: str) -> ModelReference:
    """Reads a model reference; `str()` of the result is the text again.

    Raises:
        RecipeError: a part is empty, or `+` or `@` stand where the rule has no place for them.
    """
    if not text or text != text.strip() or len(text) > MAX_LENGTH or breaks_lines(text):
        raise RecipeError(f"{text[:80]!r} is not a model: expected a path or a hub name")
    parts = text.split("+")
    if len(parts) > 2:
        raise RecipeError(_too_many(text, "+", "model+adapter"))
    model, revision = _name_and_revision(text, parts[0])
    adapter, adapter_revision = _name_and_revision(text, parts[1]) if parts[1:] else (None, None)
    return ModelReference(model, revision, adapter, adapter_revision)


def breaks_lines(text: str) -> bool:
    """Whether a text has control characters, line breaks of any kind or half characters in it."""
    return any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in text)


def _name_and_revision(text: str, part: str) -> tuple[str, str | None]:
    name, *revision = part.split("@")
    if len(revision) > 1:
        raise RecipeError(_too_many(text, "@", "name@revision"))
    if not name or revision == [""]:
        raise RecipeError(
            f"{text!r} is not a model: nothing stands beside its '+' or '@'; "
            "expected path, path@revision or path+adapter"
        )
    return name, revision[0] if revision else None


def _too_many(text: str, sign: str, form: str) -> str:
    return (
        f"{text!r} has more than one {sign!r}, which separates {form}; if the path itself has "
        "one, rename the folder or map another name to it"
    )
