"""The tables of the sealed test split in Markdown, for the card and for trackers."""

from collections.abc import Callable, Iterable, Mapping

from .card_text import escaped, listed, name_cell
from .view import Estimate, RunView, TestRow
from .wording import direction, estimate_text, interval, signed


def scores_markdown(view: RunView) -> str:
    """Every model's figures with their intervals, then what the winner differs from each by."""
    if not view.test_rows:
        return "Nothing was scored on a sealed test split, so nothing is claimed."
    rows = sorted(view.test_rows, key=lambda row: row.kind != "winner")
    others = [row for row in rows if row.kind != "winner"]
    return "\n\n".join(
        (
            "## Scores on the sealed test split",
            "Items that no trial was searched on. In brackets: 95% intervals.",
            _table(view, rows, "model", lambda row: row.values, estimate_text),
            "The winner minus each model, paired item by item:",
            _table(view, others, "winner minus", lambda row: row.difference, _difference),
            listed(view.prices),
        )
    )


def _difference(estimate: Estimate | None) -> str:
    if estimate is None:
        return estimate_text(None)
    return f"{signed(estimate.value)} ({interval(estimate, difference=True)})"


def _table(
    view: RunView,
    rows: Iterable[TestRow],
    corner: str,
    values: Callable[[TestRow], Mapping[str, Estimate]],
    write: Callable[[Estimate | None], str],
) -> str:
    heads = [f"{escaped(c)}, {direction(view.directions.get(c, True))}" for c in view.columns]
    lines = [f"| {corner} | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for row in rows:
        cells = [write(values(row).get(column)) for column in view.columns]
        lines.append(f"| {name_cell(row.name)} | {' | '.join(cells)} |")
    return "\n".join(lines)
