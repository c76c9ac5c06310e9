"""What every chart says, in a sentence: its text alternative, under the chart's own key."""

from collections.abc import Iterable

from . import plots_data as data
from .front_data import PairMatrix, SelectPanel, front_panels, pair_matrix, select_panels
from .funnel import Step, funnel
from .points import complete
from .report_text import search_sentence
from .view import RunView
from .wording import clean, count, direction, estimate_text, interval, number, signed


def alternatives(view: RunView) -> dict[str, str]:
    """A sentence for each chart of `plots.figures`, under the same keys."""
    said: dict[str, str] = {}
    said |= _keyed("forest", (_say_forest(p) for p in data.forest_panels(view)))
    said |= _keyed("front", _say_front(view))
    if matrix := pair_matrix(view):
        said["matrix"] = _say_matrix(matrix)
    said |= _keyed("importance", (_say_importance(p) for p in data.importance_panels(view)))
    said["parallel"] = (
        f"Parallel coordinates: {count(len(complete(view)), 'trial')} as lines over the "
        "parameters that mattered most and the objectives; the winner's line is on top."
    )
    said |= _keyed("depth", (_say_depth(p) for p in data.depth_panels(view)))
    if view.hypervolume:
        (_, first), (_, last) = view.hypervolume[0], view.hypervolume[-1]
        said["hypervolume"] = (
            f"Hypervolume of the front so far: {first:.4g} at first, {last:.4g} at the end."
        )
        if view.beside and view.beside.hypervolume:
            said["hypervolume"] += f" Random search: {view.beside.hypervolume[-1][1]:.4g}."
    said |= _keyed("best", (_say_best(p) for p in data.progress_panels(view)))
    said["funnel"] = " ".join(map(_say_step, funnel(view)))
    said |= _keyed("select", (_say_select(p) for p in select_panels(view)))
    said["seconds"] = "Seconds a trial, stacked. " + search_sentence(view)
    return said


def _keyed(name: str, texts: Iterable[str]) -> dict[str, str]:
    return {name if i == 1 else f"{name}_{i}": text for i, text in enumerate(texts, 1)}


def _say_forest(panel: data.ForestPanel) -> str:
    rows = "; ".join(
        f"{clean(name)} {signed(d.value)} ({interval(d, difference=True)})"
        for name, _, d in panel.rows
    )
    return f"{panel.column}, {direction(panel.higher_is_better)}, winner minus: {rows}."


def _say_front(view: RunView) -> Iterable[str]:
    if len(view.objectives) == 1:
        for panel in data.progress_panels(view, by_items=False):
            yield _say_best(panel)
        return
    for pair in front_panels(view):
        on = sum(p.kind in ("front", "winner") for p in pair.points)
        text = f"{pair.x.name} against {pair.y.name}: {count(on, 'point')} on the front. "
        if pair.third is not None:
            text += f"Their colour is {pair.third.name}. "
        for point in pair.points:
            if point.label:
                x, y = point.values[pair.x.name], point.values[pair.y.name]
                text += f"{point.label}: {estimate_text(x)} and {estimate_text(y)}. "
        yield text.strip()


def _say_importance(panel: data.ImportancePanel) -> str:
    bars = sorted(panel.bars, key=lambda bar: -bar[1])[:3]
    top = ", ".join(f"{clean(name)} {share:.0%}" for name, share in bars)
    return f"What explains {panel.objective.name}: {top}."


def _say_depth(panel: data.DepthPanel) -> str:
    p = panel.profile
    if not p.winner:
        return f"{p.parameter} of {p.expert}: no layers."
    return (
        f"{p.parameter} of {p.expert} over {count(len(p.winner), 'layer')}: the winner goes from "
        f"{p.winner[0]:.3g} to {p.winner[-1]:.3g}, lowest {min(p.winner):.3g}, "
        f"highest {max(p.winner):.3g}."
    )


def _say_best(panel: data.ProgressPanel) -> str:
    if not panel.best:
        return f"{panel.objective.name}: no usable trial."
    (_, first), (_, last) = panel.best[0], panel.best[-1]
    levels = "; ".join(f"{level.label} {number(level.value)}" for level in panel.levels)
    return (
        f"{panel.objective.name} ({direction(panel.objective.higher_is_better)}): the best trial "
        f"went from {number(first)} to {number(last)}. {levels}"
    ).strip()


def _say_matrix(matrix: PairMatrix) -> str:
    names = ", ".join(o.name for o in matrix.objectives)
    left = f" {matrix.left_out:,} dominated trials are left out." if matrix.left_out else ""
    return f"Every pair of {names} against each other; the table below has the same values.{left}"


def _say_step(step: Step) -> str:
    here = [
        f"{amount} {what}"
        for amount, what in (
            (step.waiting, "wait"),
            (step.dropped, "dropped"),
            (step.failed, "failed"),
        )
        if amount
    ]
    note = f" ({step.note})" if step.note else ""
    return f"{step.title}{note}: {count(step.trials, 'trial')}{''.join(f', {h}' for h in here)}."


def _say_select(panel: SelectPanel) -> str:
    worse = sum(
        (e.value < p.values[panel.objective.name].value) is panel.objective.higher_is_better
        for p, e in panel.points
        if p.trial is not None
    )
    trials = sum(p.trial is not None for p, _ in panel.points)
    return (
        f"{panel.objective.name}: {worse} of {count(trials, 'finalist')} did worse on select than "
        "on search."
    )
