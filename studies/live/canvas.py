"""Points drawn in characters: braille dots, eight a cell, and marks on top of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from ..wording import number

BRAILLE = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of a braille cell by row and column of its dots."""
GUTTER = 8
"""Columns of the labels on the left."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A point; without a `glyph` it is a braille dot. Later ones are drawn over earlier ones."""

    x: float
    y: float
    style: str
    glyph: str = ""


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows, and which end is which; `flipped` where lower is better."""

    title: str
    low: float
    high: float
    flipped: bool = False
    whole: bool = False
    """Whether its values are counts."""

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the worse end and 1 at the better."""
        share = (value - self.low) / (self.high - self.low)
        return 1.0 - share if self.flipped else share

    @property
    def ends(self) -> tuple[str, str]:
        """The labels of the worse and the better end."""
        low, high = (f"{end:.0f}" if self.whole else number(end) for end in (self.low, self.high))
        return (high, low) if self.flipped else (low, high)


def axis(
    title: str, values: Sequence[float], *, flipped: bool = False, whole: bool = False
) -> Axis:
    """An axis around values; one that all are equal on gets some room."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if high <= low:
        room = abs(low) * 0.05 or 0.5
        low, high = low - room, high + room
    return Axis(title, low, high, flipped, whole)


def chart(
    across: Axis, up: Axis, dots: Sequence[Dot], columns: int, rows: int, *, ascii_only: bool
) -> list[Text]:
    """Lines of `columns` cells: the axes' titles, the canvas with its labels, the axis below.

    Args:
        across: The axis to the right.
        up: The axis upwards.
        dots: What is drawn; a point that is not finite is left out.
        columns: At least GUTTER + 4.
        rows: At least 4.
        ascii_only: No character beyond ASCII.
    """
    width, height = columns - GUTTER, rows - 2
    side, corner, floor = ("|", "+", "-") if ascii_only else ("│", "└", "─")
    worse, better = up.ends
    title = f"{up.title} by {across.title}" if ascii_only else f"↑ {up.title}  → {across.title}"
    lines = [_line(" " * (GUTTER - 1) + title, columns, "dim")]
    cells = _cells(across, up, dots, width, height, ascii_only)
    for row in range(height):
        tick = better if row == 0 else worse if row == height - 1 else ""
        line = Text(f"{tick:>{GUTTER - 1}}"[: GUTTER - 1] + side, style="dim")
        for glyph, style in cells[row]:
            line.append(glyph, style=f"not dim {style}" if style else "")
        lines.append(line)
    left, right = across.ends
    between = floor * max(0, width - len(left) - len(right) - 2)
    foot = f"{' ' * (GUTTER - 1)}{corner}{left} {between} {right}"
    return [*lines, _line(foot, columns, "dim")]


def _line(text: str, columns: int, style: str) -> Text:
    line = Text(text, style=style)
    line.truncate(columns, overflow="ellipsis")
    return line


def _cells(
    across: Axis, up: Axis, dots: Sequence[Dot], width: int, height: int, ascii_only: bool
) -> list[list[tuple[str, str]]]:
    """Glyph and style of every cell."""
    bits = [[0] * width for _ in range(height)]
    found = [[(" ", "")] * width for _ in range(height)]
    for dot in dots:
        if not (math.isfinite(dot.x) and math.isfinite(dot.y)):
            continue
        x = round(across.place(dot.x) * (2 * width - 1))
        y = round((1.0 - up.place(dot.y)) * (4 * height - 1))
        row, column = y // 4, x // 2
        if dot.glyph:
            found[row][column] = (dot.glyph, dot.style)
            continue
        bits[row][column] |= DOTS[y % 4][x % 2]
        glyph = "." if ascii_only else chr(BRAILLE + bits[row][column])
        found[row][column] = (glyph, dot.style)
    return found
