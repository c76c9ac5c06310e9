"""How a number, an interval and a name are written, in report, charts and model card alike.

Nothing here knows of HTML, Markdown or plotly; whoever writes into one of them escapes on the way.
"""

import datetime
import math
import unicodedata

from .view import Estimate

MINUS = "\N{MINUS SIGN}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
NOTHING = "\N{EN DASH}"
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
TURNS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))
"""Unicode's embeddings, overrides and isolates of the direction of writing, to be left out."""
TOO_FEW = "too few items for an interval"


def number(value: float | None) -> str:
    """Three decimals for scores, fewer for large numbers; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size and size < 5e-4:
        text = f"{value:.1e}"
    elif size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{1 if size >= 100 else 2 if size >= 10 else 3}f}"
    return text.replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference: always with its sign, zero without one."""
    text = number(value)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def interval(estimate: Estimate, *, difference: bool = False) -> str:
    """`0.412 to 0.506`, or that there were too few items to give one."""
    write = signed if difference else number
    if not has_interval(estimate):
        return TOO_FEW
    return f"{write(estimate.low)} to {write(estimate.high)}"


def has_interval(estimate: Estimate) -> bool:
    """Whether both ends are there and finite."""
    ends = (estimate.low, estimate.high)
    return all(end is not None and math.isfinite(end) for end in ends)


def estimate_text(estimate: Estimate | None) -> str:
    """`0.459 (0.412 to 0.506)`; the value alone where there is no interval."""
    if estimate is None:
        return NOTHING
    if not has_interval(estimate):
        return number(estimate.value)
    return f"{number(estimate.value)} ({interval(estimate)})"


def setting(value: float | int | str | bool | None) -> str:
    """A parameter as a person would write it: four significant digits for numbers."""
    if isinstance(value, bool) or value is None:
        return "true" if value is True else "false" if value is False else NOTHING
    if isinstance(value, float):
        return f"{value:.4g}".replace("-", MINUS)
    return clean(str(value))


def count(amount: int, singular: str) -> str:
    """`1 trial`, `1,204 trials`."""
    return f"{amount:,} {singular}" if amount == 1 else f"{amount:,} {singular}s"


def duration(seconds: float) -> str:
    """`48 s`, `12 min 30 s`, `3 h 5 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(text: str) -> str:
    """A time stamp as a person would write it, `26 November 2026, 18:34 UTC`; else as it came."""
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if when.utcoffset() == datetime.timedelta() else ""
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M}{zone}"


def direction(higher_is_better: bool) -> str:
    """The direction in words, for axes and table heads."""
    return "higher is better" if higher_is_better else "lower is better"


def clean(text: str) -> str:
    """A stranger's name on one line: control and line-breaking characters become spaces."""
    kept = ("\N{SPACE}" if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join("".join(kept).split())


def upright(text: str) -> str:
    """A stranger's text without the marks that turn round what is written after it."""
    return text.translate(TURNS)


def shorten(text: str, length: int) -> str:
    """At most `length` characters, cut in the middle: the ends of keys tell them apart."""
    text = clean(text)
    if len(text) <= length:
        return text
    head = (length - 1) // 3
    return text[:head] + ELLIPSIS + text[len(text) - (length - 1 - head) :]


def short_names(names: list[str], length: int = 20) -> dict[str, str]:
    """The last part of each model's name where no other ends alike, else all of it, shortened."""
    last = {name: clean(name).rstrip("/").rsplit("/", 1)[-1] for name in names}
    used = list(last.values())
    return {
        name: shorten(part if part and used.count(part) == 1 else name, length)
        for name, part in last.items()
    }
