"""`export --weights`: a candidate as a checkpoint that transformers loads, with a model card."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from merging.description import RECIPE
from merging.plan import plan_recipe
from merging.recipe import donor_of, models_of
from merging.recipe_reader import read_recipe
from merging.sources import open_models
from merging.writer import write_merged
from search.ledger import Candidate, label

from .card import model_card
from .card_text import without_paths
from .config import Study
from .errors import StudyError
from .licences import licences_of
from .view import RunView, Winner


def write_weights(
    out: Path,
    candidate: Candidate,
    text: str,
    view: RunView,
    study: Study,
    maps: Mapping[str, Path],
    *,
    allow_pickle: bool,
    portable: bool = False,
) -> None:
    """Merges a candidate to disk; `text` is its YAML, which goes along.

    `portable`: for other machines, so that no absolute path is in any of its files.
    """
    if out.is_dir() and any(out.iterdir()):
        raise StudyError(f"--weights {out}: not empty; choose another folder")
    recipe, _ = read_recipe(study.recipe.with_data(candidate.data), strict=True)
    checkpoints = open_models(recipe, folder=study.folder, mapping=maps, allow_pickle=allow_pickle)
    licences = licences_of(models_of(recipe), study.folder, maps)
    write_merged(
        out,
        plan_recipe(recipe, checkpoints),
        checkpoints,
        recipe.mask_seed,
        donor=checkpoints[donor_of(recipe)],
        recipe_text=without_paths(text) if portable else text,
        card=model_card(of_candidate(view, candidate), text, str(donor_of(recipe)), licences),
    )


def is_built(folder: Path, text: str) -> bool:
    """Whether a folder holds the merge of this recipe; its absolute paths are cut then."""
    recipe, portable = folder / RECIPE, without_paths(text)
    if not recipe.is_file():
        return False
    known = recipe.read_text(encoding="utf-8")
    if known == text != portable:  # built to stay here
        recipe.write_text(portable, encoding="utf-8")
    return known in (text, portable)


def of_candidate(view: RunView, candidate: Candidate) -> RunView:
    """The view as the card of a candidate shows it: what the winner won is not another trial's."""
    if view.winner is not None and view.winner.name == label(candidate):
        return view
    named = zip((one.name for one in view.objectives), candidate.standing or (), strict=False)
    scores = ", ".join(f"{name} {score:.4g}" for name, score in named) or "no scores"
    note = (
        f"This is {label(candidate)} of the run, which was not chosen and has not been scored on "
        f"the test split. On the split that was searched on: {scores}."
    )
    shown = Winner(label(candidate), candidate.number, "", note, None)
    return replace(view, winner=shown, test_rows=(), prices=(), optimism=(), masks=None)
