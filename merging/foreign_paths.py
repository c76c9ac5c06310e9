"""What a stranger's config.json and tokenizer_config.json could make transformers open or fetch.

`init_inputs: ["/home/me/notes.txt"]` of a tokenizer is opened as its vocabulary, and would be
written out with the merge; an `attn_implementation` with a slash names code on the hub. Neither is
ever written by `save_pretrained`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import SourceError
from .headers import member, read_json

CONFIG = "tokenizer_config.json"
LONGEST = 4096
"""Characters of a path."""
NEVER_OPENED = frozenset(
    "name_or_path special_tokens_map_file added_tokens_file tokenizer_file "
    "tokenizer_config_file chat_template".split()
)
"""Keys that keep a path of the machine where the tokenizer was made; transformers reads none."""
IMPLEMENTATIONS = tuple(
    f"{start}{part}_implementation" for start in ("", "_") for part in ("attn", "experts")
)


def refuse_foreign_files(folder: Path) -> None:
    """Looks through a tokenizer's settings for files of this machine that are not the folder's.

    Raises:
        SourceError: one is named.
    """
    file = member(folder, CONFIG)
    if not file.is_file():
        return
    for key, text in _texts(read_json(file)):
        if _is_foreign(key, text, folder):
            raise SourceError(
                f"{file}: {key}: {text[:200]!r} is a file outside of the model's folder, which no "
                f"tokenizer needs; remove {key} if you trust where the model comes from"
            )


def refuse_hub_code(config: Mapping[str, object], folder: Path) -> None:
    """Refuses a config that names kernels of the hub: they are code.

    Raises:
        SourceError: it does.
    """
    for key, value in _implementations(config):
        named = value.values() if isinstance(value, dict) else [value]
        if any(isinstance(one, str) and "/" in one for one in named):
            raise SourceError(
                f"{folder}: config.json: {key}: {str(value)[:80]!r} would fetch code from the hub "
                f"and run it; remove {key}"
            )


def _texts(data: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and key not in NEVER_OPENED:
                yield key, one


def _is_foreign(key: str, text: str, folder: Path) -> bool:
    named = key in ("init_inputs", "vocab", "merges") or key.endswith("_file")
    if not named and "/" not in text and "\\" not in text:
        return False
    if len(text) > LONGEST or "\0" in text:
        return False
    try:
        found = Path(text)
        return found.is_file() and not found.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return False


def _implementations(config: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Of a config and of those inside it (`text_config`, ...)."""
    for key, value in config.items():
        if key in IMPLEMENTATIONS:
            yield key, value
        elif isinstance(value, dict):
            yield from _implementations(value)
