"""Hashes of what stands behind an answer besides weights: the model's config, the tokenizer."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

UNSAID = ("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version")
"""Keys of a config that say where it came from, or what the settings say."""
REWRITTEN = ("truncation", "padding")
"""Parts of a tokenizer's rules that every call sets anew."""


def config_digest(model: "PreTrainedModel") -> str:
    """What makes numbers of weights: layers, norms, rope, caps."""
    found: dict[str, Any] = model.config.to_dict()
    return _digest({key: value for key, value in found.items() if key not in UNSAID})


def tokenizer_digest(tokenizer: "PreTrainedTokenizerBase") -> str:
    """What turns text into tokens: rules and vocabulary, special tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        rules: Any = sorted(tokenizer.get_vocab().items())
    else:
        rules = {k: v for k, v in json.loads(backend.to_str()).items() if k not in REWRITTEN}
    special = sorted((str(key), str(value)) for key, value in tokenizer.special_tokens_map.items())
    return _digest([type(tokenizer).__name__, rules, special])


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
