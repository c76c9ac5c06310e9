"""Draws every pair of more than three objectives as a matrix, one row and column an objective."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from .front_data import FrontPanel, PairMatrix
from .plots_canvas import HOVER, canvas, hover, marker, plain
from .plots_style import MARKS, Palette
from .view import Objective

CELL = 190
"""Pixels of a row."""
GAP = 0.16
"""Of a cell: the room between two."""


def matrix_figure(
    matrix: PairMatrix, objectives: Sequence[Objective], palette: Palette
) -> go.Figure:
    """The lower triangle; names and directions stand at its edges, intervals are in the hovers."""
    count = len(matrix.cells)
    figure = canvas(palette, height=CELL * count + 90)
    figure.update_layout(margin={"t": 12, "l": 8, "r": 8, "b": 8})
    for row, cells in enumerate(matrix.cells):
        for column, cell in enumerate(cells):
            number = row * count + column + 1
            _axes(figure, cell, (row, column, count), number, palette)
            for kind, mark in MARKS.items():
                _points(figure, cell, kind, mark.title, number, objectives, palette)
    return figure


def _axes(
    figure: go.Figure,
    cell: FrontPanel,
    place: tuple[int, int, int],
    number: int,
    palette: Palette,
) -> None:
    """The axes of one cell; ticks and titles only at the left and at the bottom."""
    row, column, count = place
    x, y = _name("x", number), _name("y", number)
    small = {"size": 11, "color": palette.muted}
    line = {"gridcolor": palette.grid, "zeroline": False, "ticks": "", "nticks": 4}
    line |= {"tickfont": small, "linecolor": palette.grid, "mirror": True}
    room = 1 / count
    bottom, left = row == count - 1, column == 0
    figure.update_layout(
        {
            f"{x[0]}axis{x[1:]}": line
            | {
                "domain": [column * room + room * GAP / 2, (column + 1) * room - room * GAP / 2],
                "anchor": y,
                "matches": _name("x", (count - 1) * count + column + 1) if not bottom else None,
                "showticklabels": bottom,
                "title": _title(cell.x, palette) if bottom else None,
                "automargin": True,
            },
            f"{y[0]}axis{y[1:]}": line
            | {
                "domain": [
                    1 - (row + 1) * room + room * GAP / 2,
                    1 - row * room - room * GAP / 2,
                ],
                "anchor": x,
                "matches": _name("y", row * count + 1) if not left else None,
                "showticklabels": left,
                "title": _title(cell.y, palette) if left else None,
                "automargin": True,
            },
        }
    )


def _points(
    figure: go.Figure,
    cell: FrontPanel,
    kind: str,
    title: str,
    number: int,
    objectives: Sequence[Objective],
    palette: Palette,
) -> None:
    chosen = [p for p in cell.points if p.kind == kind]
    if not chosen:
        return
    mark = marker(kind, palette)
    figure.add_scatter(
        x=[p.values[cell.x.name].value for p in chosen],
        y=[p.values[cell.y.name].value for p in chosen],
        mode="markers",
        name=title,
        xaxis=_name("x", number),
        yaxis=_name("y", number),
        marker={**mark, "size": max(4, mark["size"] * 0.7)},
        customdata=[[hover(p, objectives), p.key] for p in chosen],
        hovertemplate=HOVER,
    )


def _title(objective: Objective, palette: Palette) -> dict[str, object]:
    metric = plain(objective.metric, 16)
    way = f"{metric}, better →" if objective.higher_is_better else f"← better, {metric}"
    text = f"<b>{plain(objective.name, 16)}</b><br>{way}"
    return {"text": text, "font": {"size": 11, "color": palette.muted}, "standoff": 8}


def _name(axis: str, number: int) -> str:
    return axis if number == 1 else f"{axis}{number}"
