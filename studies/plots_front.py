"""Draws the trade-off: trials, front, references and winner on pairs of objectives, or one value.

Everything is SVG; three objectives are pairs with the third by colour, because points in a 3-D box
cannot be read off and need WebGL; more are a matrix (`plots_matrix`). The second of two steps: the
data is `plots_data`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from .front_data import FrontPanel
from .plots_canvas import HOVER, axis_title, bars, canvas, hover, marker, plain
from .plots_data import Level, ProgressPanel
from .plots_style import MARKS, Palette
from .points import Point
from .view import Objective

HEIGHT = 460
LABEL = 16
"""Height of a line of label text, in pixels."""


def front_figure(
    panel: FrontPanel, objectives: Sequence[Objective], palette: Palette, height: int = HEIGHT
) -> go.Figure:
    """Two objectives; 95% intervals on the front and the references, dominated trials faded."""
    figure = canvas(
        palette,
        height=height,
        x_title=axis_title(panel.x),
        y_title=axis_title(panel.y, upright=True),
    )
    if panel.edge:
        figure.add_scatter(
            x=[x for x, _ in panel.edge],
            y=[y for _, y in panel.edge],
            mode="lines",
            line={"color": palette.front_line, "width": 1.2, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )
    for kind, mark in MARKS.items():
        chosen = [p for p in panel.points if p.kind == kind]
        if chosen:
            figure.add_trace(_points(chosen, panel, objectives, palette, kind, mark.title))
    for annotation in _labels(panel, palette, height):
        figure.add_annotation(annotation)
    return figure


def _points(
    points: Sequence[Point],
    panel: FrontPanel,
    objectives: Sequence[Objective],
    palette: Palette,
    kind: str,
    title: str,
) -> go.Scatter:
    xs = [p.values[panel.x.name] for p in points]
    ys = [p.values[panel.y.name] for p in points]
    mark = marker(kind, palette)
    if kind == "front" and panel.third is not None:
        mark |= _by_colour(points, panel.third, palette)
    trace = go.Scatter(
        x=[e.value for e in xs],
        y=[e.value for e in ys],
        mode="markers",
        name=title,
        marker=mark,
        customdata=[[hover(p, objectives), p.key] for p in points],
        hovertemplate=HOVER,
    )
    if kind not in ("dominated", "infeasible"):
        colour = getattr(palette, MARKS[kind].soft)
        trace.update(error_x=bars(xs, colour), error_y=bars(ys, colour))
    return trace


def _by_colour(points: Sequence[Point], third: Objective, palette: Palette) -> dict[str, Any]:
    """The third objective as colour; the page draws the key (plotly's own moves other texts)."""
    ends = [palette.worst, palette.middle, palette.best]
    scale = ends if third.higher_is_better else ends[::-1]
    return {
        "color": [p.values[third.name].value for p in points],
        "colorscale": [[0.0, scale[0]], [0.5, scale[1]], [1.0, scale[2]]],
        "showscale": False,
        "size": 10,
        "line": {"width": 1, "color": palette.front},
    }


def _labels(panel: FrontPanel, palette: Palette, height: int) -> list[dict[str, object]]:
    """Names beside the marks, on the side with more room, moved apart where they would meet."""
    xs = [p.values[panel.x.name].value for p in panel.points]
    ys = [p.values[panel.y.name].value for p in panel.points]
    if not xs:
        return []
    wide, tall = max(xs) - min(xs) or 1.0, max(ys) - min(ys) or 1.0
    taken: list[tuple[float, float]] = []
    labels = []
    for point in sorted(panel.points, key=lambda p: (p.kind != "winner", p.name)):
        if not point.label:
            continue
        x, y = point.values[panel.x.name].value, point.values[panel.y.name].value
        across, up = (x - min(xs)) / wide, (y - min(ys)) / tall * (height - 120)
        shift = _free(up + LABEL * 0.6, across, taken) - up
        taken.append((across, up + shift))
        left = across > 0.6
        labels.append(
            {
                "x": x,
                "y": y,
                "text": plain(point.label, 24),
                "showarrow": False,
                "xanchor": "right" if left else "left",
                "xshift": -9 if left else 9,
                "yshift": shift,
                "font": {"size": 12, "color": getattr(palette, MARKS[point.kind].role)},
                "bgcolor": palette.veil,
                "borderpad": 0,
            }
        )
    return labels


def _free(wanted: float, across: float, taken: Sequence[tuple[float, float]]) -> float:
    """The height nearest to `wanted`, in pixels, that no label in reach has taken."""
    near = [up for x, up in taken if abs(x - across) < 0.4]
    for step in range(2 * len(near) + 2):
        offset = (step + 1) // 2 * LABEL * (1 if step % 2 else -1)
        if all(abs(wanted + offset - up) >= LABEL for up in near):
            return wanted + offset
    return wanted


def progress_figure(
    panel: ProgressPanel,
    objectives: Sequence[Objective],
    palette: Palette,
    *,
    x_title: str,
    height: int,
    intervals: bool = False,
) -> go.Figure:
    """One objective over trials or item evaluations, the best so far, the references as lines."""
    figure = canvas(
        palette, height=height, x_title=x_title, y_title=axis_title(panel.objective, upright=True)
    )
    for level in panel.levels:
        _add_level(figure, level, palette)
    if panel.best:
        figure.add_scatter(
            x=[x for x, _ in panel.best],
            y=[y for _, y in panel.best],
            mode="lines",
            line={"color": palette.front, "width": 2, "shape": "hv"},
            name="best so far",
            hoverinfo="skip",
        )
    for kind, mark in MARKS.items():
        chosen = [(x, p) for x, p in panel.points if p.kind == kind]
        if not chosen:
            continue
        values = [p.values[panel.objective.name] for _, p in chosen]
        figure.add_scatter(
            x=[x for x, _ in chosen],
            y=[e.value for e in values],
            mode="markers",
            name=mark.title,
            marker={**marker(kind, palette), "size": mark.size if intervals else mark.size * 0.75},
            error_y=bars(values, getattr(palette, mark.soft)) if intervals else None,
            customdata=[[hover(p, objectives), p.key] for _, p in chosen],
            hovertemplate=HOVER,
        )
    return figure


def _add_level(figure: go.Figure, level: Level, palette: Palette) -> None:
    colour = getattr(palette, MARKS[level.kind].role)
    dash = {"parent": "dash", "base": "dot", "uniform": "dashdot"}[level.kind]
    figure.add_hline(
        y=level.value,
        line={"color": colour, "width": 1.2, "dash": dash},
        annotation={
            "text": plain(level.label, 34),
            "font": {"size": 11, "color": colour},
            "bgcolor": palette.veil,
            "borderpad": 0,
            "x": 1,
            "xanchor": "right",
            "yanchor": "bottom",
            "yshift": -2,
            "showarrow": False,
        },
    )
