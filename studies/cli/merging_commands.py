"""`merge` and `explain`: a recipe without a search."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import StudyError
from .faults import guarded
from .interrupts import interruptible
from .options import AllowPickle, Json, Map, MergekitExact, Methods, parse_maps

if TYPE_CHECKING:
    from merging.opening import Keep, OpenRecipe
    from merging.plan import TensorJob

RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A mergekit recipe (YAML), or several stages.")
]
RecipeOrStudy = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A mergekit recipe, or a study (YAML).")
]


def open_file(
    path: Path, maps: list[str], allow_pickle: bool, keep: "Keep", exact: bool
) -> "OpenRecipe":
    """Reads, opens and plans a recipe file; warnings go to standard error."""
    from merging.document import read_documents
    from merging.opening import open_recipe

    found = open_recipe(
        read_documents(path, exact=exact),
        folder=path.resolve().parent,
        mapping=parse_maps(maps),
        allow_pickle=allow_pickle,
        keep=keep,
        exact=exact,
    )
    for notice in found.notices:
        print(f"warning: {notice}", file=sys.stderr)
    return found


@guarded
def merge(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write; must not exist.")],
    map: Map = [],  # noqa: B006 - typer copies defaults
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT if it exists.")
    ] = False,
    mask_seed: Annotated[
        int | None,
        typer.Option(
            "--mask-seed", help="Draw random masks with this seed instead of the recipe's."
        ),
    ] = None,
    mergekit_exact: MergekitExact = False,
) -> None:
    """Merge to disk: a checkpoint that transformers loads.

    Example: eutectic merge recipe.yml merged --map org/model=./model
    """
    from merging.writer import write_merged

    found = open_file(recipe, map, allow_pickle, "shared", mergekit_exact)
    for model, checkpoint in found.stored.items():
        if os.path.realpath(out) == os.path.realpath(checkpoint.folder):
            raise StudyError(f"{out}: is {model}, a model of the recipe; write to another folder")
    seed = found.recipe.mask_seed if mask_seed is None else mask_seed
    with interruptible():
        write_merged(
            out,
            found.jobs,
            found.checkpoints,
            seed,
            donor=found.donor,
            recipe_text=_text(recipe, found, mergekit_exact),
            overwrite=overwrite,
            threads=os.cpu_count() or 1,
        )
    after = f", after the stages {', '.join(found.stages)}" if found.stages else ""
    print(f"wrote {out} ({len(found.jobs)} tensors{after})")


def _text(path: Path, found: "OpenRecipe", exact: bool) -> str:
    """The recipe to keep beside the weights; made exact by the command line, it says so."""
    from merging.recipe_writer import recipe_yaml

    if exact and not found.stages:
        return recipe_yaml(found.recipe)
    text = path.read_text(encoding="utf-8")
    return f"# merged with --mergekit-exact\n{text}" if exact else text


@guarded
def explain(
    recipe: RecipeOrStudy,
    map: Map = [],  # noqa: B006
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    full: Annotated[
        bool, typer.Option("--full", help="Print a line for every tensor and number, not grouped.")
    ] = False,
    mergekit_exact: MergekitExact = False,
    as_json: Json = False,
) -> None:
    """Show the value of every parameter for every tensor: of a recipe, or what a study's may be.

    Example: eutectic explain recipe.yml --map org/model=./model

    Example: eutectic explain study.yaml
    """
    from .explain_table import explain_json, print_explanation

    if (spread := _study_jobs(recipe, map, allow_pickle)) is not None:
        if as_json:
            print(json.dumps([one for jobs in spread.values() for one in explain_json(jobs)]))
            return
        for jobs in spread.values():
            print_explanation(jobs, full=full)
        return
    found = open_file(recipe, map, allow_pickle, "nothing", mergekit_exact)
    if as_json:
        print(json.dumps(explain_json(found.jobs)))
    else:
        if found.stages:
            print(f"the final recipe, which builds on the stages {', '.join(found.stages)}")
        print_explanation(found.jobs, full=full)


def _study_jobs(
    path: Path, maps: list[str], allow_pickle: bool
) -> "dict[str, tuple[TensorJob, ...]] | None":
    """The jobs of a study's candidates by merge method; None for a file that is no study."""
    from merging.document import read_documents

    data = read_documents(path)[0].data
    if not isinstance(data, dict) or "recipe" not in data:
        return None
    from ..explaining import study_jobs
    from ..reopen import open_study

    study, remembered = open_study(path)
    return study_jobs(study, {**remembered, **parse_maps(maps)}, allow_pickle=allow_pickle)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    app.command()(merge)
    app.command()(explain)
