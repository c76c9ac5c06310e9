"""Draws the charts that are lists: differences, importance, parallel coordinates.

Names stand above their row instead of beside it, so that a long one fits a phone.
"""

from __future__ import annotations

import plotly.graph_objects as go

from .plots_canvas import HOVER, bars, canvas, marker, plain, toward
from .plots_data import ForestPanel, ImportancePanel
from .plots_parallel import Line, ParallelData
from .plots_style import MARKS, Palette
from .wording import has_interval, interval, signed

ROW = 46


def _rows(figure: go.Figure, names: list[str], palette: Palette, lift: int = 17) -> None:
    """Row i at y = i, the first on top, its name above it at the left edge."""
    figure.update_yaxes(
        range=[len(names) - 0.5, -0.75], showticklabels=False, showgrid=False, fixedrange=True
    )
    for i, name in enumerate(names):
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=i,
            yshift=lift,
            text=name,
            showarrow=False,
            font={"size": 12, "color": palette.ink},
            bgcolor=palette.paper,
            borderpad=0,
        )


def forest_figure(panel: ForestPanel, palette: Palette) -> go.Figure:
    """The winner minus each model with its 95% interval; filled where the interval excludes 0."""
    side = toward(panel.higher_is_better).replace("higher", "winner").replace("lower", "winner")
    figure = canvas(
        palette,
        height=ROW * len(panel.rows) + 96,
        x_title=f"winner minus this model · {side}",
        y_title=f"<b>{plain(panel.column, 40)}</b>",
    )
    figure.add_vline(x=0, line={"color": palette.zero, "width": 1})
    for i, (name, kind, difference) in enumerate(panel.rows):
        mark = marker(kind if kind in MARKS else "other", palette)
        clear = has_interval(difference) and not (
            (difference.low or 0.0) <= 0.0 <= (difference.high or 0.0)
        )
        mark["size"] = 11
        if not clear:
            mark |= {"line": {"width": 1.5, "color": mark["color"]}, "color": palette.paper}
        colour = mark["line"]["color"] if not clear else mark["color"]
        text = f"winner minus {plain(name, 30)}: {signed(difference.value)}"
        figure.add_scatter(
            x=[difference.value],
            y=[i],
            mode="markers",
            marker=mark,
            error_x={**bars([difference], colour), "thickness": 2},
            customdata=[[f"{text}<br>{interval(difference, difference=True)}"]],
            hovertemplate=HOVER,
        )
    _rows(figure, [plain(name, 30) for name, _, _ in panel.rows], palette)
    return figure


def importance_figure(panel: ImportancePanel, palette: Palette) -> go.Figure:
    """One bar a parameter, shares in percent."""
    title = f"<b>{plain(panel.objective.name, 40)}</b>"
    figure = canvas(
        palette,
        height=ROW * len(panel.bars) + 92,
        x_title="share of the spread explained",
        y_title=title,
    )
    figure.add_bar(
        x=[share for _, share in panel.bars],
        y=list(range(len(panel.bars))),
        orientation="h",
        width=0.26,
        marker={"color": palette.bar, "line": {"width": 0}, "cornerradius": 2},
        customdata=[[f"{plain(name, 60)}: {share:.1%}"] for name, share in panel.bars],
        hovertemplate=HOVER,
    )
    largest = max((share for _, share in panel.bars), default=1.0) or 1.0
    figure.update_layout(margin={"l": 16, "r": 20})
    figure.update_xaxes(tickformat=".0%", range=[0, largest * 1.05], nticks=6)
    _rows(figure, [plain(name, 44) for name, _ in panel.bars], palette)
    return figure


def parallel_figure(data: ParallelData, palette: Palette) -> go.Figure:
    """A row for each parameter and objective, a line for each trial; the winner's on top."""
    figure = canvas(palette, height=52 * len(data.rows) + 40)
    figure.update_layout(margin={"l": 14, "r": 14, "t": 12, "b": 8})
    figure.update_xaxes(range=[-0.02, 1.02], visible=False, fixedrange=True)
    for i in range(len(data.rows)):
        figure.add_shape(
            type="line", x0=0, x1=1, y0=i, y1=i, line={"color": palette.grid, "width": 1}
        )
    for group, colour, width in (
        (("infeasible", "dominated"), palette.trial_line, 1.0),
        (("front",), palette.front_soft, 1.2),
        (("winner",), palette.winner, 2.5),
    ):
        lines = [line for line in data.lines if line.kind in group]
        if lines:
            figure.add_trace(_lines(lines, data, colour, width))
    titles = [
        f"<b>{plain(r.name, 44)}</b>" if r.is_objective else plain(r.name, 44) for r in data.rows
    ]
    _rows(figure, titles, palette, 13)
    for i, row in enumerate(data.rows):
        right = f"{plain(row.left, 14)} … {plain(row.right, 14)}"
        if row.is_objective:
            right += "  better →"
        elif row.note:
            right += f"  ({plain(row.note, 24)})"
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=i,
            yshift=13,
            text=right,
            showarrow=False,
            font={"size": 11, "color": palette.muted},
            bgcolor=palette.paper,
            borderpad=0,
        )
    return figure


def _lines(lines: list[Line], data: ParallelData, colour: str, width: float) -> go.Scatter:
    """All lines of a group in one trace, parted by gaps: fast with a thousand trials."""
    xs: list[float | None] = []
    ys: list[int | None] = []
    texts: list[list[object]] = []
    for line in lines:
        for i, row in enumerate(data.rows):
            xs.append(line.positions[i])
            ys.append(i)
            texts.append(
                [
                    f"trial {line.trial}<br>{plain(row.name, 60)}: {plain(line.texts[i], 40)}",
                    line.key,
                ]
            )
        xs.append(None)
        ys.append(None)
        texts.append(["", None])
    return go.Scatter(
        opacity=min(1.0, 0.25 + (8 if width > 1 else 45) / len(lines)),
        x=xs,
        y=ys,
        mode="lines+markers" if width > 2 else "lines",  # ten thousand marks would take seconds
        line={"color": colour, "width": width},
        marker={"size": 7, "color": colour},
        customdata=texts,
        hovertemplate=HOVER,
        connectgaps=False,
    )
