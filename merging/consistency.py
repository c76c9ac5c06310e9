"""Whether a config.json belongs to the weights beside it, and what the two say together.

Cheap checks on names and shapes only; what they let pass, transformers finds out when it loads the
model.
"""

from collections.abc import Mapping
from pathlib import Path

from .checkpoint import Checkpoint, TensorInfo
from .errors import SourceError
from .layers import COUNT_KEYS, layer_layout

EMBEDDINGS = ("embed_tokens.weight", "embed_in.weight", "wte.weight", "word_embeddings.weight")
HEADS = ("lm_head.weight", "embed_out.weight")


def embedding_name(tensors: Mapping[str, TensorInfo]) -> str | None:
    """The tensor of the input embedding, by its usual names."""
    return next((name for name in tensors if name.endswith(EMBEDDINGS)), None)


def head_name(tensors: Mapping[str, TensorInfo]) -> str | None:
    """The tensor of the output head, by its usual names; None where it is tied and not stored."""
    return next((name for name in tensors if name.endswith(HEADS)), None)


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
    if embedding is not None and len(shape := checkpoint.tensors[embedding].shape) == 2:
        _same(checkpoint.folder, config, "vocab_size", shape[0], f"{embedding} has {{}} rows")
        if not {"word_embed_proj_dim", "embedding_size"} & set(config):
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
