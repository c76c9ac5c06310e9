"""What a search leaves beside its database: report.html, winner.yaml, trials.csv."""

from pathlib import Path

from search.ledger import Ledger

from .preflight import Preflight
from .results import current_view
from .run import RunFolder
from .table import spreadsheet_safe, trial_frame
from .view import RunView


def write_outputs(run: RunFolder, preflight: Preflight, ledger: Ledger, state: str) -> RunView:
    """Writes everything that is computed from the ledger; each file is replaced whole."""
    from .report import write_report

    view = current_view(preflight, ledger, state)
    csv = spreadsheet_safe(trial_frame(view)).to_csv(index=False)
    replace_text(run.path / "trials.csv", csv)
    if view.winner is not None:
        replace_text(run.path / "winner.yaml", view.winner.recipe_yaml)
    write_report(view, run.path / "report.html")
    return view


def replace_text(path: Path, text: str) -> None:
    """Writes a file beside its place and moves it there, so that no reader sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
