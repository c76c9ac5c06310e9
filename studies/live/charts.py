"""The front so far in characters: one objective against trials, or every pair of objectives."""

from collections.abc import Sequence
from itertools import combinations

from rich.text import Text

from ..wording import shorten
from .canvas import Axis, Dot, axis, chart
from .snapshot import Mark, Snapshot

STYLES = {
    "front": "bold green",
    "trial": "cyan",
    "parent": "yellow",
    "base": "white",
    "uniform": "magenta",
    "other": "yellow",
}
GLYPHS = {"front": "●", "parent": "◆", "base": "◇", "uniform": "△", "other": "◆"}
PLAIN_GLYPHS = {"front": "#", "parent": "P", "base": "B", "uniform": "U", "other": "P"}
NARROWEST = 25
"""Columns of a chart."""


def glyph(kind: str, ascii_only: bool) -> str:
    """How a candidate is drawn; empty: as a braille dot."""
    return (PLAIN_GLYPHS if ascii_only else GLYPHS).get(kind, "")


def charts(shot: Snapshot, width: int, rows: int, *, ascii_only: bool) -> list[Text]:
    """Lines of at most `width` cells; as many pairs of objectives as there is room for."""
    if len(shot.objectives) == 1:
        return _history(shot, width, rows, ascii_only)
    pairs = list(combinations(range(len(shot.objectives)), 2))
    pairs = pairs[: max(1, (width + 2) // (NARROWEST + 2))]
    each = (width - 2 * (len(pairs) - 1)) // len(pairs)
    drawn = [_pair(shot, x, y, min(each, 72), rows, ascii_only) for x, y in pairs]
    return [_beside(line, each) for line in zip(*drawn, strict=True)]


def _beside(parts: Sequence[Text], each: int) -> Text:
    """One line of several charts."""
    line = Text(no_wrap=True)
    for place, part in enumerate(parts):
        if place:
            line.append("  ")
        part.truncate(each, pad=place < len(parts) - 1)
        line.append_text(part)
    return line


def _axis(shot: Snapshot, place: int) -> Axis:
    one = shot.objectives[place]
    values = [mark.values[place] for mark in shot.marks]
    return axis(shorten(one.name, 14), values, flipped=not one.higher_is_better)


def _order(mark: Mark) -> int:
    """Dots first, then the references, the front on top."""
    return 2 if mark.kind == "front" else 0 if mark.kind == "trial" else 1


def _pair(shot: Snapshot, x: int, y: int, columns: int, rows: int, ascii_only: bool) -> list[Text]:
    dots = [
        Dot(one.values[x], one.values[y], STYLES[one.kind], glyph(one.kind, ascii_only))
        for one in sorted(shot.marks, key=_order)
    ]
    across, up = _axis(shot, x), _axis(shot, y)
    return chart(across, up, dots, columns, rows, ascii_only=ascii_only)


def _history(shot: Snapshot, columns: int, rows: int, ascii_only: bool) -> list[Text]:
    """Every trial, the best one so far as a line, and the best parent's level."""
    trials = [one for one in shot.marks if one.kind in ("trial", "front")]
    last = max([one.number for one in trials], default=1)
    across = Axis("trial", 0.0, float(max(last, 1)), whole=True)
    steps = [last * step / (2 * columns) for step in range(2 * columns + 1)]
    dots = []
    parent = shot.best[0].parent if shot.best else None
    if parent is not None:
        dots += [Dot(x, parent.values[0], STYLES["parent"]) for x in steps[::2]]
    dots += [Dot(one.number, one.values[0], STYLES["trial"]) for one in trials]
    dots += _best_so_far(shot, trials, steps)
    top = [one for one in trials if one.kind == "front"]
    dots += [Dot(o.number, o.values[0], STYLES["front"], glyph("front", ascii_only)) for o in top]
    return chart(across, _axis(shot, 0), dots, columns, rows, ascii_only=ascii_only)


def _best_so_far(shot: Snapshot, trials: Sequence[Mark], steps: Sequence[float]) -> list[Dot]:
    """The best value up to each step, as a line of dots."""
    better = max if shot.objectives[0].higher_is_better else min
    able = [one for one in trials if one.feasible]
    dots, best, place = [], None, 0
    for x in steps:
        while place < len(able) and able[place].number <= x:
            value = able[place].values[0]
            best = value if best is None else better(best, value)
            place += 1
        if best is not None:
            dots.append(Dot(x, best, STYLES["front"]))
    return dots
