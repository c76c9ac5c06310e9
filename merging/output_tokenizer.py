"""The tokenizer of a merge whose recipe has a `tokenizer` section, and the models' vocabularies.

`base` and a model: that model's tokenizer, without the tokens that its embedding has no row for.
`union`: the base's, then what the others have more, in the order of the recipe. Tokens that the
section speaks of are added to either.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoint import Checkpoint
from .consistency import embedding_name
from .document import Document
from .errors import SourceError, UnsupportedError
from .hashing import cache_folder, hash_files
from .headers import member
from .loading import load_tokenizer, tokenizer_at
from .locations import locate
from .recipe import ModelReference, TokenizerSection
from .stored import described
from .token_rows import Vocabularies
from .tokenizer_edits import add_missing, add_union, settled, stripped, tokens_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARY_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
)
SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")

Family = Mapping[ModelReference, Checkpoint]


@dataclass(frozen=True, slots=True)
class Output:
    """The tokenizer of a merge and the vocabularies of its models.

    `tokenizer` None: the one whose files stand in `folder`, unchanged. `special`: its
    `bos_token_id` and so on. `source_hash`: of a tokenizer that no model of the recipe brings.
    """

    tokenizer: "PreTrainedTokenizerBase | None"
    folder: Path
    vocabularies: Vocabularies
    special: Mapping[str, int | None]
    source_hash: str | None
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Start:
    """The tokenizer that the output's is made from, and how many tokens it had to lose."""

    tokenizer: "PreTrainedTokenizerBase"
    folder: Path
    dropped: int
    outside: bool


def output_of(
    section: TokenizerSection,
    family: Family,
    folder: Path,
    mapping: Mapping[str, Path],
    document: Document | None,
) -> Output:
    """Builds the tokenizer that a section asks for.

    Args:
        section: of the recipe.
        family: the recipe's models, the base (else the first) before the others.
        folder: where relative names start.
        mapping: local paths in the place of names.
        document: the recipe's text, for places in messages.

    Raises:
        SourceError: a tokenizer is missing or cannot be loaded.
        UnsupportedError: a model without a known embedding, a tokenizer that cannot be changed.
    """
    rows = {model: _rows(checkpoint) for model, checkpoint in family.items()}
    own, notices = _own(family)
    start = _start(section, family, rows, own, folder, mapping, document)
    if start.dropped:
        notices.append(f"{start.dropped} tokens of the tokenizer have no row and are left out")
    built = copy.deepcopy(start.tokenizer)
    if section.source == "union":
        others = [(own[model], rows[model]) for model in family if model in own]
        if fresh := add_union(built, others):
            notices.append(f"union: {fresh} ordinary tokens become added tokens, as in mergekit")
    add_missing(built, section.tokens)
    same = not start.dropped and _state(built) == _state(start.tokenizer)
    size = _size(section, built, start.tokenizer)
    first = next(iter(family))
    tokens = {one: tokens_of(own.get(one, own[first]), rows[one]) for one in family}
    return Output(
        tokenizer=None if same else settled(built, size),
        folder=start.folder,
        vocabularies=Vocabularies(tokens_of(built, None), size, tokens, rows),
        special={key: getattr(built, key, None) for key in SPECIAL},
        source_hash=_hash(start.folder) if start.outside else None,
        notices=tuple(notices),
    )


def _rows(checkpoint: Checkpoint) -> int:
    name = embedding_name(checkpoint.tensors)
    if name is None or not checkpoint.tensors[name].shape:
        raise UnsupportedError(
            f"{checkpoint.folder}: `tokenizer` needs the embedding, and no tensor has a name that "
            "is known for one; leave the section out"
        )
    return checkpoint.tensors[name].shape[0]


def _has_tokenizer(folder: Path) -> bool:
    """Whether there is one; where there is none, transformers may make up an empty one."""
    return any(member(folder, name).is_file() for name in VOCABULARY_FILES)


def _own(
    family: Family,
) -> tuple[dict[ModelReference, "PreTrainedTokenizerBase"], list[str]]:
    """Each model's own tokenizer, and which have none."""
    first = next(iter(family))
    if not _has_tokenizer(family[first].folder):
        raise SourceError(
            f"{family[first].folder}: no tokenizer, and `tokenizer` starts from that of {first}"
        )
    own = {
        model: load_tokenizer(checkpoint)
        for model, checkpoint in family.items()
        if _has_tokenizer(checkpoint.folder)
    }
    return own, [
        f"{model} has no tokenizer; it is taken to have that of {first}"
        for model in family
        if model not in own
    ]


def _start(
    section: TokenizerSection,
    family: Family,
    rows: Mapping[ModelReference, int],
    own: Mapping[ModelReference, "PreTrainedTokenizerBase"],
    folder: Path,
    mapping: Mapping[str, Path],
    document: Document | None,
) -> _Start:
    first = next(iter(family))
    named = first if isinstance(section.source, str) else section.source
    if named in family:
        chosen = named if named in own else first
        tokenizer, dropped = stripped(own[chosen], rows[chosen])
        return _Start(tokenizer, family[chosen].folder, dropped, False)
    try:
        place, _ = locate(named, folder=folder, mapping=mapping, allow_pickle=False)
        if not place.is_dir() or not _has_tokenizer(place):
            raise SourceError(f"{place}: no tokenizer there")
        return _Start(tokenizer_at(place), place, 0, True)
    except SourceError as error:
        at: tuple[str, ...] = ("tokenizer", "source")
        if document and at not in document.places:
            at = ("tokenizer_source",)
        raise SourceError(document.message(at, str(error)) if document else str(error)) from error


def _hash(folder: Path) -> str:
    return hash_files(described(folder), cache_folder())


def _state(tokenizer: "PreTrainedTokenizerBase") -> tuple[object, ...]:
    return tokenizer.get_vocab(), tokenizer.added_tokens_decoder


def _size(
    section: TokenizerSection,
    built: "PreTrainedTokenizerBase",
    start: "PreTrainedTokenizerBase",
) -> int:
    """Rows of the output: a row for every id, padded; a new token never shares one."""
    ids, before = built.get_vocab(), start.get_vocab()
    fresh = [token for token in ids if token not in before]
    if len({ids[token] for token in fresh} - set(before.values())) < len(fresh):
        raise UnsupportedError(
            f"{start.name_or_path}: the tokenizer has gaps in its ids, and tokens added to it "
            "would share ids with others; take the tokenizer of another model"
        )
    size = max(ids.values()) + 1
    multiple = section.pad_to_multiple_of or 1
    return -(-size // multiple) * multiple
