"""Candidates on objectives against each other, as plain data: pairs, a matrix, search and select.

Values are as the study measured them, never turned round; a chart says which direction is better.
"""

import math
from dataclasses import dataclass
from itertools import combinations, pairwise

from .points import Point, all_points, complete
from .view import Estimate, Objective, RunView

MOST_OBJECTIVES = 6
"""In a matrix of pairs."""
MOST_FADED = 200
"""Dominated trials in each cell of a matrix; the front and the references are all there."""


@dataclass(frozen=True, slots=True)
class FrontPanel:
    """Two objectives against each other.

    `edge` is the border of what the front attains; empty unless the study has just these two.
    `third` is shown by colour; None unless the study has just three.
    """

    x: Objective
    y: Objective
    points: tuple[Point, ...]
    edge: tuple[tuple[float, float], ...] = ()
    third: Objective | None = None

    @property
    def ramp(self) -> tuple[float, float] | None:
        """The worst and the best value of `third` over the front, which colours span."""
        third = self.third
        values = [p.values[third.name].value for p in self.points if third and p.kind == "front"]
        if third is None or not values:
            return None
        ends = min(values), max(values)
        return ends if third.higher_is_better else ends[::-1]


@dataclass(frozen=True, slots=True)
class PairMatrix:
    """Every pair of more than three objectives: `cells[row][column]`, the lower triangle.

    The y of a row is objective row + 1, the x of a column objective column.
    """

    objectives: tuple[Objective, ...]
    cells: tuple[tuple[FrontPanel, ...], ...]
    left_out: int
    """Dominated trials that are not drawn."""


@dataclass(frozen=True, slots=True)
class SelectPanel:
    """One objective on the search split and on select, of whoever met the others there.

    Of each point (point, its value on select). `low` and `high` span both axes.
    """

    objective: Objective
    points: tuple[tuple[Point, Estimate], ...]
    low: float
    high: float


def front_panels(view: RunView) -> tuple[FrontPanel, ...]:
    """One panel for each pair of two or three objectives; none for fewer or more."""
    if len(view.objectives) not in (2, 3):
        return ()
    points = all_points(view)
    panels = []
    for x, y in combinations(view.objectives, 2):
        shown = tuple(p for p in points if _seen(p, x) and _seen(p, y))
        others = [one for one in view.objectives if one not in (x, y)]
        edge = () if others else _edge(view, x, y)
        panels.append(FrontPanel(x, y, shown, edge, others[0] if others else None))
    return tuple(panels)


def pair_matrix(view: RunView) -> PairMatrix | None:
    """All pairs of the first six of more than three objectives; None with three or fewer."""
    if len(view.objectives) <= 3:
        return None
    chosen = view.objectives[:MOST_OBJECTIVES]
    points = all_points(view)
    faded = [p for p in points if p.kind in ("dominated", "infeasible")]
    step = max(1, math.ceil(len(faded) / MOST_FADED))
    kept = {p.key for p in faded[::step]} | {p.key for p in points if p not in faded}
    shown = [p for p in points if p.key in kept]
    cells = tuple(
        tuple(
            FrontPanel(x, y, tuple(p for p in shown if _seen(p, x) and _seen(p, y)))
            for x in chosen[:row]
        )
        for row, y in enumerate(chosen)
        if row
    )
    return PairMatrix(chosen, cells, len(points) - len(shown))


def select_panels(view: RunView) -> tuple[SelectPanel, ...]:
    """One panel for each objective that finalists were scored on; none before a verdict."""
    met = {t.number: t.select for t in view.trials if t.select}
    references = [r.select for r in view.references]
    panels = []
    for o in view.objectives:
        pairs = [
            (point, found[o.name])
            for point in all_points(view)
            if point.kind != "random"
            for found in [
                references[int(point.key[1:])] if point.trial is None else met.get(point.trial, {})
            ]
            if o.name in found and _seen(point, o) and math.isfinite(found[o.name].value)
        ]
        if pairs:
            values = [v for p, e in pairs for v in (p.values[o.name].value, e.value)]
            panels.append(SelectPanel(o, tuple(pairs), min(values), max(values)))
    return tuple(panels)


def _seen(point: Point, objective: Objective) -> bool:
    estimate = point.values.get(objective.name)
    return estimate is not None and math.isfinite(estimate.value)


def _edge(view: RunView, x: Objective, y: Objective) -> tuple[tuple[float, float], ...]:
    """The staircase through the front: its corners are what both neighbours dominate."""
    front = sorted(
        (t.objectives[x.name].value, t.objectives[y.name].value)
        for t in complete(view)
        if t.on_front
    )
    worse_x = min if x.higher_is_better else max
    worse_y = min if y.higher_is_better else max
    path = front[:1]
    for left, right in pairwise(front):
        path += [(worse_x(left[0], right[0]), worse_y(left[1], right[1])), right]
    return tuple(path)
