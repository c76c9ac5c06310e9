"""Draws how the race narrowed, and what the select split said of those it left."""

from __future__ import annotations

import plotly.graph_objects as go

from .front_data import SelectPanel
from .funnel import Step
from .plots_canvas import HOVER, bars, canvas, hover, marker, plain
from .plots_style import MARKS, Palette
from .view import RunView

ROW = 46


def funnel_figure(steps: tuple[Step, ...], palette: Palette) -> go.Figure:
    """One bar a step; what went on is dark, what waits lighter, what was dropped faded."""
    figure = canvas(palette, height=ROW * len(steps) + 60)
    places = [place + 0.4 * (not step.race) for place, step in enumerate(steps)]
    for title, name, colour in (
        ("went on", "on", palette.front),
        ("wait", "waiting", palette.front_soft),
        ("dropped", "dropped", palette.trial),
        ("failed", "failed", palette.winner_soft),
    ):
        amounts = [getattr(step, name) for step in steps]
        if any(amounts):
            figure.add_bar(
                x=amounts,
                y=places,
                orientation="h",
                width=0.34,
                name=title,
                marker={"color": colour, "line": {"width": 0}},
                customdata=[
                    [f"{plain(step.title, 30)}: {amount} {title}"]
                    for step, amount in zip(steps, amounts, strict=True)
                ],
                hovertemplate=HOVER,
            )
    figure.update_layout(
        barmode="stack",
        showlegend=True,
        legend={"y": 0, "yanchor": "top", "x": 0, "traceorder": "normal"},
        margin={"t": 4, "b": 8},
    )
    figure.update_xaxes(visible=False, fixedrange=True)
    figure.update_yaxes(range=[places[-1] + 0.45, -0.75], visible=False, fixedrange=True)
    for place, step in zip(places, steps, strict=True):
        for label in _labels(place, step, palette):
            figure.add_annotation(label)
    return figure


def _labels(place: float, step: Step, palette: Palette) -> list[dict[str, object]]:
    """Above the bar: how many and which step at the left, what became of them at the right."""
    here = [
        f"{amount} {title}"
        for title, amount in (
            ("wait", step.waiting),
            ("dropped", step.dropped),
            ("failed", step.failed),
        )
        if amount
    ]
    notes = " · ".join(filter(None, [plain(step.note, 30), *here]))
    line = {"xref": "paper", "y": place, "yshift": 17, "showarrow": False, "borderpad": 0}
    return [
        line
        | {
            "x": 0,
            "xanchor": "left",
            "text": f"<b>{step.trials:,}</b> {plain(step.title, 24)}",
            "font": {"size": 12, "color": palette.ink},
        },
        line
        | {
            "x": 1,
            "xanchor": "right",
            "text": notes,
            "font": {"size": 11, "color": palette.muted},
        },
    ]


def select_figure(panel: SelectPanel, view: RunView, palette: Palette) -> go.Figure:
    """Search against select; on the diagonal the search score was not too good."""
    room = (panel.high - panel.low or abs(panel.high) or 1.0) * 0.08
    ends = [panel.low - room, panel.high + room]
    name = f"<b>{plain(panel.objective.name, 28)}</b> · {plain(panel.objective.metric, 24)}"
    worse = "below" if panel.objective.higher_is_better else "above"
    figure = canvas(palette, height=330, x_title="on search", y_title=f"{name}  on select")
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        line={"color": palette.zero, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.add_annotation(
        x=1,
        y=0,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        text=f"{worse} the line: search flattered",
        showarrow=False,
        font={"size": 11, "color": palette.muted},
        bgcolor=palette.veil,
    )
    for kind, mark in MARKS.items():
        chosen = [(p, e) for p, e in panel.points if p.kind == kind]
        if not chosen:
            continue
        soft = getattr(palette, mark.soft)
        xs = [p.values[panel.objective.name] for p, _ in chosen]
        ys = [e for _, e in chosen]
        figure.add_scatter(
            x=[e.value for e in xs],
            y=[e.value for e in ys],
            mode="markers",
            name=mark.title,
            marker={**marker(kind, palette), "size": mark.size * 0.8},
            error_x=bars(xs, soft),
            error_y=bars(ys, soft),
            customdata=[[hover(p, view.objectives), p.key] for p, _ in chosen],
            hovertemplate=HOVER,
        )
    figure.update_xaxes(range=ends)
    figure.update_yaxes(range=ends)
    return figure
