"""An empty chart in the house's style, and how a stranger's text gets into it.

plotly reads a subset of HTML in every text, links included, and substitutes `%{...}` in hover
templates. So names go through `plain`, and hover texts are data, never templates.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from .plots_style import MARKS, Palette
from .points import Point
from .view import Estimate, Objective
from .wording import clean, estimate_text, has_interval, shorten

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
HOVER = "%{customdata[0]}<extra></extra>"


def plain(text: str, length: int = 200) -> str:
    """A text that plotly shows as it is: one line, bounded, its HTML escaped."""
    return html.escape(shorten(clean(text), length), quote=False)


def axis_title(objective: Objective, *, upright: bool = False) -> str:
    """`logic · acc (higher is better →)`; upright for the y axis."""
    name = f"{plain(objective.name, 28)} · {plain(objective.metric, 24)}"
    return f"{name}  {toward(objective.higher_is_better, upright=upright)}"


def toward(higher: bool, *, upright: bool = False) -> str:
    """The direction as words and an arrow that points to the better end of the axis."""
    if upright:
        return "↑ higher is better" if higher else "↓ lower is better"
    return "higher is better →" if higher else "← lower is better"


def canvas(palette: Palette, *, height: int, x_title: str = "", y_title: str = "") -> go.Figure:
    """An empty figure: the y title lies above the plot, where a phone has room for it."""
    line = {"gridcolor": palette.grid, "zeroline": False, "automargin": True, "ticks": ""}
    small = {"size": 12, "color": palette.muted}
    return go.Figure(
        layout={
            "template": go.layout.Template(),
            "height": height,
            "font": {"family": FONT, "size": 12, "color": palette.ink},
            "paper_bgcolor": palette.paper,
            "plot_bgcolor": palette.paper,
            "margin": {"l": 8, "r": 14, "t": 34 if y_title else 12, "b": 8},
            "title": {
                "text": y_title,
                "font": small,
                "x": 0,
                "xref": "container",
                "xanchor": "left",
                "y": 1,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 6, "l": 2},
            },
            "xaxis": {
                **line,
                "title": {"text": x_title, "font": small, "standoff": 10},
                "tickfont": small,
            },
            "yaxis": {**line, "tickfont": small},
            "hovermode": "closest",
            "hoverlabel": {"bgcolor": palette.paper, "bordercolor": palette.zero, "align": "left"}
            | {"font": {"family": FONT, "size": 12, "color": palette.ink}},
            "legend": {"orientation": "h", "y": -0.2, "font": {"size": 12}},
            "dragmode": False,
            "showlegend": False,
        }
    )


def bars(estimates: Sequence[Estimate], colour: str) -> dict[str, Any]:
    """Error bars for plotly; none where an estimate has no interval."""
    ends = [
        (e.high - e.value, e.value - e.low)
        if has_interval(e) and e.high is not None and e.low is not None
        else (None, None)
        for e in estimates
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": [end[0] for end in ends],
        "arrayminus": [end[1] for end in ends],
        "color": colour,
        "thickness": 1.2,
        "width": 0,
    }


def marker(kind: str, palette: Palette) -> dict[str, Any]:
    """The mark of a kind; those on top get a thin edge of paper."""
    mark = MARKS[kind]
    colour = getattr(palette, mark.role)
    if kind == "infeasible":
        return {"symbol": "x-thin-open", "size": mark.size, "color": colour}
    edge = {"width": 0 if kind == "dominated" else 1, "color": palette.paper}
    return {"symbol": mark.symbol, "size": mark.size, "color": colour, "line": edge}


def hover(point: Point, objectives: Sequence[Objective]) -> str:
    """What a pointer shows: the name, its origin, each objective, the recipe in short."""
    head = f"<b>{plain(point.name, 40)}</b>"
    if point.kind == "winner" and point.trial is not None:
        head += " · the winner"
    lines = [head, plain(point.note, 48)]
    lines += [
        f"{plain(o.name, 28)}: {estimate_text(point.values[o.name])}"
        for o in objectives
        if o.name in point.values
    ]
    lines += [f"<i>{plain(line, 56)}</i>" for line in point.short]
    return "<br>".join(line for line in lines if line)
