"""What a search leaves beside its database: report.html, winner.yaml, trials.csv."""

from search.ledger import Ledger

from .preflight import Preflight
from .results import current_view
from .run import RunFolder
from .table import spreadsheet_safe, trial_frame
from .view import RunView
from .writing import replace_text


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
