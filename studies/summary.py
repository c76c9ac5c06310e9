"""How a search ended, for a person and for a script."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .conduct import Outcome
from .errors import NoWinnerError
from .truth_text import (
    beside_json,
    beside_sentences,
    masks_sentences,
    optimism_sentences,
    truth_json,
)
from .wording import clean

if TYPE_CHECKING:
    from .view import Estimate, RunView, TestRow


def print_outcome(outcome: Outcome, *, short: bool = False) -> None:
    """The test table, the claim and the files, on standard output; `short`: the last two."""
    console = Console(highlight=False)
    if outcome.view.winner is None:
        return
    if short:
        _say(console, outcome.view.winner.claim)
        _print_files(console, outcome)
        return
    if outcome.view.test_rows:
        console.print(test_table(outcome.view))
    _say(console, outcome.view.winner.claim)
    if outcome.view.winner.choice:
        _say(console, outcome.view.winner.choice)
    for sentence in outcome.view.prices:
        _say(console, sentence, "  ")
    for part in (optimism_sentences, masks_sentences, beside_sentences):
        for number, sentence in enumerate(part(outcome.view)):
            _say(console, sentence, "  " if number else "")
    for notice in outcome.view.notices:
        _say(console, f"Note: {notice}", style="dim")
    _print_files(console, outcome)


def _say(console: Console, sentence: str, indent: str = "", style: str = "") -> None:
    """A sentence with strangers' names in it: nothing of them is obeyed."""
    console.print(Text(indent + clean(sentence), style=style))


def _print_files(console: Console, outcome: Outcome) -> None:
    for name in ("winner.yaml", "report.html", "trials.csv"):
        console.print(Text(str(outcome.run.path / name)), soft_wrap=True)


def refuse_unusable(outcome: Outcome, max_failed: float) -> None:
    """Raises NoWinnerError where nothing won, or too large a share of the trials failed."""
    if outcome.problem:
        raise NoWinnerError(outcome.problem)
    if outcome.trials and outcome.failed / outcome.trials > max_failed:
        raise NoWinnerError(
            f"{outcome.failed} of {outcome.trials} trials failed, more than --max-failed "
            f"{max_failed:g}; `eutectic trials {outcome.run.path}` shows them"
        )


def test_table(view: "RunView") -> Table:
    """The sealed split: a row a model, a column a metric, 95% intervals."""
    table = Table(title="On the sealed test split (95% intervals)", title_justify="left")
    table.add_column("")
    for column in view.columns:
        better = "higher" if view.directions[column] else "lower"
        table.add_column(Text(f"{clean(column)}\n{better} is better"), justify="right")
    for row in view.test_rows:
        style = "bold" if row.kind == "winner" else None
        cells = [shown(row.values[name]) if name in row.values else "" for name in view.columns]
        table.add_row(Text(f"{clean(row.name)} ({row.kind})"), *cells, style=style)
    return table


def shown(estimate: "Estimate") -> str:
    """The value, and its interval on a line of its own."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f}\n{estimate.low:.3f} to {estimate.high:.3f}"


def outcome_json(outcome: Outcome) -> dict[str, object]:
    """What `search --json` prints."""
    view = outcome.view
    rows = {row.name: row for row in view.test_rows}
    winner = None
    if view.winner is not None:
        winner = {
            "trial": view.winner.number,
            "name": view.winner.name,
            "recipe": str((outcome.run.path / "winner.yaml").resolve()),
            "claim": view.winner.claim,
            **truth_json(view),
            "test": row_json(rows.get(view.winner.name), outcome.columns),
        }
    return {
        "run": str(outcome.run.path.resolve()),
        "state": outcome.reached,
        "trials": outcome.trials,
        "items": outcome.items,
        "winner": winner,
        "references": {
            row.name: row_json(row, outcome.columns)
            for row in view.test_rows
            if row.kind != "winner"
        },
        "beside": beside_json(view.beside),
        "notices": list(view.notices),
    }


def finite(value: float | None) -> float | None:
    """The number, None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None


def row_json(
    row: "TestRow | None", columns: Mapping[str, tuple[str, str]]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """`{task: {metric: {value, low, high}}}`."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, one in (row.values if row else {}).items():
        task, metric = columns[name]
        numbers = {"value": finite(one.value), "low": finite(one.low), "high": finite(one.high)}
        found.setdefault(task, {})[metric] = numbers
    return found
