"""Changes to a tokenizer, by transformers and in its tokenizer.json: stripped, joined, added to.

Tokens that are new to a tokenizer become added tokens, as in mergekit: merges of a BPE model are
not taken over. What is built goes to disk and back once, so that it is what users of the merge
load.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SourceError, UnsupportedError
from .headers import read_json
from .loading import tokenizer_at

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_TOKENIZER = 128 << 20


def tokens_of(tokenizer: "PreTrainedTokenizerBase", rows: int | None) -> dict[str, int]:
    """Token to id, in the order of the ids; those without a row are left out."""
    found: Mapping[str, int] = tokenizer.get_vocab()
    ordered = sorted(found.items(), key=lambda one: (one[1], one[0]))
    return {token: row for token, row in ordered if rows is None or row < rows}


def add_union(
    base: "PreTrainedTokenizerBase", others: Iterable[tuple["PreTrainedTokenizerBase", int]]
) -> int:
    """Adds to `base` what other tokenizers have, each with the rows of its model's embedding.

    First their ordinary tokens, then the added ones with their settings (the first tokenizer's,
    where they differ), in the order of the ids. Returns how many ordinary tokens are new.
    """
    ordinary: dict[str, None] = {}
    added: dict[str, Any] = {}
    for tokenizer, rows in others:
        special = {one.content: (row, one) for row, one in tokenizer.added_tokens_decoder.items()}
        for token in tokens_of(tokenizer, rows):
            if token in special:
                added.setdefault(token, special[token][1])
            else:
                ordinary.setdefault(token)
    known = base.get_vocab()
    own = base.get_added_vocab()
    fresh = [token for token in ordinary if token not in known and token not in added]
    base.add_tokens(fresh)
    base.add_tokens([added[token] for token in added if token not in own])
    return len(fresh)


def stripped(
    tokenizer: "PreTrainedTokenizerBase", rows: int
) -> tuple["PreTrainedTokenizerBase", int]:
    """A tokenizer without the tokens whose ids an embedding has no row for, and how many.

    Raises:
        UnsupportedError: it cannot be stripped.
    """
    beyond = {token for token, row in tokenizer.get_vocab().items() if row >= rows}
    if not beyond:
        return tokenizer, 0
    fault = (
        f"{tokenizer.name_or_path}: the tokenizer has {len(beyond)} tokens (like {min(beyond)!r}) "
        f"that the embedding of {rows} rows does not know"
    )
    if not tokenizer.is_fast:
        raise UnsupportedError(f"{fault}, and only a tokenizer.json can be stripped of them")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tokenizer.save_pretrained(scratch)
        _edit(folder / "tokenizer.json", lambda data: _strip(data, beyond, rows))
        _edit(folder / "tokenizer_config.json", lambda data: _forget(data, beyond))
        found = _again(folder, fault)
    if any(row >= rows for row in found.get_vocab().values()):
        raise UnsupportedError(f"{fault}; its class adds them again when they are taken away")
    found.name_or_path = tokenizer.name_or_path
    return found, len(beyond)


def settled(tokenizer: "PreTrainedTokenizerBase", size: int) -> "PreTrainedTokenizerBase":
    """The tokenizer as it comes back from disk; it must know the same tokens.

    Raises:
        UnsupportedError: it does not, or it puts tokens around every text that have no row.
    """
    with tempfile.TemporaryDirectory() as scratch:
        save_tokenizer(tokenizer, Path(scratch))
        found = _again(Path(scratch), f"{tokenizer.name_or_path}: tokens were added")
    if isinstance(found.chat_template, dict):  # merges keep the default, as copied ones do
        found.chat_template = found.chat_template.get("default")
    found.name_or_path = tokenizer.name_or_path
    vocabulary = tokenizer.get_vocab()
    if found.get_vocab() != vocabulary:
        raise UnsupportedError(
            f"{tokenizer.name_or_path}: the tokenizer built of it is another one once it is saved "
            "and loaded; take the tokenizer of another model"
        )
    if any(row >= size for row in found.encode("")):
        raise UnsupportedError(
            f"{tokenizer.name_or_path}: the tokenizer puts tokens around every text that the "
            "embedding has no row for"
        )
    return found


def save_tokenizer(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Writes a tokenizer, without what transformers notes of how it was loaded here."""
    tokenizer.save_pretrained(folder)
    _edit(folder / "tokenizer_config.json", _forget_origin)


def add_missing(tokenizer: "PreTrainedTokenizerBase", tokens: Iterable[str]) -> None:
    """Adds the tokens that the recipe speaks of."""
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([token for token in tokens if token not in known])


def _edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = read_json(file, MAX_TOKENIZER)
    change(data)
    text = json.dumps(data, indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def _again(folder: Path, why: str) -> "PreTrainedTokenizerBase":
    """Loads what was changed."""
    try:
        return tokenizer_at(folder)
    except SourceError as error:
        reason = str(error).removeprefix(f"{folder}: ")
        raise UnsupportedError(f"{why}; changed so, {reason}") from error


def _forget_origin(data: dict[str, Any]) -> None:
    for key in ("is_local", "local_files_only"):
        data.pop(key, None)


def _strip(data: dict[str, Any], beyond: set[str], rows: int) -> None:
    """Takes tokens out of a tokenizer.json, with the merges that speak of them."""
    model = data["model"]
    data["added_tokens"] = [one for one in data.get("added_tokens") or [] if one["id"] < rows]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {token: row for token, row in model["vocab"].items() if row < rows}
    else:
        model["vocab"] = model["vocab"][:rows]  # Unigram: in the order of the rows
    if "merges" in model:
        model["merges"] = [one for one in model["merges"] if not beyond & set(_parts(one))]


def _parts(merge: str | list[str]) -> Iterator[str]:
    """Both sides of a merge and what they give."""
    sides = merge.split(" ") if isinstance(merge, str) else merge
    yield from sides
    yield "".join(sides)


def _forget(data: dict[str, Any], beyond: set[str]) -> None:
    """Takes tokens out of the roles that a tokenizer_config.json gives them."""
    for key, value in list(data.items()):
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str) and content in beyond and key.endswith("_token"):
            del data[key]
        elif isinstance(value, list) and key.endswith("special_tokens"):
            data[key] = [one for one in value if one not in beyond]
