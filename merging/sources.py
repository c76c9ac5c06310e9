"""Models as recipes name them: found, opened, adapters applied, vocabularies aligned.

A folder is opened by `stored`, an adapter applied by `adapters`, a vocabulary aligned by
`vocabulary_alignment`.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from .checkpoint import Checkpoint
from .document import Document
from .errors import SourceError
from .hashing import cache_folder
from .locations import locate
from .recipe import ModelReference, Recipe, models_of
from .stored import open_folder


def open_checkpoint(
    reference: ModelReference,
    *,
    folder: Path,
    mapping: Mapping[str, Path] = MappingProxyType({}),
    allow_pickle: bool = False,
    cache: Path | None = None,
) -> Checkpoint:
    """Opens a model as a recipe names it: found, its headers checked, its adapter applied.

    Args:
        reference: `path`, `path@revision` or `path+adapter`.
        folder: the recipe's folder, where relative names start.
        mapping: local paths in the place of names (whole references or their parts).
        allow_pickle: open pytorch_model.bin too (with torch's weights-only reader).
        cache: for hashes and adapted tensors; None is the user's cache folder.

    Raises:
        SourceError: nothing under that name, or files incomplete or contradicting each other.
        UnsupportedError: quantised weights, GGUF, an adapter that is no plain LoRA.
    """
    place, adapter = locate(reference, folder=folder, mapping=mapping, allow_pickle=allow_pickle)
    checkpoint = open_folder(place, allow_pickle=allow_pickle, cache=cache or cache_folder())
    if adapter is None:
        return checkpoint
    from .adapters import apply_adapter

    return apply_adapter(
        checkpoint, adapter, allow_pickle=allow_pickle, cache=cache or cache_folder()
    )


def open_adapted(
    base: Checkpoint,
    adapter: ModelReference,
    *,
    folder: Path,
    mapping: Mapping[str, Path],
    allow_pickle: bool,
    cache: Path,
) -> Checkpoint:
    """Applies an adapter, by its name alone, to a checkpoint that is open; see `open_checkpoint`.

    Raises:
        SourceError: nothing under that name, or an adapter of another model.
        UnsupportedError: an adapter that is no plain LoRA.
    """
    from .adapters import apply_adapter

    place, _ = locate(adapter, folder=folder, mapping=mapping, allow_pickle=allow_pickle)
    return apply_adapter(base, place, allow_pickle=allow_pickle, cache=cache)


def open_models(
    recipe: Recipe,
    *,
    folder: Path,
    mapping: Mapping[str, Path],
    allow_pickle: bool,
    document: Document | None = None,
) -> dict[ModelReference, Checkpoint]:
    """Opens every model of a recipe, the base first, in the vocabulary that the recipe asks for.

    Arguments as `open_checkpoint`; `document` gives places to messages about tokens.
    """
    opened = {
        model: open_checkpoint(model, folder=folder, mapping=mapping, allow_pickle=allow_pickle)
        for model in models_of(recipe)
    }
    refuse_one_for_two(opened)
    return spoken_models(recipe, opened, folder=folder, mapping=mapping, document=document)


def spoken_models(
    recipe: Recipe,
    opened: Mapping[ModelReference, Checkpoint],
    *,
    folder: Path,
    mapping: Mapping[str, Path],
    document: Document | None = None,
) -> dict[ModelReference, Checkpoint]:
    """Opened models in the vocabulary that a recipe asks for: see `vocabulary_alignment`."""
    if recipe.tokenizer is None and recipe.chat_template is None:
        return dict(opened)  # without transformers, which takes seconds to import
    from .vocabulary_alignment import align_vocabularies

    return align_vocabularies(recipe, opened, folder=folder, mapping=mapping, document=document)


def refuse_one_for_two(opened: Mapping[ModelReference, Checkpoint]) -> None:
    """Refuses two revisions of one name that are one folder: a path has no revisions.

    Raises:
        SourceError: with both references.
    """
    first: dict[tuple[str, str | None, Path], ModelReference] = {}
    for model, checkpoint in opened.items():
        key = (model.path, model.adapter, checkpoint.folder)
        other = first.setdefault(key, model)
        if other.revision != model.revision:
            raise SourceError(
                f"{other} and {model} are both the folder {checkpoint.folder}, which has no "
                f"revisions; give each its own with --map {model}=PATH"
            )
