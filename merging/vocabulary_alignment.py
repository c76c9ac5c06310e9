"""Brings the models of a recipe to the vocabulary that its `tokenizer` section asks for.

Differences from mergekit: tokens are taken in the order of the recipe and of their ids, never of a
hash; without `base_model` the first model stands for it; token ids in config.json follow a
tokenizer that is not the base's; ids that no token has are rows too.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .aligned import AlignedCheckpoint, AlignedTensor
from .chat_templates import chosen_template
from .checkpoint import Checkpoint, TensorInfo
from .consistency import embedding_name, head_name, is_tied
from .document import Document
from .errors import UnsupportedError
from .hashing import cache_folder
from .layers import layer_of
from .methods.table import find_method
from .output_tokenizer import Output, output_of
from .recipe import ModelReference, Recipe, Slice, TokenizerSection, donor_of, models_of
from .sections import reference_of, sections_of
from .speech import Speech, TokenIds
from .token_rows import RowPlan, Vocabularies, plan_rows, unknown_tokens

Models = Mapping[ModelReference, Checkpoint]


@dataclass(frozen=True, slots=True)
class _Group:
    """The models whose tensors are merged with each other outside the layers.

    In the order of the recipe's models, so that a recipe that lists them otherwise is the same.
    `reference` gives the tensors' names.
    """

    models: tuple[ModelReference, ...]
    base: ModelReference | None
    reference: ModelReference


@dataclass(frozen=True, slots=True)
class _Groups:
    """Before the layers (the first slice's models) and after them (the last one's)."""

    embedding: _Group
    head: _Group


def align_vocabularies(
    recipe: Recipe,
    checkpoints: Models,
    *,
    folder: Path,
    mapping: Mapping[str, Path],
    document: Document | None = None,
) -> dict[ModelReference, Checkpoint]:
    """The models as they speak the output's vocabulary; as they are where the recipe asks nothing.

    Args:
        recipe: with or without `tokenizer` and `chat_template`.
        checkpoints: every model of it, opened.
        folder: the recipe's folder, where relative names start.
        mapping: local paths in the place of names.
        document: the recipe's text, for places in messages.

    Raises:
        SourceError: no tokenizer, one that cannot be read, a rule that names a row nobody has.
        UnsupportedError: a model without a known embedding, a tokenizer that cannot be changed.
    """
    if recipe.tokenizer is None and recipe.chat_template is None:
        return dict(checkpoints)
    family = {model: checkpoints[model] for model in models_of(recipe)}
    template, notices = _template(recipe, family)
    groups = _groups(recipe)
    spec: dict[str, object] = {"chat_template": template}
    tensors: Mapping[ModelReference, Mapping[str, AlignedTensor]] = {}
    output: Output | None = None
    if (section := recipe.tokenizer) is not None:
        output = output_of(section, family, folder, mapping, document)
        notices += (*output.notices, *_without_rows(output.vocabularies, section))
        spec |= _spec(section, groups, list(family), output)
        plans = _plans(section, groups, output.vocabularies, document)
        tensors = {model: _tensors(model, family, groups, plans) for model in family}
    first = donor_of(recipe)
    speech = Speech(
        tokenizer=output.tokenizer if output else None,
        folder=output.folder if output else family[first].folder,
        chat_template=template,
        ids=_ids(output, first) if output else None,
        family=tuple(family.values()),
        spec=json.dumps(spec, sort_keys=True),
        notices=notices,
    )
    cache = cache_folder()
    return {
        model: AlignedCheckpoint(checkpoint, speech, tensors.get(model, {}), cache)
        for model, checkpoint in family.items()
    }


def _template(recipe: Recipe, family: Models) -> tuple[str | None, tuple[str, ...]]:
    """The chat template of the output, None for the tokenizer's own; and what is to be told."""
    if recipe.chat_template is None:
        return None, ()
    found = chosen_template(recipe.chat_template, [one.folder for one in family.values()])
    if found is not None:
        return found, ()
    return None, ("chat_template auto: no model has a chat template, so the merge has none",)


def _groups(recipe: Recipe) -> _Groups:
    sections = sections_of(recipe, find_method(recipe.merge_method))
    first, last = reference_of(sections[0]), reference_of(sections[-1])
    if not recipe.slices:
        one = _Group(models_of(recipe), recipe.base_model, first)
        return _Groups(one, one)
    return _Groups(
        _of_slice(recipe, recipe.slices[0], first), _of_slice(recipe, recipe.slices[-1], last)
    )


def _of_slice(recipe: Recipe, one: Slice, reference: ModelReference) -> _Group:
    """The base lends rows wherever it stands, even where it does not take part."""
    base = one.base_model or recipe.base_model
    there = {base, *(source.model for source in one.sources)}
    return _Group(tuple(model for model in models_of(recipe) if model in there), base, reference)


def _plans(
    section: TokenizerSection,
    groups: _Groups,
    vocabularies: Vocabularies,
    document: Document | None,
) -> tuple[Mapping[ModelReference, RowPlan], Mapping[ModelReference, RowPlan]]:
    """Of each model the plan for its embedding, and that for its head."""

    def plans(group: _Group) -> dict[ModelReference, RowPlan]:
        return plan_rows(vocabularies, group.models, group.base, section.tokens, document)

    of_embedding = plans(groups.embedding)
    return of_embedding, of_embedding if groups.head == groups.embedding else plans(groups.head)


def _tensors(
    model: ModelReference,
    family: Models,
    groups: _Groups,
    plans: tuple[Mapping[ModelReference, RowPlan], Mapping[ModelReference, RowPlan]],
) -> dict[str, AlignedTensor]:
    """The tensors of a model whose rows change."""
    names = {one: embedding_name(family[one].tensors) or "" for one in family}
    heads = dict(_heads(family))
    biases = {
        one: bias
        for one in family
        if (head := head_name(family[one].tensors))
        and (bias := head.removesuffix("weight") + "bias") in family[one].tensors
    }
    found: dict[str, AlignedTensor] = {}
    embedding = names[model]
    _add(found, embedding, model, family, names, groups.embedding, plans[0][model])
    if head := _head(model, family, groups.head):
        _add(found, head, model, family, heads, groups.head, plans[1][model])
    if model in biases:
        _add(found, biases[model], model, family, biases, groups.head, plans[1][model])
    if found:
        _refuse_others(family[model], {embedding, head, biases.get(model)})
    return found


def _heads(family: Models) -> Iterator[tuple[ModelReference, str]]:
    """Where each model has its head: a head that is tied is the embedding."""
    for model, checkpoint in family.items():
        tied = embedding_name(checkpoint.tensors) if is_tied(checkpoint.config) else None
        if name := head_name(checkpoint.tensors) or tied:
            yield model, name


def _head(model: ModelReference, family: Models, group: _Group) -> str | None:
    """The name of a model's head: its own, or the others' where its own is tied.

    A tied head has the rows of the embedding, but what it lacks it takes from the others' heads.
    """
    own = head_name(family[model].tensors)
    if own or model not in group.models or not is_tied(family[model].config):
        return own
    return head_name(family[group.reference].tensors)


def _add(
    found: dict[str, AlignedTensor],
    name: str,
    model: ModelReference,
    family: Models,
    names: Mapping[ModelReference, str],
    group: _Group,
    plan: RowPlan,
) -> None:
    """Adds a tensor of a model, if it changes; `names`: what each model has for it."""
    used = {model, *plan.taken, *(one for rows in plan.means.values() for one, _ in rows)}
    donors = {one: (family[one], names[one]) for one in family if one in used and one in names}
    infos = [family[one].tensors[names[one]] for one in (model, *group.models) if one in names]
    own = infos[0]
    dtype = own.dtype if len({info.dtype for info in infos}) == 1 else "float32"
    if not plan.keeps(model, own.shape[0]) or dtype != own.dtype:
        found[name] = AlignedTensor(TensorInfo((plan.size, *own.shape[1:]), dtype), plan, donors)


def _refuse_others(checkpoint: Checkpoint, known: set[str | None]) -> None:
    """Refuses tensors that seem to have a row for each token, and are not known to."""
    embedding = embedding_name(checkpoint.tensors) or ""
    rows = checkpoint.tensors[embedding].shape[0]
    for name, info in checkpoint.tensors.items():
        outside = name not in known and layer_of(name) is None
        if outside and len(info.shape) == 2 and info.shape[0] == rows != info.shape[1]:
            raise UnsupportedError(
                f"{checkpoint.folder}: {name} seems to have a row for each of the {rows} tokens, "
                "and `tokenizer` aligns embeddings and output heads only"
            )


def _ids(output: Output, first: ModelReference) -> TokenIds:
    tokens = output.vocabularies.output
    moved = {
        row: tokens.get(token)
        for token, row in output.vocabularies.models[first].items()
        if tokens.get(token) != row
    }
    return TokenIds(output.vocabularies.size, moved, output.special)


def _without_rows(vocabularies: Vocabularies, section: TokenizerSection) -> tuple[str, ...]:
    lost = unknown_tokens(vocabularies, section.tokens)
    if not lost:
        return ()
    return (
        f"{len(lost)} tokens of the output are in no model, so their rows are zero; the first is "
        f"{lost[0]!r}",
    )


def _spec(
    section: TokenizerSection, groups: _Groups, family: list[ModelReference], output: Output
) -> dict[str, object]:
    """What rows and tokenizer depend on besides the models; models by their place, not name."""
    at: dict[ModelReference | None, int | None] = {one: i for i, one in enumerate(family)}
    at[None] = None
    source = section.source
    named = source if isinstance(source, str) else at.get(source, output.source_hash)
    return {
        "source": named,
        "tokens": [
            [token, rule.force]
            + ([] if (row := rule.source) is None else [at[row.model], row.token, row.token_id])
            for token, rule in section.tokens.items()
        ],
        "pad_to_multiple_of": section.pad_to_multiple_of,
        "groups": [
            [[at[one] for one in group.models], at[group.base]]
            for group in (groups.embedding, groups.head)
        ],
    }
