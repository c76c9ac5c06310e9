"""What each chart shows, as plain data: the first of two steps, tested without a picture.

Strings are raw (a stranger's names): whoever draws them escapes them. Values are as the study
measured them, never turned round; a chart says which direction is better.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from .parameter_groups import grouped_shares
from .points import Point, all_points, complete, trial_points
from .view import Estimate, Objective, Profile, ReferenceView, RunView
from .wording import short_names

MOST_OBJECTIVES = 6
"""In a matrix of pairs."""
MOST_FADED = 200
"""Dominated trials in each cell of a matrix; the front and the references are all there."""
MOST_PARAMETERS = 10
MOST_BARS = 60


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


@dataclass(frozen=True, slots=True)
class Level:
    """A reference's value, drawn as a line across a chart."""

    label: str
    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class ProgressPanel:
    """One objective over trials or item evaluations, as (x, point) and (x, best so far)."""

    objective: Objective
    points: tuple[tuple[int, Point], ...]
    best: tuple[tuple[int, float], ...]
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class ForestPanel:
    """One column of the test table: the winner minus each other model, paired."""

    column: str
    higher_is_better: bool
    rows: tuple[tuple[str, str, Estimate], ...]
    """(name, kind, difference)"""


@dataclass(frozen=True, slots=True)
class ImportancePanel:
    """Shares in [0, 1], the same groups of parameters in the same order for every objective."""

    objective: Objective
    bars: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class DepthPanel:
    """One parameter of one expert along depth; panels of one parameter share `low` and `high`."""

    profile: Profile
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TimeBar:
    """Mean seconds a trial, over the trials `first` to `last`."""

    first: int
    last: int
    propose: float
    build: float
    score: float


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


def progress_panels(view: RunView, *, by_items: bool = True) -> tuple[ProgressPanel, ...]:
    """Each objective over item evaluations, or over trial numbers."""
    points = {p.trial: p for p in trial_points(view)}
    trials = complete(view)
    if by_items:
        trials = sorted(trials, key=lambda t: (t.items_so_far, t.number))
    panels = []
    for objective in view.objectives:
        position = [(t.items_so_far if by_items else t.number, t) for t in trials]
        values = [(x, t.objectives[objective.name].value) for x, t in position if t.feasible]
        panels.append(
            ProgressPanel(
                objective,
                tuple((x, points[t.number]) for x, t in position),
                tuple(_running_best(values, objective.higher_is_better)),
                _levels(view.references, objective),
            )
        )
    return tuple(panels)


def _running_best(
    values: Iterable[tuple[int, float]], higher: bool
) -> Iterable[tuple[int, float]]:
    best = -math.inf if higher else math.inf
    for x, value in values:
        best = max(best, value) if higher else min(best, value)
        yield x, best


def _levels(references: Sequence[ReferenceView], objective: Objective) -> tuple[Level, ...]:
    """The best parent, and base and uniform merge: more lines than three cannot be told apart."""
    short = short_names([r.name for r in references])
    seen = [
        (r, r.objectives[objective.name].value)
        for r in references
        if objective.name in r.objectives and math.isfinite(r.objectives[objective.name].value)
    ]
    pick = max if objective.higher_is_better else min
    levels = []
    for kind, title in (("parent", "best parent: "), ("base", "base: "), ("uniform", "")):
        of_kind = [(r, value) for r, value in seen if r.kind == kind]
        if of_kind:
            ref, value = pick(of_kind, key=lambda pair: pair[1])
            label = short[ref.name]
            levels.append(Level(label if label == kind else title + label, kind, value))
    return tuple(levels)


def forest_panels(view: RunView) -> tuple[ForestPanel, ...]:
    """One panel for each column of the test table that has differences."""
    short = short_names([r.name for r in view.test_rows])
    panels = []
    for column in view.columns:
        rows = tuple(
            (short[row.name], row.kind, row.difference[column])
            for row in view.test_rows
            if row.kind != "winner"
            and column in row.difference
            and math.isfinite(row.difference[column].value)
        )
        if rows:
            panels.append(ForestPanel(column, view.directions.get(column, True), rows))
    return tuple(panels)


def ranked_parameters(view: RunView) -> list[str]:
    """Parameters by mean importance, largest first; those without a share last, by name."""
    names = {name for trial in view.trials for name in trial.parameters}
    names |= {name for shares in view.importance.values() for name in shares}
    weight = {
        name: sum(shares.get(name, 0.0) for shares in view.importance.values()) for name in names
    }
    return sorted(names, key=lambda name: (-weight[name], name))


def importance_panels(view: RunView) -> tuple[ImportancePanel, ...]:
    """The ten groups of parameters that mattered most, for each objective that has shares."""
    shares = {name: grouped_shares(found) for name, found in view.importance.items() if found}
    total: dict[str, float] = {}
    for found in shares.values():
        for name, share in found.items():
            total[name] = total.get(name, 0.0) + share
    names = sorted(total, key=lambda name: (-total[name], name))[:MOST_PARAMETERS]
    return tuple(
        ImportancePanel(o, tuple((n, shares[o.name].get(n, 0.0)) for n in names))
        for o in view.objectives
        if o.name in shares
    )


def depth_panels(view: RunView) -> tuple[DepthPanel, ...]:
    """One panel for each profile; panels of one parameter share their bounds."""
    bounds: dict[str, list[float]] = {}
    for p in view.profiles:
        bounds.setdefault(p.parameter, []).extend((*p.winner, *p.front_low, *p.front_high))
    panels = []
    for profile in view.profiles:
        values = [v for v in bounds[profile.parameter] if math.isfinite(v)] or [0.0]
        panels.append(DepthPanel(profile, min(values), max(values)))
    return tuple(panels)


def time_bars(view: RunView) -> tuple[TimeBar, ...]:
    """Seconds a trial in at most sixty bars, in order of trial number."""
    trials = sorted(view.trials, key=lambda trial: trial.number)
    width = max(1, math.ceil(len(trials) / MOST_BARS))
    bars = []
    for start in range(0, len(trials), width):
        run = trials[start : start + width]
        means = [
            sum(seconds) / len(run)
            for seconds in zip(
                *((t.propose_seconds, t.build_seconds, t.score_seconds) for t in run), strict=True
            )
        ]
        bars.append(TimeBar(run[0].number, run[-1].number, *means))
    return tuple(bars)
