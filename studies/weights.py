"""`export --weights`: a candidate as a checkpoint that transformers loads, with a model card."""

from collections.abc import Mapping
from pathlib import Path

from merging.plan import plan_recipe
from merging.recipe import donor_of, models_of
from merging.recipe_reader import read_recipe
from merging.sources import open_checkpoint
from merging.writer import write_merged
from search.ledger import Candidate

from .card import model_card
from .config import Study
from .view import RunView


def write_weights(
    out: Path,
    candidate: Candidate,
    text: str,
    view: RunView,
    study: Study,
    maps: Mapping[str, Path],
    *,
    allow_pickle: bool,
) -> None:
    """Merges a candidate to disk; `text` is its YAML, which goes along."""
    recipe, _ = read_recipe(study.recipe.with_data(candidate.data), strict=True)
    checkpoints = {
        model: open_checkpoint(model, folder=study.folder, mapping=maps, allow_pickle=allow_pickle)
        for model in models_of(recipe)
    }
    write_merged(
        out,
        plan_recipe(recipe, checkpoints),
        lambda model, name: checkpoints[model].tensor(name),
        recipe.mask_seed,
        donor=checkpoints[donor_of(recipe)],
        recipe_text=text,
    )
    card = model_card(view, text, str(donor_of(recipe)))
    (out / "README.md").write_text(card, encoding="utf-8")
