"""`merge` and `explain`: a recipe without a search."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import StudyError
from .faults import guarded
from .options import AllowPickle, Json, Map, MergekitExact, Methods, parse_maps

if TYPE_CHECKING:
    from merging.checkpoint import Checkpoint
    from merging.plan import TensorJob
    from merging.recipe import ModelReference, Recipe

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A mergekit recipe (YAML).")]


@dataclass(frozen=True, slots=True)
class OpenRecipe:
    """A recipe with its models opened and every tensor's job known."""

    recipe: "Recipe"
    checkpoints: "Mapping[ModelReference, Checkpoint]"
    jobs: "tuple[TensorJob, ...]"
    text: str


def open_recipe(path: Path, maps: list[str], allow_pickle: bool, exact: bool) -> OpenRecipe:
    """Reads, opens and plans a recipe; warnings go to standard error.

    The text of one that only the command line makes exact says so itself.
    """
    from merging.document import read_document
    from merging.plan import plan_notices, plan_recipe
    from merging.recipe_reader import read_recipe
    from merging.recipe_writer import recipe_yaml
    from merging.sources import open_models
    from merging.vocabulary import vocabulary_notices

    document = read_document(path, exact=exact)
    recipe, notices = read_recipe(document, strict=False, exact=exact)
    for notice in notices:
        print(f"warning: {notice}", file=sys.stderr)
    mapping = parse_maps(maps)
    checkpoints = open_models(
        recipe, folder=path.resolve().parent, mapping=mapping, allow_pickle=allow_pickle
    )
    jobs = plan_recipe(recipe, checkpoints, document=document)
    for text in (
        *plan_notices(recipe, checkpoints, document=document),
        *vocabulary_notices(checkpoints),
    ):
        print(f"warning: {text}", file=sys.stderr)
    text = recipe_yaml(recipe) if exact else path.read_text(encoding="utf-8")
    return OpenRecipe(recipe, checkpoints, jobs, text)


@guarded
def merge(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not exist.")],
    map: Map = [],  # noqa: B006 - typer copies defaults
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    mask_seed: Annotated[
        int | None, typer.Option("--mask-seed", help="Instead of the recipe's own.")
    ] = None,
    mergekit_exact: MergekitExact = False,
) -> None:
    """Merge to disk: a checkpoint that transformers loads.

    Example: eutectic merge recipe.yml merged --map org/model=./model
    """
    from merging.recipe import donor_of
    from merging.writer import write_merged

    found = open_recipe(recipe, map, allow_pickle, mergekit_exact)
    donor = found.checkpoints[donor_of(found.recipe)]
    for model, checkpoint in found.checkpoints.items():
        if out.resolve() == checkpoint.folder.resolve():
            raise StudyError(f"{out}: is {model}, a model of the recipe; write to another folder")
    seed = found.recipe.mask_seed if mask_seed is None else mask_seed
    write_merged(
        out,
        found.jobs,
        lambda model, name: found.checkpoints[model].tensor(name),
        seed,
        donor=donor,
        recipe_text=found.text,
        overwrite=overwrite,
    )
    print(f"wrote {out} ({len(found.jobs)} tensors)")


@guarded
def explain(
    recipe: RecipeFile,
    map: Map = [],  # noqa: B006
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    full: Annotated[bool, typer.Option("--full", help="Every tensor, not grouped.")] = False,
    mergekit_exact: MergekitExact = False,
    as_json: Json = False,
) -> None:
    """Show the effective value of every parameter for every tensor.

    Example: eutectic explain recipe.yml --map org/model=./model
    """
    from .explain_table import explain_json, print_explanation

    found = open_recipe(recipe, map, allow_pickle, mergekit_exact)
    if as_json:
        print(json.dumps(explain_json(found.jobs)))
    else:
        print_explanation(found.jobs, full=full)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command()(merge)
    app.command()(explain)
