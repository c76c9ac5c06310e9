"""What `trials`, `report`, `export` and `dashboard` do with a run folder."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from search.ledger import Candidate
from search.verdict import stored_verdict

from .errors import NoWinnerError, RunError, StudyError
from .export import Names, candidate_yaml, find_candidate
from .preflight import Permissions, inspect
from .push import Push, push_folder, refuse_push
from .reopen import reopened
from .results import build_view, stored_view
from .run import find_run
from .table import readable, spreadsheet_safe, trial_frame
from .view import RunView, TrialView


def run_view(path: Path, storage: str | None = None) -> RunView:
    """What a run has found so far; `storage` is the server that keeps it, if one does.

    As its last search left it; anew where a search was killed, or is still under way. Raises
    RunError where there is nothing to see yet.
    """
    run = find_run(path, storage)
    with run.ledger() as ledger:
        view = stored_view(ledger)
        ended = _ended(ledger.candidates("trial"))
        if view is not None and _ended(view.trials) >= ended:
            return view
        if not ledger.candidates("reference"):
            raise RunError(f"{path}: nothing has been scored yet; `eutectic search` goes on here")
        study, maps = reopened(run)
        return build_view(
            inspect(study, maps, Permissions(allow_benchmark_test=True)), ledger, "running"
        )


def _ended(trials: Sequence[Candidate] | Sequence[TrialView]) -> int:
    return sum(one.state != "running" for one in trials)


def print_trials(
    path: Path, format: str, front: bool, output: Path | None, storage: str | None = None
) -> None:
    """Trials as a table for people, CSV, JSON (a list of objects) or Parquet."""
    frame = trial_frame(run_view(path, storage), front)
    if format == "parquet":
        if output is None:
            raise StudyError("--format parquet is binary: say where to with -o FILE")
        frame.to_parquet(output, index=False)
        return
    if format == "csv":
        text = spreadsheet_safe(frame).to_csv(index=False)
    elif format == "json":
        text = frame.to_json(orient="records", double_precision=15) + "\n"
    else:
        text = readable(frame) + "\n"
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")


def write_run_report(path: Path, output: Path | None, storage: str | None = None) -> Path:
    """Writes the report and says where it is."""
    from .report import write_report

    target = output or path / "report.html"
    write_report(run_view(path, storage), target)
    return target


def export_run(
    path: Path,
    trial: int | None,
    names: str,
    weights: Path | None,
    push: Push | None = None,
    *,
    allow_pickle: bool,
    storage: str | None = None,
) -> str:
    """The YAML of the winner or of a trial; with `weights`, its checkpoint too.

    With `push` that goes to the hub: what can be refused there is refused before it is built.
    """
    if push is not None:
        if weights is None:
            raise StudyError("--push-to-hub: say where to build with --weights DIR")
        refuse_push(push)
    run = find_run(path, storage)
    study, maps = reopened(run)
    with run.ledger() as ledger:
        if trial is None:
            verdict = stored_verdict(ledger)
            if verdict is None:
                raise nothing_won(path, stored_view(ledger))
            candidate = find_candidate(ledger, verdict.winner)
        else:
            candidate = find_candidate(ledger, trial)
    text = candidate_yaml(
        candidate, study.recipe, study.folder, maps, run=study.name, names=cast(Names, names)
    )
    if weights is not None:
        from .weights import is_built, write_weights

        build = partial(
            write_weights, weights, candidate, text, run_view(path, storage), study, maps
        )
        if push is None:
            build(allow_pickle=allow_pickle)
        else:
            if not is_built(weights, text):
                build(allow_pickle=allow_pickle, portable=True)
            print(f"uploaded to {push_folder(weights, push)}", file=sys.stderr)
    return text


def nothing_won(path: Path, view: RunView | None) -> NoWinnerError:
    """What to raise where a winner is asked for and there is none."""
    if view is not None and view.state == "finished":
        return NoWinnerError(
            f"{path}: no candidate of the search could win; take one with --trial N"
        )
    return NoWinnerError(
        f"{path}: the search has not ended, so nothing has won yet; go on with "
        "`eutectic search`, or take one with --trial N"
    )


def serve_dashboard(path: Path, port: int, storage: str | None = None) -> None:
    """Serves optuna-dashboard on loopback until Ctrl-C; of a server, all studies that it keeps."""
    run = find_run(path, storage)
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise StudyError(
            "the dashboard is an extra: install it with pip install '.[dashboard]' in its folder"
        ) from None
    from search.study_log import open_storage

    with run.ledger() as ledger:
        shown = run.url if run.storage is None else open_storage(ledger.database)
    print(f"optuna-dashboard of {path} on http://127.0.0.1:{port}/ (Ctrl-C ends it)", flush=True)
    try:
        run_server(shown, host="127.0.0.1", port=port)
    except OSError as error:
        raise StudyError(f"--port {port}: {error.strerror}; choose another") from None
