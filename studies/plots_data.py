"""What each chart shows, as plain data: the first of two steps, tested without a picture.

Strings are raw (a stranger's names): whoever draws them escapes them. Values are as the study
measured them, never turned round; a chart says which direction is better.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .parameter_groups import grouped_shares
from .points import Point, complete, trial_points
from .view import Estimate, Objective, Profile, ReferenceView, RunView
from .wording import short_names

MOST_PARAMETERS = 10
MOST_BARS = 60


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
