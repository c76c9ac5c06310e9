"""Whether a config.json belongs to the weights beside it, and what the two say together.

Cheap checks on names and shapes only; what they let pass, transformers finds out when it loads the
model.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from .checkpoint import Checkpoint, TensorInfo
from .errors import SourceError
from .layers import COUNT_KEYS, is_embedding, layer_layout, layer_of

EMBEDDINGS = ("embed_tokens.weight", "embed_in.weight", "wte.weight", "word_embeddings.weight")
HEADS = ("lm_head.weight", "embed_out.weight")
_NO_WORDS = re.compile(r"position|token_type|segment|patch|mask|rel_", re.IGNORECASE)


def embedding_name(tensors: Mapping[str, TensorInfo]) -> str | None:
    """The tensor of the input embedding.

    By its usual names; else the embedding with the most rows among the tensors outside the layers
    that are none of positions or kinds of tokens.
    """
    usual = next((name for name in tensors if name.endswith(EMBEDDINGS)), None)
    if usual is not None:
        return usual
    tables = [
        name
        for name, info in tensors.items()
        if len(info.shape) == 2 and layer_of(name) is None and is_embedding(name)
    ]
    words = [name for name in tables if not _NO_WORDS.search(name)]
    return max(words, key=lambda name: tensors[name].shape[0], default=None)


def head_name(tensors: Mapping[str, TensorInfo]) -> str | None:
    """The tensor of the output head; None where it is tied and not stored.

    By its usual names; else the matrix outside the layers that has the shape of the embedding and
    is none.
    """
    usual = next((name for name in tensors if name.endswith(HEADS)), None)
    embedding = embedding_name(tensors)
    if usual is not None or embedding is None:
        return usual
    alike = (
        name
        for name, info in tensors.items()
        if info.shape == tensors[embedding].shape
        and layer_of(name) is None
        and not is_embedding(name)
    )
    return next(alike, None)


def is_tied(config: Mapping[str, object]) -> bool:
    """Whether the head is the embedding; a config may leave it to its architecture's default."""
    tied = config.get("tie_word_embeddings")
    if isinstance(tied, bool):
        return tied
    from transformers import CONFIG_MAPPING

    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return False
    kind = CONFIG_MAPPING[model_type]
    try:
        return bool(getattr(kind(), "tie_word_embeddings", False))
    except Exception:  # some configs cannot be made of defaults alone
        return bool(getattr(kind, "tie_word_embeddings", False))


def check_config(checkpoint: Checkpoint) -> None:
    """Notices a config.json that belongs to other weights: vocabulary, width and depth.

    Raises:
        SourceError: with both sizes.
    """
    nested = checkpoint.config.get("text_config")
    config = nested if isinstance(nested, dict) else checkpoint.config
    for key in ("vocab_size", "hidden_size", *COUNT_KEYS):
        size = config.get(key)
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
            raise SourceError(
                f"{checkpoint.folder}: config.json: {key}: expected a whole number, got "
                f"{repr(size)[:80]}"
            )
    embedding = embedding_name(checkpoint.tensors)
    usual = embedding is not None and embedding.endswith(EMBEDDINGS)
    if embedding and usual and len(shape := checkpoint.tensors[embedding].shape) == 2:
        _same(checkpoint.folder, config, "vocab_size", shape[0], f"{embedding} has {{}} rows")
        if shape[1] not in config.values():  # the width of embeddings has many names
            _same(
                checkpoint.folder, config, "hidden_size", shape[1], f"{embedding} has {{}} columns"
            )
    try:
        layer_layout(checkpoint.tensors, checkpoint.config)
    except SourceError as error:
        raise SourceError(f"{checkpoint.folder}: {error}") from None


def _same(folder: Path, config: Mapping[str, object], key: str, stored: int, what: str) -> None:
    claimed = config.get(key)
    if isinstance(claimed, int) and claimed != stored:
        raise SourceError(f"{folder}: config.json says {key} {claimed}, {what.format(stored)}")
