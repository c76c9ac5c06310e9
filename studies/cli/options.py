"""Options that several commands share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..errors import StudyError
from ..live.modes import Mode
from .faults import guarded

Map = Annotated[
    list[str],
    typer.Option(
        "--map",
        metavar="NAME=PATH",
        help="Use a local path in the place of a model's name; repeatable.",
    ),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read pickle checkpoints (pytorch_model.bin).")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the modelling code a model brings along.")
]
TrustTaskCode = Annotated[
    bool,
    typer.Option(
        "--trust-task-code",
        help="Run the code in every own lm-eval YAML of the study; --allow-code allows one.",
    ),
]
AllowBenchmarkTest = Annotated[
    bool,
    typer.Option(
        "--allow-benchmark-test",
        help="Search on an official test split where a task has no other; marks report and card.",
    ),
]
AllowCode = Annotated[
    list[Path],
    typer.Option(
        "--allow-code",
        metavar="FILE",
        help="Run this file: scorers, a sampler, or an own lm-eval YAML with all it includes and "
        "names; optunahub:samplers/PACKAGE runs a package of OptunaHub. Repeatable.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="Where to score: cpu, cuda, cuda:1, mps; cpu by default."),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", help="Dtype to score in; the recipe's own by default.")
]
TokenBudget = Annotated[
    int | None, typer.Option("--token-budget", min=1, help="Tokens in one batch.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; all cores by default.")
]
MergekitExact = Annotated[
    bool,
    typer.Option(
        "--mergekit-exact",
        help="Round at every step and read recipes as mergekit does (docs/mergekit.md lists "
        "the differences); a recipe can say it itself: eutectic: {exact: true}.",
    ),
]
Methods = Annotated[
    list[Path],
    typer.Option(
        "--methods",
        metavar="FILE",
        callback=lambda files: use_methods(files),
        help="Run this file and add its merge methods; repeatable.",
    ),
]
Progress = Annotated[
    Mode | None,
    typer.Option(
        "--progress",
        help="How to show the search on standard error: live (a picture), plain (lines), json (a "
        "JSON object a line), none; auto is live on a terminal and plain elsewhere.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Warnings, faults and the last lines of the result only.",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        envvar="EUTECTIC_STORAGE",
        help="The database server that keeps the run, postgresql://USER:PASSWORD@HOST/DATABASE or "
        "mysql://...; the run folder's own study.db by default. The variable keeps the password "
        "out of the list of processes.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]


@guarded
def use_methods(files: Sequence[Path]) -> Sequence[Path]:
    """Adds the merge methods of the user's files to the table, before the command begins."""
    if files:
        from merging.methods.own import load_methods
        from merging.methods.table import add_methods

        for file in files:
            add_methods(load_methods(file))
    return files


def shown(progress: Mode | None, quiet: bool) -> Mode:
    """How a search shows itself: as was asked for, else nothing where quiet is wanted."""
    return progress or (Mode.none if quiet else Mode.auto)


def parse_maps(entries: Sequence[str]) -> Mapping[str, Path]:
    """`NAME=PATH` entries as a mapping; the path must exist."""
    maps: dict[str, Path] = {}
    for entry in entries:
        name, separator, path = entry.partition("=")
        if not separator or not name or not path:
            raise StudyError(
                f"--map {entry}: expected NAME=PATH, for example --map org/model=./model"
            )
        if not Path(path).exists():
            raise StudyError(f"--map {entry}: the path {path} does not exist")
        maps[name] = Path(path).resolve()
    return maps
