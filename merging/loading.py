"""A checkpoint as a live model and tokenizer, by transformers; foreign code runs only if allowed.

A model with other layers (slices that stack or drop some) is loaded from the same checkpoint;
layers that the checkpoint has not are left to the candidate that is written into it.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .aligned import AlignedCheckpoint
from .checkpoint import Checkpoint
from .depth import Orders, model_config, resized_config
from .errors import MergeError, SourceError, UnsupportedError
from .foreign_paths import refuse_foreign_files, refuse_hub_code
from .layers import layer_layout, layer_of, prefix_of
from .speech import speak, speech_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(
    checkpoint: Checkpoint,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
    order: Orders | None = None,
) -> "PreTrainedModel":
    """Loads a checkpoint, its adapter applied, in eval mode and without gradients.

    Args:
        checkpoint: opened weights.
        dtype: `float32`, `bfloat16`, ...; None is the checkpoint's own.
        device: where the model lives.
        trust_remote_code: run model code that comes with the checkpoint.
        order: for other layers: which layers of the checkpoint they are made like
            (`moved_layers`).

    Raises:
        SourceError: the folder does not load, or needs code that is not allowed.
        UnsupportedError: no causal language model, or layers that cannot be moved so.
    """
    _refuse_code(checkpoint, trust_remote_code)
    _refuse_adapter(checkpoint)
    with _loading(checkpoint.folder):
        if order is None:
            config = model_config(checkpoint, trust_remote_code=trust_remote_code)
        else:
            config = resized_config(checkpoint, order, trust_remote_code=trust_remote_code)
        loaded: Any = _language_model(checkpoint, config).from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=dtype or "auto",
            trust_remote_code=trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            # Tensors of another vocabulary, written over below.
            ignore_mismatched_sizes=isinstance(checkpoint, AlignedCheckpoint),
        )
    model: PreTrainedModel
    model, outcome = loaded  # what output_loading_info makes of it
    _require_all(checkpoint, outcome["missing_keys"], order)
    _overlay(model, checkpoint)
    speak(model.generation_config, checkpoint)
    torch.nn.Module.to(model, device)
    model.requires_grad_(False)
    model.train(False)
    return model


def load_tokenizer(
    checkpoint: Checkpoint, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """Loads a checkpoint's tokenizer; that of the merge, where a recipe asks for another.

    Raises:
        SourceError: there is none, or it needs code that is not allowed.
    """
    speech = speech_of(checkpoint)
    if speech is None:
        return tokenizer_at(checkpoint.folder, trust_remote_code)
    tokenizer = copy.deepcopy(speech.tokenizer) or tokenizer_at(speech.folder, trust_remote_code)
    if speech.chat_template is not None:
        tokenizer.chat_template = speech.chat_template
    return tokenizer


def tokenizer_at(folder: Path, trust_remote_code: bool = False) -> "PreTrainedTokenizerBase":
    """Loads the tokenizer of a folder; errors as in `load_tokenizer`."""
    from transformers import AutoTokenizer

    if not trust_remote_code:
        refuse_foreign_files(folder)
    with _loading(folder):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        )
    return tokenizer


def _language_model(checkpoint: Checkpoint, config: Any) -> Any:
    """The auto class that loads a causal language model, be it one that sees images too.

    transformers would make one of an encoder or half an encoder-decoder as well: it scores noise.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    written = config.architectures or []
    both = bool(getattr(config, "is_encoder_decoder", False))
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText):
        known: Any = auto._model_mapping
        if type(config) not in known or both:
            continue
        encoder = getattr(config, "is_decoder", None) is False and written
        if not encoder or known[type(config)].__name__ in written:
            return auto
    if not both and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return AutoModelForCausalLM
    raise UnsupportedError(
        f"{checkpoint.folder}: {', '.join(written) or config.model_type} is no causal language "
        "model, so it cannot be scored; `eutectic merge` merges it"
    )


def _refuse_code(checkpoint: Checkpoint, allowed: bool) -> None:
    """A model type that transformers knows needs no code, whatever auto_map says."""
    from transformers import CONFIG_MAPPING

    if not allowed:
        refuse_hub_code(checkpoint.config, checkpoint.folder)
    code = checkpoint.config.get("auto_map")
    known = checkpoint.config.get("model_type") in CONFIG_MAPPING
    if isinstance(code, dict) and not known and not allowed:
        raise SourceError(
            f"{checkpoint.folder}: the model needs Python code that comes with it "
            f"({code.get('AutoModelForCausalLM', 'auto_map')}); if you trust where it comes from, "
            "--trust-remote-code runs it"
        )


def _refuse_adapter(checkpoint: Checkpoint) -> None:
    """Where peft is installed, transformers would apply it in silence; no merge does."""
    if (checkpoint.folder / "adapter_config.json").exists():
        raise SourceError(
            f"{checkpoint.folder}: an adapter (adapter_config.json) lies beside the model's "
            "weights; move its files to a folder of their own, and write MODEL+ADAPTER where the "
            "adapter is meant"
        )


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Without transformers' own bars and reports; whatever it raises is told in one line."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    except MergeError:
        raise
    except Exception as error:  # a strange folder can make transformers raise nearly anything
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        if reason.endswith(":") and len(lines) > 1:
            reason = f"{reason} {lines[1]}"
        raise SourceError(f"{folder}: transformers cannot load it: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _require_all(checkpoint: Checkpoint, missing: Sequence[str], order: Orders | None) -> None:
    """Refuses a model some of whose weights would be left random."""
    layout = layer_layout(checkpoint.tensors, checkpoint.config)
    heights = {one.prefix: len(one.layers) for one in layout.stacks if one.prefix in (order or {})}
    absent = [name for name in sorted(missing) if not _is_new(name, heights)]
    if absent:
        raise SourceError(
            f"{checkpoint.folder}: the weights lack {', '.join(absent[:3])}"
            f"{' and more' if len(absent) > 3 else ''}, which config.json's architecture has"
        )


def _is_new(name: str, heights: Mapping[str, int]) -> bool:
    """Whether a live tensor is in a layer that a stack has not in the checkpoint."""
    layer, prefix = layer_of(name), prefix_of(name)
    return any(
        (prefix.endswith(stack) or stack.endswith(prefix)) and layer is not None and layer >= end
        for stack, end in heights.items()
    )


def _overlay(model: "PreTrainedModel", checkpoint: Checkpoint) -> None:
    """Writes what adapters and vocabularies change over the weights that were loaded."""
    from .adapters import AdaptedCheckpoint
    from .candidate import live_model, write_fused

    changed: set[str] = set()
    stored = checkpoint
    while isinstance(stored, AdaptedCheckpoint | AlignedCheckpoint):
        changed |= stored.changed
        stored = stored.base
    if not changed:
        return
    live = live_model(model, stored, stored.tensors, unproved=changed)
    with torch.no_grad():
        for name in sorted(changed & live.destinations.keys()):
            live.destinations[name].copy_(checkpoint.tensor(name))
        write_fused(live, checkpoint.tensor, changed)
