"""Whether the models of a merge speak the same vocabulary.

Embeddings are merged row by row, so row i must mean the same token everywhere. What a recipe's
`tokenizer` section would mend is told here, with the line to write; `vocabulary_alignment` mends.
"""

from collections.abc import Mapping
from pathlib import Path

from .checkpoint import Checkpoint
from .consistency import embedding_name
from .errors import SourceError
from .headers import member, read_json
from .recipe import ModelReference
from .speech import speech_of

TOKENIZER = "tokenizer.json"
MAX_TOKENIZER = 128 << 20
REMEDY = "write `tokenizer: {source: union}` into the recipe to align them by their tokens"


def vocabulary_faults(checkpoints: Mapping[ModelReference, Checkpoint]) -> tuple[str, ...]:
    """What makes the models unmergeable: embeddings of different sizes. Empty if nothing does.

    Args:
        checkpoints: the models of a recipe, the base (or donor) first.
    """
    faults: list[str] = []
    first: tuple[ModelReference, int] | None = None
    for reference, checkpoint in checkpoints.items():
        name = embedding_name(checkpoint.tensors)
        if name is None:
            continue
        rows = checkpoint.tensors[name].shape[0]
        if first is None:
            first = reference, rows
        elif rows != first[1]:
            faults.append(
                f"vocabularies differ: {first[0]} has {first[1]} rows in its embedding, "
                f"{reference} has {rows}; {REMEDY}"
            )
    return tuple(faults)


def vocabulary_notices(checkpoints: Mapping[ModelReference, Checkpoint]) -> tuple[str, ...]:
    """What is mergeable and perhaps not meant: tokens that stand for different rows in two models.

    Of models that were aligned, what was made of their vocabularies.

    Args:
        checkpoints: the models of a recipe, the base (or donor) first.

    Raises:
        SourceError: a tokenizer.json that cannot be read.
    """
    speech = next((one for one in map(speech_of, checkpoints.values()) if one is not None), None)
    notices: list[str] = [] if speech is None else list(speech.notices)
    if speech is not None and speech.ids is not None:
        return tuple(notices)
    first: tuple[ModelReference, dict[str, int]] | None = None
    for reference, checkpoint in checkpoints.items():
        tokens = read_tokens(checkpoint.folder)
        if not tokens:
            continue
        if first is None:
            first = reference, tokens
            continue
        told = _difference(first[1], tokens)
        if told:
            notices.append(
                f"tokenizers differ: {told} ({first[0]} and {reference}); the merge takes the "
                f"rows of both as if they meant the same; {REMEDY}"
            )
    return tuple(notices)


def read_tokens(folder: Path) -> dict[str, int]:
    """Token to row from tokenizer.json, added tokens included; empty where there is no such file.

    Raises:
        SourceError: a file that is no tokenizer.
    """
    file = member(folder, TOKENIZER)
    if not file.is_file():
        return {}
    data = read_json(file, MAX_TOKENIZER)
    model = data.get("model")
    stored = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(stored, dict):
        tokens = {token: row for token, row in stored.items() if isinstance(row, int)}
    elif isinstance(stored, list):  # Unigram: [token, score] in the order of the rows
        tokens = {
            str(pair[0]): row for row, pair in enumerate(stored) if isinstance(pair, list) and pair
        }
    else:
        raise SourceError(f"{file}: expected model.vocab, the tokens and their rows")
    added = data.get("added_tokens")
    for entry in added if isinstance(added, list) else []:
        if isinstance(entry, dict) and isinstance(row := entry.get("id"), int):
            tokens[str(entry.get("content"))] = row
    return tokens


def _difference(first: Mapping[str, int], second: Mapping[str, int]) -> str:
    """How many rows mean different tokens, with the lowest one; empty if none do."""
    ours = {row: token for token, row in first.items()}
    theirs = {row: token for token, row in second.items()}
    rows = sorted(row for row in ours.keys() & theirs.keys() if ours[row] != theirs[row])
    if rows:
        row = rows[0]
        return (
            f"{len(rows)} rows mean other tokens, row {row} is {ours[row]!r} and {theirs[row]!r}"
        )
    only = sorted(ours.keys() ^ theirs.keys())
    if only:
        token = ours.get(only[0], theirs.get(only[0]))
        return f"{len(only)} tokens are in one only, the first is {token!r} (row {only[0]})"
    return ""
