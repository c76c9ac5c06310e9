"""Rotary positions whose angles follow the length of a pass, and from which length on they do."""

from collections.abc import Iterator, Mapping
from typing import Any

OF_LENGTH = ("dynamic", "longrope")


def rope_kinds(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every kind of rope in a config, however deep, with the settings it stands in."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from rope_kinds(value)
        elif key in ("rope_type", "type") and isinstance(value, str):
            yield value, config


def length_rope(config: Any) -> int | None:
    """The length from which on rope follows that of the pass, None if it never does."""
    for kind, settings in rope_kinds(config.to_dict()):
        if kind in OF_LENGTH:
            known = settings.get("original_max_position_embeddings")
            known = known or getattr(config, "original_max_position_embeddings", None)
            return int(known or config.max_position_embeddings)
    return None
