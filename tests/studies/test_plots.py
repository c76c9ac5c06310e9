"""What the charts show, checked as data; then that the drawing keeps it and escapes names."""

import dataclasses
import json
import math

import pytest

from studies import front_data, points
from studies import plots_data as data
from studies import view as v
from studies.plots import figures
from studies.plots_canvas import plain
from studies.plots_parallel import parallel_data
from studies.plots_style import DARK, LIGHT, MARKS, swaps


def best(values: list[float], higher: bool) -> float:
    return max(values) if higher else min(values)


def test_kinds_of_points_follow_the_trials(make_view):
    view = make_view()
    kinds = {p.trial: p.kind for p in points.trial_points(view)}
    assert set(kinds) == {t.number for t in view.trials if t.state == "complete"}
    assert kinds[view.winner.number] == "winner"
    for trial in view.trials:
        if trial.state == "complete" and trial.number != view.winner.number:
            expected = (
                "front" if trial.on_front else "dominated" if trial.feasible else "infeasible"
            )
            assert kinds[trial.number] == expected


def test_a_reference_that_won_is_drawn_as_the_winner(make_view):
    view = make_view()
    won = dataclasses.replace(view.winner, name="zoo/code", number=None)
    shown = points.reference_points(dataclasses.replace(view, winner=won))
    assert [(p.kind, p.label) for p in shown if p.name == "zoo/code"] == [
        ("winner", "winner: code")
    ]
    assert "winner" not in {
        p.kind for p in points.trial_points(dataclasses.replace(view, winner=won))
    }


def test_unknown_kinds_of_references_are_other(make_view):
    view = make_view()
    odd = v.ReferenceView("mine", "winner", view.references[0].objectives)
    (point,) = points.reference_points(dataclasses.replace(view, references=(odd,)))
    assert point.kind == "other"


@pytest.mark.parametrize(("x_up", "y_up"), [(True, True), (True, False), (False, True)])
def test_the_edge_is_a_staircase_nothing_on_it_beats_the_front(make_view, x_up, y_up):
    x, y = v.Objective("a", "m", x_up), v.Objective("b", "m", y_up)
    corners = [(0.1, 0.9), (0.5, 0.6), (0.8, 0.2)]
    flip = [(a if x_up else -a, b if y_up else -b) for a, b in corners]
    template = next(t for t in make_view().trials if t.state == "complete")
    trials = tuple(
        dataclasses.replace(
            template,
            number=i,
            on_front=True,
            objectives={"a": v.Estimate(a), "b": v.Estimate(b)},
        )
        for i, (a, b) in enumerate(flip)
    )
    view = dataclasses.replace(
        make_view(), objectives=(x, y), trials=trials, references=(), winner=None
    )
    (panel,) = front_data.front_panels(view)
    assert len(panel.edge) == 5 and set(flip) < set(panel.edge)
    for (xa, ya), (xb, yb) in zip(panel.edge, panel.edge[1:], strict=False):
        assert xa == xb or ya == yb
    for cx, cy in set(panel.edge) - set(flip):
        worse = [
            ((cx <= fx) is x_up or cx == fx) and ((cy <= fy) is y_up or cy == fy)
            for fx, fy in flip
        ]
        assert sum(worse) >= 2  # both neighbours dominate a corner


def test_pairs_of_objectives(make_view):
    assert front_data.front_panels(make_view(1)) == ()
    three = front_data.front_panels(make_view(3))
    assert [(p.x.name, p.y.name) for p in three] == [
        ("logic", "code"),
        ("logic", "prose"),
        ("code", "prose"),
    ]
    assert all(p.edge == () for p in three)
    assert [p.third.name for p in three] == ["prose", "code", "logic"]
    assert (
        front_data.front_panels(make_view(4)) == ()
        and front_data.pair_matrix(make_view(3)) is None
    )
    assert len(front_data.front_panels(make_view(2))[0].edge) > 3


def test_running_best_uses_feasible_trials_in_order_of_items(make_view):
    view = make_view(3)
    for panel in data.progress_panels(view):
        name, higher = panel.objective.name, panel.objective.higher_is_better
        usable = [t for t in points.complete(view) if t.feasible]
        assert panel.best[-1][1] == best([t.objectives[name].value for t in usable], higher)
        xs, ys = zip(*panel.best, strict=True)
        assert list(xs) == sorted(xs)
        assert list(ys) == sorted(ys, reverse=not higher)
        assert len(panel.points) == len(points.complete(view))


def test_levels_take_the_best_parent_in_the_right_direction(make_view):
    view = make_view(3)
    for panel in data.progress_panels(view):
        name = panel.objective.name
        parents = [r.objectives[name].value for r in view.references if r.kind == "parent"]
        level = {level.kind: level for level in panel.levels}
        assert level["parent"].value == best(parents, panel.objective.higher_is_better)
        assert set(level) == {"parent", "base", "uniform"} and level["base"].label == "base"


def test_forest_rows_are_the_differences_without_the_winner(make_view):
    view = make_view(3)
    panels = data.forest_panels(view)
    assert [p.column for p in panels] == list(view.columns)
    assert [p.higher_is_better for p in panels] == [True, True, False]
    for panel in panels:
        expected = [r.difference[panel.column] for r in view.test_rows if r.kind != "winner"]
        assert [d for _, _, d in panel.rows] == expected


def test_colours_span_the_third_objective_from_worse_to_better(make_view):
    view = make_view(3)
    for panel in front_data.front_panels(view):
        of = panel.third
        values = [t.objectives[of.name].value for t in view.trials if t.on_front]
        values.remove(view.trials[view.winner.number].objectives[of.name].value)
        assert panel.ramp == (
            best(values, not of.higher_is_better),
            best(values, of.higher_is_better),
        )


def test_a_matrix_has_every_pair_once_and_thins_only_what_is_faded(make_view):
    view = make_view(4, trials=900)
    matrix = front_data.pair_matrix(view)
    names = [(cell.x.name, cell.y.name) for row in matrix.cells for cell in row]
    assert len(set(names)) == len(names) == 6 and len(matrix.cells) == 3
    everyone = points.all_points(view)
    faded = [p for p in everyone if p.kind in ("dominated", "infeasible")]
    for row in matrix.cells:
        for cell in row:
            kept = [p for p in cell.points if p.kind in ("dominated", "infeasible")]
            assert len(kept) == len(faded) - matrix.left_out <= front_data.MOST_FADED
            assert len(cell.points) - len(kept) == len(everyone) - len(faded)
    assert front_data.pair_matrix(make_view(4)).left_out == 0


def test_select_panels_pair_both_splits_of_whoever_met_there(make_view, raced):
    view = raced(make_view(2))
    met = [t for t in view.trials if t.select and t.state == "complete"]
    for panel in front_data.select_panels(view):
        name = panel.objective.name
        found = {p.key: (p.values[name].value, e.value) for p, e in panel.points}
        assert len(found) == len(met) + len(view.references)
        for trial in met:
            pair = trial.objectives[name].value, trial.select[name].value
            assert found[points.trial_key(trial.number)] == pair
        assert panel.low == min(min(pair) for pair in found.values())
    assert front_data.select_panels(make_view(2)) == ()


def test_importance_adds_up_the_anchors_of_a_range(make_view):
    view = make_view(2)
    panels = data.importance_panels(view)
    assert [name for name, _ in panels[0].bars] == [name for name, _ in panels[1].bars]
    assert {name for name, _ in panels[0].bars} == {"math.weight", "code.weight", "prose.weight"}
    for panel in panels:
        shares = view.importance[panel.objective.name]
        for name, share in panel.bars:
            assert share == pytest.approx(sum(shares[f"{name}@{k}"] for k in range(3)))
    sums = [sum(s) for s in zip(*([b for _, b in p.bars] for p in panels), strict=True)]
    assert sums == sorted(sums, reverse=True)


def test_depth_panels_of_one_parameter_share_bounds(make_view):
    panels = data.depth_panels(make_view())
    weights = [p for p in panels if p.profile.parameter == "weight"]
    assert len({(p.low, p.high) for p in weights}) == 1
    assert weights[0].high == max(max(p.profile.front_high) for p in weights)


@pytest.mark.parametrize("trials", [1, 60, 61, 1000])
def test_time_bars_conserve_seconds(make_view, trials):
    view = make_view(1, trials=trials)
    bars = data.time_bars(view)
    assert len(bars) <= data.MOST_BARS and bars[0].first == 0 and bars[-1].last == trials - 1
    total = sum(b.score * (b.last - b.first + 1) for b in bars)
    assert total == pytest.approx(sum(t.score_seconds for t in view.trials))


def test_parallel_rows_place_the_better_end_right(make_view):
    view = make_view(3)
    lines = parallel_data(view)
    assert [r.name for r in lines.rows if r.is_objective] == ["logic", "code", "prose"]
    assert len(lines.lines) == len(points.complete(view))
    for i, objective in zip((-3, -2, -1), view.objectives, strict=True):
        by_score = sorted(
            lines.lines,
            key=lambda line: view.trials[line.trial].objectives[objective.name].value,  # noqa: B023
            reverse=not objective.higher_is_better,
        )
        assert by_score[0].positions[i] == 0 and by_score[-1].positions[i] == 1


def test_parallel_handles_choices_logs_constants_and_missing(make_view):
    view = make_view(1, trials=6)
    settings = [
        {"c": "ties", "log": 0.001, "same": 1.0, "flag": True},
        {"c": "linear", "log": 1.0, "same": 1.0, "flag": False},
        {"log": 0.0316227766, "same": 1.0, "flag": True},
    ]
    trials = tuple(
        dataclasses.replace(t, parameters=settings[i % 3]) for i, t in enumerate(view.trials)
    )
    lines = parallel_data(dataclasses.replace(view, trials=trials, importance={}))
    rows = {row.name: (i, row) for i, row in enumerate(lines.rows)}
    assert "same" not in rows
    at = {name: [line.positions[i] for line in lines.lines[:3]] for name, (i, _) in rows.items()}
    assert at["c"] == [1.0, 0.0, None] and rows["c"][1].note == "linear, ties"
    assert at["log"] == pytest.approx([0.0, 1.0, 0.5]) and rows["log"][1].note == "log scale"
    assert at["flag"] == [1.0, 0.0, 1.0]


def test_figures_have_every_chart_by_key(make_view, raced):
    assert list(figures(make_view(2))) == [
        *("forest", "forest_2", "front", "importance", "importance_2", "parallel"),
        *("depth", "depth_2", "depth_3", "depth_4", "depth_5", "depth_6"),
        *("hypervolume", "best", "best_2", "seconds"),
    ]
    assert list(figures(raced(make_view(2))))[-4:] == ["funnel", "seconds", "select", "select_2"]
    four = figures(make_view(4))
    assert "matrix" in four and "front" not in four
    one = figures(make_view(1))
    assert "hypervolume" not in one and "front_2" not in one
    assert {"front", "front_2", "front_3"} <= set(figures(make_view(3)))


def test_the_front_is_drawn_as_the_data_says(make_view):
    view = make_view(2)
    (panel,) = front_data.front_panels(view)
    traces = {t.name: t for t in figures(view)["front"].data if t.name}
    for kind, mark in MARKS.items():
        chosen = [p for p in panel.points if p.kind == kind]
        if not chosen:
            assert mark.title not in traces
            continue
        trace = traces[mark.title]
        assert list(trace.x) == [p.values["logic"].value for p in chosen]
        assert [c[1] for c in trace.customdata] == [p.key for p in chosen]
        if kind not in ("dominated", "infeasible"):
            first = chosen[0].values["code"]
            assert trace.error_y.array[0] == pytest.approx(first.high - first.value)
    assert len({t.marker.symbol for t in traces.values() if t.name != "dominated trial"}) == (
        len(traces) - ("dominated trial" in traces)
    )


def test_nothing_is_drawn_that_is_not_there(make_view):
    view = dataclasses.replace(
        make_view(2, trials=0),
        references=(),
        winner=None,
        profiles=(),
        importance={},
        test_rows=(),
    )
    assert figures(view) == {}
    nan = v.Estimate(math.nan, math.nan, math.nan)
    trials = tuple(
        dataclasses.replace(t, objectives={"logic": nan, "code": nan}) for t in make_view(2).trials
    )
    drawn = figures(dataclasses.replace(make_view(2), trials=trials))
    assert "front" not in drawn and "NaN" not in "".join(f.to_json() for f in drawn.values())


def test_names_reach_plotly_escaped(make_view):
    hostile = "zoo/<a href='https://evil.example'>%{x}</a>\n<b>"
    view = make_view(2, names=(hostile, "zoo/code", "zoo/prose"))
    text = json.dumps([f.to_plotly_json() for f in figures(view).values()], default=list)
    assert "&lt;" in text and "<a" not in text
    assert plain("<b>&\n") == "&lt;b&gt;&amp;"
    templates = {
        t.hovertemplate for f in figures(view).values() for t in f.data if t.hovertemplate
    }
    assert not any("evil" in template or "zoo" in template for template in templates)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_colours_of_text_reach_wcag_contrast(palette):
    paper = luminance(palette.paper)
    for role in (
        *("ink", "muted", "winner", "front", "parent", "base", "uniform", "other", "random"),
    ):
        bright, dim = sorted((luminance(getattr(palette, role)), paper), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, role


def test_every_light_colour_has_one_dark_counterpart(make_view, raced, truthful):
    assert len(swaps()) == len(dataclasses.fields(LIGHT))
    seen = {"light": [], "dark": []}
    for objectives in (2, 3, 4):
        view = raced(truthful(make_view(objectives)))
        for name, palette in (("light", LIGHT), ("dark", DARK)):
            seen[name] += [f.to_plotly_json() for f in figures(view, palette).values()]
    light, dark = json.dumps(seen["light"], default=list), json.dumps(seen["dark"], default=list)
    for colour, counterpart in swaps().items():
        light = light.replace(f'"{colour}"', f'"{counterpart}"')
    assert light == dark
