"""Where the names of models stand in a recipe's plain data, so that they can be written anew."""

from collections.abc import Callable, Mapping
from typing import Any

WORDS = ("union", "base")
"""What a tokenizer's source may say that is no model."""


def renamed(data: Any, rename: Callable[[str], str]) -> Any:
    """Recipe data with every model's name replaced.

    Models stand under `model` and `base_model`, and as sources of the tokenizer and its tokens.
    """
    if isinstance(data, list):
        return [renamed(one, rename) for one in data]
    if not isinstance(data, Mapping):
        return data
    return {key: _value(key, value, rename) for key, value in data.items()}


def _value(key: str, value: Any, rename: Callable[[str], str]) -> Any:
    if key == "tokenizer_source":
        return _source(value, rename)
    if key == "tokenizer" and isinstance(value, Mapping):
        return _tokenizer(value, rename)
    if key in ("model", "base_model") and isinstance(value, str):
        return rename(value)
    return renamed(value, rename)


def _tokenizer(section: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    changed = dict(section)
    if "source" in section:
        changed["source"] = _source(section["source"], rename)
    tokens = section.get("tokens")
    if isinstance(tokens, Mapping):
        changed["tokens"] = {token: _token(rule, rename) for token, rule in tokens.items()}
    return changed


def _source(value: Any, rename: Callable[[str], str]) -> Any:
    return rename(value) if isinstance(value, str) and value not in WORDS else value


def _token(rule: Any, rename: Callable[[str], str]) -> Any:
    if not isinstance(rule, Mapping) or "source" not in rule:
        return rule
    source = rule["source"]
    new = rename(source) if isinstance(source, str) else renamed(source, rename)
    return {**rule, "source": new}
