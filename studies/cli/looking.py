"""`trials`, `report`, `export`, `verify`, `evaluate` and `dashboard`.

After, or beside, a search.
"""

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import StudyError
from .completing import complete_runs, complete_trials
from .faults import DIFFERENT, guarded, interruptible
from .options import (
    AllowBenchmarkTest,
    AllowCode,
    AllowPickle,
    Device,
    Dtype,
    Json,
    Map,
    MergekitExact,
    Methods,
    Storage,
    Threads,
    TokenBudget,
    TrustRemoteCode,
    TrustTaskCode,
    parse_maps,
)

RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run folder, runs/NAME.", autocompletion=complete_runs),
]
TrialNumber = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Take this trial instead of the winner.",
        autocompletion=complete_trials,
    ),
]


class Format(StrEnum):
    """How `trials` prints."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


class Names(StrEnum):
    """How an exported recipe names local models."""

    absolute = "absolute"
    original = "original"


@guarded
def trials(
    run: RunArgument,
    format: Annotated[
        Format, typer.Option("--format", help="How to print: table, csv, json or parquet.")
    ] = Format.table,
    front: Annotated[bool, typer.Option("--front", help="Show the Pareto set only.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of printing.")
    ] = None,
    methods: Methods = [],  # noqa: B006 - typer copies defaults
    storage: Storage = None,
) -> None:
    """Show trials as a table.

    Example: eutectic trials runs/demo --front
    """
    from ..show import print_trials

    print_trials(run, format.value, front, output, storage)


@guarded
def report(
    run: RunArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file; RUN/report.html by default.")
    ] = None,
    methods: Methods = [],  # noqa: B006
    storage: Storage = None,
) -> None:
    """Write the HTML report.

    Example: eutectic report runs/demo
    """
    from ..show import write_run_report

    print(f"wrote {write_run_report(run, output, storage)}")


@guarded
def export(
    run: RunArgument,
    trial: TrialNumber = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of printing.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a loadable checkpoint to this folder too."),
    ] = None,
    names: Annotated[
        Names, typer.Option(help="Name local models by absolute path, or as written.")
    ] = Names.absolute,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="USER/NAME", help="Upload what --weights builds; HF_TOKEN or a login."
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is private.")
    ] = False,
    revision: Annotated[str | None, typer.Option(help="The branch to upload to.")] = None,
    commit_message: Annotated[str, typer.Option(help="Of the upload.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace the model of a repository that is there.")
    ] = False,
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    storage: Storage = None,
) -> None:
    """Give the winner's recipe, or another trial's, and its weights.

    Example: eutectic export runs/demo -o winner.yaml --weights merged
    """
    from ..show import export_run

    if output is not None:
        _spare_others(output)
    push = None
    if push_to_hub is not None:
        from ..push import Push

        push = Push(push_to_hub, private, revision, commit_message, yes)
    elif private or yes or revision is not None or commit_message:
        raise StudyError(
            "--private, --revision, --commit-message and --yes are for --push-to-hub USER/NAME"
        )
    with interruptible():
        text = export_run(
            run, trial, names.value, weights, push, allow_pickle=allow_pickle, storage=storage
        )
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


def _spare_others(output: Path) -> None:
    """Raises StudyError where a file stands that is no earlier export: a study, say."""
    if not output.is_file():
        return
    with output.open(encoding="utf-8", errors="replace") as file:
        first = file.readline(1000)
    if not (first.startswith("# ") and "; eutectic " in first):
        raise StudyError(f"{output}: exists already, and is no exported recipe; choose another")


@guarded
def verify(
    run: RunArgument,
    trial: TrialNumber = None,
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    allow_code: AllowCode = [],  # noqa: B006
    trust_remote_code: TrustRemoteCode = False,
    trust_task_code: TrustTaskCode = False,
    as_json: Json = False,
    storage: Storage = None,
) -> None:
    """Rebuild from the exported recipe, score again, compare with what the search recorded.

    Exits with 1 and lists the items that differ, if any do.

    Example: eutectic verify runs/demo
    """
    from ..preflight import Permissions
    from ..verification import print_verification, verify_run

    permissions = Permissions(
        allow_pickle,
        trust_remote_code,
        trust_task_code,
        allow_benchmark_test=True,  # the search was allowed it, or there would be no run
        allow_code=frozenset(path.resolve() for path in allow_code),
    )
    found = verify_run(run, trial, permissions, storage)
    if as_json:
        print(json.dumps(found.data))
    else:
        print_verification(found)
    if found.different:
        raise typer.Exit(DIFFERENT)


@guarded
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL_OR_RECIPE", help="A model or a recipe file.")
    ],
    study: Annotated[
        Path,
        typer.Option("--study", help="The study (or a run's study.yaml) whose tasks to score."),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="Score this split only: calibration, search, select, test; else all items."
        ),
    ] = None,
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
    mergekit_exact: MergekitExact = False,
    as_json: Json = False,
) -> None:
    """Score one model or recipe on a study's tasks; feeds no search.

    Example: eutectic evaluate merged --study study.yaml --json
    """
    from ..measure import evaluate_model, print_scores
    from ..preflight import Permissions
    from ..session import Hardware

    permissions = Permissions(
        allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
        trust_task_code=trust_task_code,
        allow_benchmark_test=allow_benchmark_test,
        allow_code=frozenset(path.resolve() for path in allow_code),
    )
    hardware = Hardware(device, dtype, token_budget, threads or os.cpu_count())
    found = evaluate_model(
        model, study, split, parse_maps(map), hardware, permissions, exact=mergekit_exact
    )
    if as_json:
        print(json.dumps(found))
    else:
        print_scores(found)


@guarded
def dashboard(
    run: RunArgument,
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The port to listen at, on loopback.")
    ] = 8080,
    storage: Storage = None,
) -> None:
    """Open optuna-dashboard on a run, on loopback.

    Example: eutectic dashboard runs/demo
    """
    from ..show import serve_dashboard

    serve_dashboard(run, port, storage)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for command in (trials, report, export, verify, evaluate, dashboard):
        app.command()(command)
