"""A candidate as the YAML people take away: plain mergekit, its origin in comments."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from merging.document import Document
from merging.recipe import ModelReference
from merging.recipe_reader import read_recipe
from merging.recipe_writer import recipe_data, recipe_yaml
from merging.references import parse_reference
from search.ledger import Candidate, Ledger, label
from search.tables import own_version

from .errors import StudyError
from .names import renamed
from .wording import clean

Names = Literal["absolute", "original"]


def candidate_yaml(
    candidate: Candidate,
    document: Document,
    folder: Path,
    maps: Mapping[str, Path],
    *,
    run: str,
    names: Names = "absolute",
) -> str:
    """The recipe of a candidate as YAML that mergekit reads; equal candidates give equal bytes.

    Local models get absolute names unless `names` is `original`; hub names and mapped names stay
    as written. The top-level `eutectic:` key, which mergekit ignores, holds the mask seed and
    tells `evaluate` that the recipe comes out of a run.
    """
    data: Any = candidate.data
    if names == "absolute":
        data = renamed(data, lambda model: str(_absolute(parse_reference(model), folder, maps)))
    recipe, _ = read_recipe(document.with_data(data), strict=True)
    origin = f" ({candidate.name})" if candidate.kind == "trial" else ", a reference,"
    text = (
        f"# {clean(label(candidate) + origin)} of the run {clean(run)}; "
        f"eutectic {own_version()}\n"
        f"# recipe hash {candidate.recipe_hash}\n"
    ) + recipe_yaml(recipe)
    seed = f"eutectic:\n  mask_seed: {recipe.mask_seed}\n"
    return text if "eutectic" in recipe_data(recipe) else text + seed


def find_candidate(ledger: Ledger, wanted: str | int) -> Candidate:
    """A trial by number, or anything by its label (`trial 12`, a reference's name)."""
    everything = [*ledger.candidates("reference"), *ledger.candidates("trial")]
    for candidate in everything:
        if isinstance(wanted, int):
            if (candidate.kind, candidate.number) == ("trial", wanted):
                return candidate
        elif label(candidate) == wanted:
            return candidate
    trials = sum(one.kind == "trial" for one in everything)
    name = f"trial {wanted}" if isinstance(wanted, int) else wanted
    raise StudyError(f"the run has no {name!r}; it has trials 0 to {trials - 1}")


def _absolute(model: ModelReference, folder: Path, maps: Mapping[str, Path]) -> ModelReference:
    if str(model) in maps:
        return model
    return ModelReference(
        _local(model.path, folder, maps),
        model.revision,
        None if model.adapter is None else _local(model.adapter, folder, maps),
        model.adapter_revision,
    )


def _local(name: str, folder: Path, maps: Mapping[str, Path]) -> str:
    """The absolute path of a local folder; a hub name or a mapped name as it is."""
    beside = folder / name
    return str(beside.resolve()) if name not in maps and beside.exists() else name
