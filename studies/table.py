"""Trials as a table, for trials.csv, the `trials` command and notebooks."""

import unicodedata
from typing import TYPE_CHECKING, Any

from .view import RunView, TrialView
from .wording import clean

if TYPE_CHECKING:
    import pandas as pd


def trial_frame(view: RunView, front_only: bool = False) -> "pd.DataFrame":
    """One row a trial: `number`, `state`, each parameter, each objective (on search), `items`.

    A parameter that a trial's method does not read is missing in its row.
    """
    import pandas as pd

    trials = [trial for trial in view.trials if trial.on_front or not front_only]
    parameters = list(dict.fromkeys(name for trial in view.trials for name in trial.parameters))
    objectives = [one.name for one in view.objectives]
    rows = [_row(trial, parameters, objectives) for trial in trials]
    return pd.DataFrame(rows, columns=["number", "state", *parameters, *objectives, "items"])


def _row(trial: TrialView, parameters: list[str], objectives: list[str]) -> list[Any]:
    scores = [
        trial.objectives[name].value if name in trial.objectives else None for name in objectives
    ]
    values = [trial.parameters.get(name) for name in parameters]
    return [trial.number, trial.state, *values, *scores, trial.items]


def spreadsheet_safe(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The table with texts that a spreadsheet would run as formulas turned into plain texts."""

    def plain(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = " ".join(value.splitlines()) if value else value  # a lone \r would begin a row
        looks = unicodedata.normalize("NFKC", text).lstrip(" ")  # a wide = is one as well
        return f"'{text}" if looks.startswith(("=", "+", "-", "@", "\t")) else text

    return frame.rename(columns=plain).map(plain)


def readable(frame: "pd.DataFrame") -> str:
    """The table as people read it: numbers to four digits, nothing where nothing is."""
    import pandas as pd

    if frame.empty:
        return "no trials"

    def text(value: Any) -> str:
        if pd.isna(value):
            return ""
        return f"{value:.4g}" if isinstance(value, float) else clean(str(value))

    return frame.rename(columns=clean).map(text).to_string(index=False)
