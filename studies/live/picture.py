"""The picture of a search for a terminal of any size; a pure function of the snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from ..wording import clean, count, duration, number, shorten
from .charts import NARROWEST, STYLES, charts, glyph
from .snapshot import Best, Mark, Snapshot

TALLEST = 44
"""Rows that are used of a taller terminal."""
WIDEST = 160
"""Columns that are used of a wider one."""
BESIDE = 72
"""From so many columns on a single chart and the table stand side by side."""
PLAIN = str.maketrans("·−–…", "----")
"""What is written for the characters of ours that ASCII has not."""
HINT = "Ctrl-C ends the search in order; the same command goes on."


@dataclass(frozen=True, slots=True)
class Picture:
    """A renderable: the snapshot in at most the console's size less one row."""

    shot: Snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the lines."""
        width = min(options.max_width, WIDEST)
        height = min(options.size.height - 1, TALLEST)
        for line in lines(self.shot, width, height, ascii_only=options.ascii_only):
            if options.ascii_only:
                line.plain = line.plain.translate(PLAIN).encode("ascii", "replace").decode()
            line.truncate(width, overflow="crop" if options.ascii_only else "ellipsis")
            yield line


def lines(shot: Snapshot, width: int, height: int, *, ascii_only: bool) -> list[Text]:
    """The picture, at most `height` lines of at most `width` cells; the last one is short.

    What the terminal echoes where it ends, `^C`, then breaks no line.
    """
    head = [_header(shot, width), _bar(shot, width, ascii_only), _running(shot), _counts(shot)]
    foot = [Text("" if shot.is_over else HINT, style="dim")]
    if height <= len(head) + 1:
        return [*head, *foot][: max(1, height)]
    head += [_means(shot)] if height >= 16 else []
    rest = height - len(head) - len(foot)
    body = _body(shot, width, rest, ascii_only)
    return [*head, *body, *foot][:height]


def _body(shot: Snapshot, width: int, rows: int, ascii_only: bool) -> list[Text]:
    """Charts, the best of each objective, events: as much of them as there is room for."""
    table = _best_table(shot, ascii_only)
    events = max(2, min(len(shot.events) + 1, rows // 4))
    left = rows - events
    beside = len(shot.objectives) <= 2 and width >= BESIDE
    room = left if beside else left - len(table)
    drawn: list[Text] = []
    if shot.marks and room >= 6 and width >= NARROWEST:
        legend = _legend(shot, ascii_only)
        if beside:
            columns = max(36, width - 50)
            chart = charts(shot, columns, room, ascii_only=ascii_only)
            drawn = _side_by_side(chart, [*table, Text(), *legend], columns, width)
        else:
            chart = charts(shot, width, room - 1, ascii_only=ascii_only)
            drawn = [*chart, _joined(legend), *table]
    elif left >= len(table):
        drawn = table
    told = _events(shot, rows - len(drawn))
    return [*drawn, *told]


def _side_by_side(
    left: Sequence[Text], right: Sequence[Text], columns: int, width: int
) -> list[Text]:
    found = []
    for place, line in enumerate(left):
        line.truncate(columns, pad=True)
        other = right[place] if place < len(right) else Text()
        other.truncate(width - columns - 2, overflow="ellipsis")
        found.append(Text.assemble(line, "  ", other))
    return found


def _joined(parts: Sequence[Text]) -> Text:
    return Text("  ").join(parts)


def _header(shot: Snapshot, width: int) -> Text:
    right = f"{shot.phase} · {duration(shot.seconds)}"
    line = Text(shorten(shot.study, max(8, width // 3)), style="bold")
    line.append(f" · {shorten(shot.sampler, 24)} · seed {shot.seed}", style="not bold")
    line.truncate(max(1, width - len(right) - 2), overflow="ellipsis", pad=True)
    return line.append(f"  {right}", style="not bold")


def _bar(shot: Snapshot, width: int, ascii_only: bool) -> Text:
    share, said = _progress(shot)
    room = max(4, min(60, width - len(said) - 2))
    done = round(share * room)
    full, empty = ("#", "-") if ascii_only else ("━", "─")
    line = Text(full * done, style="green")
    line.append(empty * (room - done), style="dim")
    return line.append(f"  {said}", style="none")


def _progress(shot: Snapshot) -> tuple[float, str]:
    """How far the phase is, and that in words."""
    if shot.is_over:
        stopped = shot.phase == "interrupted"
        return (shot.limit.share if stopped and shot.limit else 1.0), shot.phase
    if shot.phase == "search":
        if shot.limit is None:
            return 0.0, count(shot.trials, "trial")
        one = shot.limit
        used = f"{one.used:.1f}" if one.name == "minutes" else f"{one.used:,.0f}"
        text = f"{used} of {one.limit:,g} {one.name}"
        if one.used >= one.limit:
            text += ", those that wait go on"
        elif one.seconds_left is not None:
            text += f", about {duration(one.seconds_left)} left"
        return one.share, text
    if shot.phase_wanted:
        done = f"{int(shot.phase_done)} of {count(shot.phase_wanted, 'candidate')}"
        return shot.phase_done / shot.phase_wanted, f"{shot.phase}: {done}"
    return 0.0, shot.phase


def _running(shot: Snapshot) -> Text:
    one = shot.running
    if one is None:
        return Text("", style="dim")
    line = Text(clean(one.label), style="bold")
    if clean(one.origin) not in ("", clean(one.label)):
        line.append(f" ({shorten(one.origin, 30)})", style="not bold")
    doing = one.stage
    if one.wanted:
        doing += f", {one.done:,} of {count(one.wanted, 'item')} scored"
    return line.append(f"  {doing}, {duration(one.seconds)}", style="not bold")


def _counts(shot: Snapshot) -> Text:
    named = [f"{much:,} {state}" for state, much in shot.counts.items() if much]
    trials = count(shot.trials, "trial") + (f": {', '.join(named)}" if named else "")
    front = f" · front of {len(shot.front)}" if len(shot.objectives) > 1 and shot.front else ""
    return Text(f"{trials}{front} · {count(shot.items, 'item')} scored")


def _means(shot: Snapshot) -> Text:
    if shot.means is None:
        return Text()
    one = shot.means
    parts = (("proposing", one.propose), ("building", one.build), ("scoring", one.score))
    said = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in parts)
    return Text(f"mean of a trial: {said}", style="dim")


def _legend(shot: Snapshot, ascii_only: bool) -> list[Text]:
    """What is drawn, by what is there."""
    single = len(shot.objectives) == 1
    names = {"front": "best" if single else "front", "parent": "parent", "base": "base",
             "uniform": "uniform"}  # fmt: skip
    there = {one.kind for one in shot.marks}
    found = [
        Text(f"{glyph(kind, ascii_only)} ", style=STYLES[kind]).append(name, style="not bold dim")
        for kind, name in names.items()
        if kind in there and (not single or kind == "front")
    ]
    if single:
        line = "." if ascii_only else "⠒"
        found.append(Text(f"{line} ", style=STYLES["parent"]).append("best parent", "dim"))
    if "trial" in there:
        dot = "." if ascii_only else "⠂"
        found.append(Text(f"{dot} ", style=STYLES["trial"]).append("other trials", "dim"))
    return [*found, Text("better: up" if single else "better: up, right", style="dim")]


def _best_table(shot: Snapshot, ascii_only: bool) -> list[Text]:
    """A line an objective: the best trial, and the best parent beside it."""
    if not shot.best:
        return []
    names = [shorten(one.name, 14) for one in shot.objectives]
    wide = max(9, *map(len, names)) + 2
    head = f"{'best at':<{wide}}{'trial':>7} {'':<6}{'parent':>7}"
    found = [Text(head, style="dim")]
    for name, one, best in zip(names, shot.objectives, shot.best, strict=True):
        up = ("+" if ascii_only else "↑") if one.higher_is_better else "-" if ascii_only else "↓"
        found.append(_best_line(shot.objectives.index(one), f"{name} {up}", best, wide))
    return found


def _best_line(place: int, name: str, best: Best, wide: int) -> Text:
    line = Text(f"{name:<{wide}}")
    trial, parent = best.trial, best.parent
    line.append(f"{_value(trial, place):>7} ", style=STYLES["front"] if trial else "dim")
    line.append(f"{'' if trial is None else f'#{trial.number}':<6}")
    line.append(f"{_value(parent, place):>7} ", style=STYLES["parent"] if parent else "dim")
    return line.append("" if parent is None else shorten(parent.label, 16))


def _value(mark: Mark | None, place: int) -> str:
    """`~` before what is estimated from some of the items."""
    if mark is None:
        return number(None)
    return ("~" if mark.estimated else "") + number(mark.values[place])


def _events(shot: Snapshot, rows: int) -> list[Text]:
    """The last events, the newest at the bottom, filled up to `rows`."""
    if rows < 1:
        return []
    shown = shot.events[-(rows - 1) :] if rows > 1 else ()
    names = ", ".join(shorten(one.name, 14) for one in shot.objectives)
    found = [Text(f"last events (values: {names})", style="dim")] if shown else []
    for one in shown:
        line = Text(f"{one.clock} ", style="dim")
        found.append(line.append(clean(one.text), style=f"not dim {one.style}"))
    return [*found, *(Text() for _ in range(rows - len(found)))]
