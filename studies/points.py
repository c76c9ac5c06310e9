"""Candidates as points of a chart: what each is, what it is called, its recipe in short.

Strings are raw (a stranger's names): whoever draws them escapes them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .parameter_groups import in_short
from .view import Estimate, ReferenceView, RunView, TrialView
from .wording import short_names

RANDOM = "random"
"""The key of the best candidate of the random search beside."""


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate: a trial, a reference (`trial` None), or random search's best.

    `kind` is a key of `plots_style.MARKS`; `key` finds its recipe in the page.
    """

    key: str
    name: str
    label: str
    kind: str
    trial: int | None
    values: Mapping[str, Estimate]
    note: str
    short: tuple[str, ...] = ()
    """The recipe in a few lines."""


def trial_key(number: int) -> str:
    """The key of a trial."""
    return f"t{number}"


def reference_key(place: int) -> str:
    """The key of a reference, by its place in `RunView.references`."""
    return f"r{place}"


def complete(view: RunView) -> list[TrialView]:
    """Trials with a finite value for every objective, by number; who was dropped is left out."""
    names = [o.name for o in view.objectives]

    def usable(trial: TrialView) -> bool:
        values = [trial.objectives.get(name) for name in names]
        scored = trial.state in ("complete", "paused")
        return scored and all(v and math.isfinite(v.value) for v in values)

    return sorted(filter(usable, view.trials), key=lambda trial: trial.number)


def trial_points(view: RunView) -> list[Point]:
    """Every complete trial, with the kind it is drawn as."""
    won = view.winner.number if view.winner else None
    points = []
    for trial in complete(view):
        kind = "front" if trial.on_front else "dominated" if trial.feasible else "infeasible"
        name, label = f"trial {trial.number}", ""
        if won is not None and trial.number == won:
            kind, label = "winner", "winner"
        points.append(
            Point(
                trial_key(trial.number),
                name,
                label,
                kind,
                trial.number,
                trial.objectives,
                trial.origin,
                in_short(trial.parameters),
            )
        )
    return points


def reference_points(view: RunView) -> list[Point]:
    """Every reference; one that won is drawn as the winner."""
    short = short_names([r.name for r in view.references])
    return [
        _reference(view, place, ref, short[ref.name]) for place, ref in enumerate(view.references)
    ]


def _reference(view: RunView, place: int, ref: ReferenceView, label: str) -> Point:
    kind = ref.kind if ref.kind in {"base", "parent", "uniform"} else "other"
    if view.winner and view.winner.number is None and ref.name == view.winner.name:
        kind, label = "winner", f"winner: {label}"
    return Point(reference_key(place), ref.name, label, kind, None, ref.objectives, ref.kind)


def random_points(view: RunView) -> list[Point]:
    """The best candidate of the random search beside; none where there was none."""
    other = view.beside
    if other is None or not other.random:
        return []
    note = "the best of random search"
    return [
        Point(
            RANDOM,
            other.random,
            "random search",
            "random",
            None,
            other.objectives,
            note,
            in_short(other.parameters),
        )
    ]


def all_points(view: RunView) -> tuple[Point, ...]:
    """Trials, references, random search's best."""
    return (*trial_points(view), *reference_points(view), *random_points(view))
