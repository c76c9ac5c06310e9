"""The report's words and tables as plain data: what the template lays out.

Every chart has its say in a sentence here (its text alternative), and its numbers in a table where
they are not in one already. Strings are raw: the template escapes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .front_data import front_panels
from .plots_style import MARKS
from .points import Point, all_points, random_points, reference_points, trial_points
from .view import Estimate, Objective, RunView, TestRow
from .wording import (
    count,
    duration,
    has_interval,
    interval,
    number,
    signed,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the test table: the value, its interval, and the winner's difference to it."""

    value: str
    interval: str
    difference: str = ""
    difference_interval: str = ""
    tone: str = ""
    """better | worse where the interval of the difference excludes 0, else empty"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: `kind` picks the mark, `key` gives it a button."""

    name: str
    kind: str
    cells: tuple[Cell, ...]
    key: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number with its label, for the strip under the claim."""

    label: str
    value: str
    note: str = ""


def claim(view: RunView) -> str:
    """The sentence on top: the winner's claim, or why there is none."""
    if view.winner:
        return view.winner.claim
    if view.state == "running":
        return "The search is still running: no winner has been chosen yet."
    if view.state == "interrupted":
        return "The search was interrupted before a winner was chosen; the same command goes on."
    return "The search found no usable winner."


def headline(view: RunView) -> str:
    """The answer in a few words; empty where the claim is no claim about a winner."""
    if view.winner is None:
        return ""
    name = view.winner.name
    if view.winner.improved:
        return f"Yes: {name} is better than the best parent."
    if view.winner.number is None:
        return f"No: nothing that was found is shown to beat {name}, which was there before."
    if view.winner.improved is None:
        return f"{name} won; whether it is better cannot be claimed."
    return f"{name} won, but that it is better is not shown."


def facts(view: RunView) -> tuple[Fact, ...]:
    """The run in four numbers."""
    gain = view.winner.utility_gain if view.winner else None
    seconds = sum(t.propose_seconds + t.build_seconds + t.score_seconds for t in view.trials)
    failed = sum(t.state == "failed" for t in view.trials)
    found = (
        [
            Fact(
                "gain over best parent",
                signed(gain.value),
                "95%: " + interval(gain, difference=True),
            )
        ]
        if gain
        else []
    )
    return (
        *found,
        Fact("trials", f"{len(view.trials):,}", f"{failed} failed" if failed else "none failed"),
        Fact(
            "on the front",
            f"{sum(t.on_front for t in view.trials):,}",
            "not dominated by any trial",
        ),
        Fact("item evaluations", f"{items(view):,}", "by trials, on the search split"),
        Fact("time in trials", duration(seconds), "proposing, building, scoring"),
    )


def items(view: RunView) -> int:
    """Item evaluations of all trials."""
    return sum(t.items for t in view.trials)


def kinds(view: RunView) -> list[str]:
    """The kinds of points in the trade-off charts, for the legend, most important first."""
    seen = {point.kind for point in all_points(view)}
    return [kind for kind in reversed(MARKS) if kind in seen]


def ramps(view: RunView) -> dict[str, tuple[str, str, str]]:
    """Chart to the objective that its colours stand for, and what its worst and best ends are."""
    panels = front_panels(view)
    keys = ["front" if place == 1 else f"front_{place}" for place in range(1, len(panels) + 1)]
    found = {}
    for key, panel in zip(keys, panels, strict=True):
        if panel.third is not None and panel.ramp is not None:
            worst, best = panel.ramp
            name = f"{panel.third.name} · {panel.third.metric}"
            found[key] = name, number(worst), number(best)
    return found


def test_lines(view: RunView) -> tuple[Line, ...]:
    """The sealed split: the winner first, then every model it is compared with."""
    rows = sorted(view.test_rows, key=lambda row: row.kind != "winner")
    return tuple(Line(row.name, row.kind, _test_cells(view, row)) for row in rows)


def _test_cells(view: RunView, row: TestRow) -> tuple[Cell, ...]:
    cells = []
    for column in view.columns:
        value, gap = row.values.get(column), row.difference.get(column)
        text, ends = number(value.value if value else None), interval(value) if value else ""
        if gap is None or row.kind == "winner":
            cells.append(Cell(text, ends))
            continue
        tone = tone_of(gap, view.directions.get(column, True))
        cells.append(Cell(text, ends, signed(gap.value), interval(gap, difference=True), tone))
    return tuple(cells)


def tone_of(difference: Estimate, higher_is_better: bool) -> str:
    """`better` or `worse` where the interval excludes 0, else empty: no claim without one."""
    if not has_interval(difference) or difference.low is None or difference.high is None:
        return ""
    if difference.low > 0:
        return "better" if higher_is_better else "worse"
    if difference.high < 0:
        return "worse" if higher_is_better else "better"
    return ""


def front_lines(view: RunView) -> tuple[Line, ...]:
    """The winner, the references, then the front, best first objective first."""
    won = [p for p in trial_points(view) if p.kind == "winner"]
    front = [p for p in trial_points(view) if p.kind == "front"]
    if view.objectives:
        first = view.objectives[0]
        front.sort(key=lambda p: p.values[first.name].value, reverse=first.higher_is_better)
    order = (*won, *reference_points(view), *random_points(view), *front)
    return tuple(_front_line(view.objectives, point) for point in order)


def _front_line(objectives: Sequence[Objective], point: Point) -> Line:
    values = [point.values.get(o.name) for o in objectives]
    cells = tuple(
        Cell(number(v.value), interval(v)) if v else Cell(number(None), "") for v in values
    )
    return Line(point.name, point.kind, cells, point.key, point.note)


def split_names(view: RunView) -> tuple[str, ...]:
    """The splits that any task has, in the order of their use."""
    usual = ("calibration", "search", "select", "test")
    found = {split for sizes in view.tasks.values() for split in sizes}
    return (*(s for s in usual if s in found), *sorted(found - set(usual)))


def failures(view: RunView) -> tuple[tuple[int, str], ...]:
    """The first twenty failed trials with what went wrong."""
    failed = [t for t in view.trials if t.state == "failed"]
    return tuple((t.number, t.error or "no reason was recorded") for t in failed[:20])


def search_sentence(view: RunView) -> str:
    """How the time went, in one sentence."""
    parts = {
        "proposing": sum(t.propose_seconds for t in view.trials),
        "building": sum(t.build_seconds for t in view.trials),
        "scoring": sum(t.score_seconds for t in view.trials),
    }
    total = sum(parts.values())
    if not total:
        return f"{count(len(view.trials), 'trial')}."
    shares = ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in parts.items())
    return (
        f"{count(len(view.trials), 'trial')} and {count(items(view), 'item evaluation')} "
        f"took {duration(total)} of work: {shares}."
    )


def keys_of(keys: Iterable[str], names: Sequence[str]) -> list[str]:
    """The keys of the charts with these names: `front` stands for `front`, `front_2`, ..."""
    return [key for key in keys if key.partition("_")[0] in names]
