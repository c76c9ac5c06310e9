"""`search` and `demo`: from a study file to a winner."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import StudyError
from .faults import INTERRUPTED, guarded, interruptible
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
    Progress,
    Quiet,
    Storage,
    Threads,
    TokenBudget,
    TrustRemoteCode,
    TrustTaskCode,
    parse_maps,
    shown,
)

if TYPE_CHECKING:
    from ..terms import SearchOptions


class Beside(StrEnum):
    """What may search beside a search."""

    random = "random"


StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).")]


@guarded
def search(
    study: StudyFile,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials in all, resumes included.")
    ] = None,
    items: Annotated[int | None, typer.Option(min=1, help="Item evaluations in all.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Minutes in all.")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="auto, random, tpe, gp, cmaes, nsgaii, nsgaiii; a class of Optuna's; "
            "FILE.py:CLASS; optunahub:samplers/PACKAGE; {name: TPESampler, n_ei_candidates: 48}."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the study's own.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME by default.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the run and start anew.")] = False,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Reuse another run's results.")
    ] = None,
    beside: Annotated[
        Beside | None,
        typer.Option(help="Then search at random with as many items, to compare on select."),
    ] = None,
    track: Annotated[
        list[str],
        typer.Option(
            "--track",
            metavar="TOOL[:PLACE]",
            help="Also tell mlflow[:URI], tensorboard[:DIR] or wandb[:PROJECT]; repeatable.",
        ),
    ] = [],  # noqa: B006 - typer copies defaults
    max_failed: Annotated[
        float, typer.Option(min=0, max=1, help="Share of failed trials that makes exit code 3.")
    ] = 0.2,
    workers: Annotated[int, typer.Option(min=1, help="Workers; this release has one.")] = 1,
    executor: Annotated[str, typer.Option(help="Executor; this release has inline.")] = "inline",
    storage: Storage = None,
    device: Device = None,
    dtype: Dtype = None,
    token_budget: TokenBudget = None,
    threads: Threads = None,
    map: Map = [],  # noqa: B006 - typer copies defaults
    allow_pickle: AllowPickle = False,
    methods: Methods = [],  # noqa: B006
    trust_remote_code: TrustRemoteCode = False,
    trust_task_code: TrustTaskCode = False,
    allow_benchmark_test: AllowBenchmarkTest = False,
    allow_code: AllowCode = [],  # noqa: B006
    mergekit_exact: MergekitExact = False,
    progress: Progress = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Search a study; the same command again goes on where it stopped.

    Example: eutectic search study.yaml --trials 60
    """
    from ..preflight import Permissions
    from ..session import Hardware
    from ..terms import SearchOptions
    from ..tracking.spec import parse_tracks

    tracks = parse_tracks(track)
    if workers != 1 or executor != "inline":
        raise StudyError(
            f"--workers {workers} --executor {executor}: this release searches with one worker, "
            "inline; leave both out"
        )
    options = SearchOptions(
        trials=trials,
        items=items,
        minutes=minutes,
        sampler=sampler,
        seed=seed,
        out=out,
        fresh=fresh,
        source=source,
        storage=storage,
        beside=None if beside is None else beside.value,
        tracks=tracks,
        max_failed=max_failed,
        quiet=quiet,
        progress=shown(progress, quiet),
        exact=mergekit_exact,
        maps=parse_maps(map),
        hardware=Hardware(device, dtype, token_budget, threads),
        permissions=Permissions(
            allow_pickle,
            trust_remote_code,
            trust_task_code,
            allow_benchmark_test,
            frozenset(path.resolve() for path in allow_code),
        ),
    )
    run_search(study, options, as_json)


def run_search(study: Path, options: "SearchOptions", as_json: bool) -> None:
    """Searches, tells how it ended, and exits accordingly."""
    from ..conduct import conduct
    from ..summary import outcome_json, print_outcome, refuse_unusable

    with interruptible():
        outcome = conduct(study, options)
    if as_json:
        print(json.dumps(outcome_json(outcome)))
    else:
        print_outcome(outcome, short=options.quiet)
    if outcome.reached == "interrupted":
        print(
            f"interrupted; {outcome.run.path} is saved, the same command goes on with it",
            file=sys.stderr,
        )
        raise typer.Exit(INTERRUPTED)
    refuse_unusable(outcome, options.max_failed)


@guarded
def demo(
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/demo by default.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials in all.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Search anew.")] = False,
    progress: Progress = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train (once) a small model family, search it, report, export: the whole job, no download.

    Example: eutectic demo
    """
    from merging.hashing import cache_folder

    from ..demo.family import ensure_family
    from ..live.voices import refuse_mode
    from ..progress import training_display
    from ..terms import SearchOptions

    mode = shown(progress, quiet)
    refuse_mode(mode)
    with training_display(mode) as show:
        family = ensure_family(cache_folder(), progress=show)
    options = SearchOptions(trials=trials, out=out, fresh=fresh, quiet=quiet, progress=mode)
    run_search(family.study, options, as_json)


def register(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for command in (demo, search):
        app.command()(command)
