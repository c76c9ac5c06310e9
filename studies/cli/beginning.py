"""`init` and `check`: before a search."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import StudyError
from .faults import INPUT_AT_FAULT, guarded, one_line
from .options import (
    AllowBenchmarkTest,
    AllowCode,
    AllowFile,
    AllowPickle,
    Device,
    Dtype,
    Json,
    Map,
    MergekitExact,
    Methods,
    Threads,
    TokenBudget,
    TrustRemoteCode,
    TrustTaskCode,
    parse_maps,
)

if TYPE_CHECKING:
    from ..checkup import Checkup
    from ..preflight import Permissions
    from ..session import Hardware


@guarded
def init(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="RECIPE",
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

    Example: eutectic init --base ./base --expert ./math --expert ./code --task questions.jsonl

    Example: eutectic init recipe.yml --task questions.jsonl -o study.yaml
    """
    from ..named_files import remember_files
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
    remember_files(output, task)
    again = "".join(f" --map {shlex.quote(one)}" for one in map)
    typer.echo(f"wrote {output}; next: eutectic check {output}{again}", err=True)


@guarded
def check(
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="A study file, or a recipe (YAML).")
    ],
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Then load the base, build one candidate, score some questions, and tell "
            "seconds and minutes.",
        ),
    ] = False,
    device: Device = None,
    dtype: Dtype = None,
    token_budget: TokenBudget = None,
    threads: Threads = None,
    map: Map = [],  # noqa: B006
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    trust_remote_code: TrustRemoteCode = False,
    trust_task_code: TrustTaskCode = False,
    allow_benchmark_test: AllowBenchmarkTest = False,
    allow_code: AllowCode = [],  # noqa: B006
    allow_file: AllowFile = [],  # noqa: B006
    mergekit_exact: MergekitExact = False,
    as_json: Json = False,
) -> None:
    """Find every fault of a study or a recipe, what is odd about it, and what it will take.

    No weight is loaded, unless --measure asks for seconds. Exits with 2 where there is a fault.

    Example: eutectic check study.yaml

    Example: eutectic check study.yaml --measure
    """
    from ..checkup import Asked, check_file
    from ..preflight import Permissions
    from ..session import Hardware

    permissions = Permissions(
        allow_pickle,
        trust_remote_code,
        trust_task_code,
        allow_benchmark_test,
        frozenset(path.resolve() for path in allow_code),
        frozenset(path.resolve() for path in allow_file),
    )
    hardware = Hardware(device, dtype, token_budget, threads)
    given = hardware if measure or hardware != Hardware() else None
    debug = bool(os.environ.get("EUTECTIC_DEBUG"))
    found = check_file(study, Asked(parse_maps(map), permissions, mergekit_exact, given, debug))
    tell_checkup(found, str(study), given if measure else None, permissions, as_json)


def tell_checkup(
    found: "Checkup",
    file: str,
    hardware: "Hardware | None",
    permissions: "Permissions",
    as_json: bool,
) -> None:
    """Prints what was found, measured first where that was asked for; exits with 2 for faults."""
    from ..doctor.measuring import measure, measured_json

    taken = None
    if hardware is not None and found.preflight is not None:
        taken = measure(found.preflight, hardware, permissions)
    if as_json:
        told = {**found.data, "warnings": found.warnings, "faults": found.faults}
        if taken is not None and found.preflight is not None:
            told["measured"] = measured_json(found.preflight, taken)
        print(json.dumps({**told, "may_begin": not found.faults}))
    for fault in found.faults:
        print(f"eutectic: {one_line(fault)}", file=sys.stderr)
    if found.faults:
        raise typer.Exit(INPUT_AT_FAULT)
    if not as_json:
        from ..doctor.report import print_checkup

        print_checkup(found, taken, file)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for command in (init, check):
        app.command()(command)
