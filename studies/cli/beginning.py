"""`init` and `check`: before a search."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import StudyError
from .faults import guarded
from .options import (
    AllowBenchmarkTest,
    AllowCode,
    AllowPickle,
    Json,
    Map,
    MergekitExact,
    Methods,
    TrustRemoteCode,
    TrustTaskCode,
    parse_maps,
)


@guarded
def init(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="A mergekit recipe, or a mergekit-evolve file; none where models are given.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="The model that the experts were trained from."),
    ] = None,
    expert: Annotated[
        list[str],
        typer.Option(
            "--expert",
            metavar="MODEL",
            help="A fine-tuned model: a folder, a hub name, base+adapter, or the folder of a LoRA "
            "adapter of the base. Repeatable.",
        ),
    ] = [],  # noqa: B006 - typer copies defaults
    task: Annotated[
        list[str],
        typer.Option(
            "--task",
            metavar="FILE",
            help="Questions (.jsonl, .csv, .parquet), as FILE or NAME=FILE, or the name of a task "
            "of lm-eval's. Repeatable.",
        ),
    ] = [],  # noqa: B006
    method: Annotated[
        str | None,
        typer.Option(help="With --base: the merge method; task_arithmetic by default."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write, instead of printing.")
    ] = None,
    schema: Annotated[
        bool,
        typer.Option("--schema", help="Write study.schema.json beside the output, for editors."),
    ] = False,
    map: Map = [],  # noqa: B006
    methods: Methods = [],  # noqa: B006
) -> None:
    """Make a study: of models and questions alone, or around the numbers of a recipe.

    Examples:

      eutectic init --base ./base --expert ./math --expert ./code --task questions.jsonl -o study.yaml

      eutectic init recipe.yml --task questions.jsonl -o study.yaml
    """
    from ..schema_file import MODELINE, write_schema
    from ..starting import Wanted, study_text

    if output is not None and output.exists():
        raise StudyError(f"{output}: exists already; choose another name")
    if schema and output is None:
        raise StudyError("--schema: give -o FILE too; the schema is written beside it")
    text = study_text(Wanted(recipe, base, expert, method, task, output, parse_maps(map)))
    if schema and output is not None:
        write_schema(output.parent)
        text = MODELINE + text
    if output is None:
        print(text, end="")
        return
    output.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {output}; next: eutectic check {output}", err=True)


@guarded
def check(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A study file, or a recipe (YAML).")
    ],
    map: Map = [],  # noqa: B006
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    trust_remote_code: TrustRemoteCode = False,
    trust_task_code: TrustTaskCode = False,
    allow_benchmark_test: AllowBenchmarkTest = False,
    allow_code: AllowCode = [],  # noqa: B006
    mergekit_exact: MergekitExact = False,
    as_json: Json = False,
) -> None:
    """Find every fault of a study or a recipe before any weight is loaded.

    Example: eutectic check study.yaml
    """
    from ..checkup import check_file, print_checkup
    from ..preflight import Permissions

    permissions = Permissions(
        allow_pickle,
        trust_remote_code,
        trust_task_code,
        allow_benchmark_test,
        frozenset(path.resolve() for path in allow_code),
    )
    found = check_file(study, parse_maps(map), permissions, exact=mergekit_exact)
    if as_json:
        print(json.dumps({**found.data, "warnings": found.warnings}))
    else:
        print_checkup(found)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for command in (init, check):
        app.command()(command)
