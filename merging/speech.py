"""How the output of a merge speaks: its tokenizer, its chat template, its token ids in configs.

Where a recipe has `tokenizer` or `chat_template`, the checkpoints of its models carry a `Speech`;
what loads, scores or writes a merge asks for it here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOKEN_ID = re.compile(r"_token_(ids?|index)$")


@dataclass(frozen=True, slots=True)
class TokenIds:
    """What becomes of the token ids in a config: of the donor's vocabulary, for the output's.

    `size`: rows of the output. `moved`: ids that change, None where the token is gone. `special`:
    the output tokenizer's own `bos_token_id`, `eos_token_id`, `pad_token_id`.
    """

    size: int
    moved: Mapping[int, int | None]
    special: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Speech:
    """How the output of a merge speaks, shared by the checkpoints of its models.

    `tokenizer` None: as its files stand in `folder`. `chat_template` None: the tokenizer's own.
    `ids` None: the vocabulary is the donor's. `family`: the wrapped checkpoints that rows may come
    from; `spec`: all else that the rows and the tokenizer depend on.
    """

    tokenizer: "PreTrainedTokenizerBase | None"
    folder: Path
    chat_template: str | None
    ids: TokenIds | None
    family: tuple[Checkpoint, ...]
    spec: str
    notices: tuple[str, ...]


def speech_of(checkpoint: Checkpoint) -> Speech | None:
    """How the merge of a checkpoint speaks; None where it is the checkpoint's own affair."""
    found = getattr(checkpoint, "speech", None)
    return found if isinstance(found, Speech) else None


def spoken(config: Mapping[str, object], ids: TokenIds) -> dict[str, object]:
    """A config.json in the output's vocabulary; of nested ones, `text_config` has the language."""
    changed = renumbered(config, ids)
    nested = config.get("text_config")
    if isinstance(nested, dict):
        changed["text_config"] = {**renumbered(nested, ids), "vocab_size": ids.size}
    if "vocab_size" in config or not isinstance(nested, dict):
        changed["vocab_size"] = ids.size
    return changed


def speak(config: Any, checkpoint: Checkpoint) -> None:
    """Gives a config of transformers (of a model or of generation) the output's ids, in place."""
    speech = speech_of(checkpoint)
    if speech is None or speech.ids is None or config is None:
        return
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for part in {id(one): one for one in (config, text)}.values():
        data = part.to_dict()
        sized = {"vocab_size": speech.ids.size} if "vocab_size" in data else {}
        for key, value in {**renumbered(data, speech.ids), **sized}.items():
            if key in sized or _TOKEN_ID.search(key):
                setattr(part, key, value)


def renumbered(data: Mapping[str, object], ids: TokenIds) -> dict[str, object]:
    """Every token id of a config as the output's tokenizer has it."""
    changed = dict(data)
    for key, value in data.items():
        if not _TOKEN_ID.search(key):
            continue
        if isinstance(value, list):
            found = [_moved(one, ids) for one in value]
            changed[key] = [one for one in found if one is not None]
        elif (new := _moved(value, ids)) is not None or value is None:
            changed[key] = new
        else:
            changed[key] = ids.special.get(key)
    return changed


def _moved(value: object, ids: TokenIds) -> object:
    """An id of the output; None where it has no such token. What is no id stays."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    new = ids.moved.get(value, value)
    return None if new is not None and new >= ids.size else new
