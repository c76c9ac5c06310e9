"""Draws a run: `figures` gives every chart of the report as a plotly figure, for a notebook too.

The second of two steps: what is drawn comes from `plots_data` and `plots_parallel`. Scatter and
bar traces only, which plotly renders as SVG. No trial is judged here, no value computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from . import plots_data as data
from .front_data import front_panels, pair_matrix, select_panels
from .funnel import funnel
from .plots_canvas import HOVER, canvas, plain, toward
from .plots_choice import funnel_figure, select_figure
from .plots_front import front_figure, progress_figure
from .plots_matrix import matrix_figure
from .plots_parallel import parallel_data
from .plots_rows import forest_figure, importance_figure, parallel_figure
from .plots_style import LIGHT, Palette
from .points import complete
from .view import RunView

SMALL = 300


def figures(view: RunView, palette: Palette = LIGHT) -> dict[str, go.Figure]:
    """Every chart of the report by key, in the report's order.

    Args:
        view: the run; charts that it has no data for are left out.
        palette: `plots_style.LIGHT` or `DARK`.

    Returns:
        `front`, with three objectives `front_2` and `front_3` too, with more `matrix`; in the same
        way `forest`, `importance`, `depth`, `best`, `select`; single: `parallel`, `hypervolume`,
        `funnel`, `seconds`.
    """
    drawn: dict[str, go.Figure] = {}
    drawn |= _keyed("forest", (forest_figure(p, palette) for p in data.forest_panels(view)))
    drawn |= _keyed("front", _front(view, palette))
    if complete(view) and (matrix := pair_matrix(view)):
        drawn["matrix"] = matrix_figure(matrix, view.objectives, palette)
    drawn |= _keyed(
        "importance", (importance_figure(p, palette) for p in data.importance_panels(view))
    )
    lines = parallel_data(view)
    if len(lines.lines) > 1:
        drawn["parallel"] = parallel_figure(lines, palette)
    drawn |= _keyed("depth", (_depth(p, palette) for p in data.depth_panels(view)))
    if view.hypervolume and (len(view.objectives) > 1 or view.beside):
        drawn["hypervolume"] = _hypervolume(view, palette)
    drawn |= _keyed("best", _best(view, palette))
    if steps := funnel(view):
        drawn["funnel"] = funnel_figure(steps, palette)
    times = data.time_bars(view)
    if times:
        drawn["seconds"] = _seconds(times, palette)
    chosen = (select_figure(p, view, palette) for p in select_panels(view))
    return drawn | _keyed("select", chosen)


def plotly_script() -> str:
    """The source of plotly.js that ships with plotly: what the report embeds."""
    return str(get_plotlyjs())


def _keyed(name: str, drawn: Iterable[go.Figure]) -> dict[str, go.Figure]:
    return {name if i == 1 else f"{name}_{i}": figure for i, figure in enumerate(drawn, 1)}


def _front(view: RunView, palette: Palette) -> Iterable[go.Figure]:
    if not complete(view):
        return
    if len(view.objectives) == 1:
        (panel,) = data.progress_panels(view, by_items=False)
        yield progress_figure(
            panel, view.objectives, palette, x_title="trial", height=440, intervals=True
        )
        return
    panels = front_panels(view)
    first = 520 if len(panels) == 1 else 780  # as tall as the two beside it
    for number, pair in enumerate(panels):
        yield front_figure(pair, view.objectives, palette, 380 if number else first)


def _best(view: RunView, palette: Palette) -> Iterable[go.Figure]:
    if not complete(view):
        return
    draw = partial(progress_figure, x_title="item evaluations of the run", height=SMALL)
    for panel in data.progress_panels(view):
        yield draw(panel, view.objectives, palette)


def _hypervolume(view: RunView, palette: Palette) -> go.Figure:
    figure = canvas(
        palette,
        height=SMALL,
        x_title="item evaluations of the run",
        y_title=f"hypervolume of the front  {toward(True, upright=True)}",
    )
    curves = [("the search", view.hypervolume, palette.front, "solid")]
    if view.beside and view.beside.hypervolume:
        curves.append(("random search", view.beside.hypervolume, palette.other, "dash"))
    for name, points, colour, dash in curves:
        figure.add_scatter(
            x=[items for items, _ in points],
            y=[value for _, value in points],
            mode="lines",
            name=name,
            line={"color": colour, "width": 2, "shape": "hv", "dash": dash},
            hovertemplate=f"{name}: %{{y:.4g}} after %{{x:,}} items<extra></extra>",
        )
    if len(curves) > 1:
        figure.update_layout(showlegend=True)
        figure.update_layout(legend={"y": -0.24, "yanchor": "top", "x": 0})
    return figure


def _depth(panel: data.DepthPanel, palette: Palette) -> go.Figure:
    profile = panel.profile
    title = f"<b>{plain(profile.expert, 30)}</b> · {plain(profile.parameter, 30)}"
    figure = canvas(palette, height=230, x_title="layer", y_title=title)
    layers = list(range(len(profile.winner)))
    edge = {"mode": "lines", "line": {"width": 0, "color": palette.band}, "hoverinfo": "skip"}
    if profile.front_low and profile.front_high:
        figure.add_scatter(x=layers, y=profile.front_low, **edge)
        figure.add_scatter(
            x=layers, y=profile.front_high, fill="tonexty", fillcolor=palette.band, **edge
        )
    figure.add_scatter(
        x=layers,
        y=profile.winner,
        mode="lines+markers",
        line={"color": palette.winner, "width": 2},
        marker={"size": 5, "color": palette.winner},
        hovertemplate="layer %{x}: %{y:.4g}<extra></extra>",
    )
    room = (panel.high - panel.low or abs(panel.high) or 1.0) * 0.06
    figure.update_yaxes(range=[panel.low - room, panel.high + room])
    figure.update_xaxes(range=[-0.5, len(layers) - 0.5])
    return figure


def _seconds(times: tuple[data.TimeBar, ...], palette: Palette) -> go.Figure:
    figure = canvas(
        palette,
        height=SMALL,
        x_title="trial",
        y_title="seconds a trial",
    )
    first = [bar.first for bar in times]
    names = [f"{b.first}" if b.first == b.last else f"{b.first} to {b.last}" for b in times]
    for title, values, colour in (
        ("proposing", [b.propose for b in times], palette.propose),
        ("building", [b.build for b in times], palette.build),
        ("scoring", [b.score for b in times], palette.score),
    ):
        figure.add_bar(
            x=first,
            y=values,
            name=title,
            marker={"color": colour, "line": {"width": 0}},
            customdata=[
                [f"trial {n}<br>{title}: {v:.3g} s"] for n, v in zip(names, values, strict=True)
            ],
            hovertemplate=HOVER,
        )
    figure.update_layout(barmode="stack", bargap=0.15, showlegend=True)
    figure.update_layout(legend={"y": -0.24, "yanchor": "top", "x": 0, "traceorder": "normal"})
    return figure
