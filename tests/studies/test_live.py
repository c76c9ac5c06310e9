"""The live picture: fits any terminal, says what is so, trusts no name; and on a real terminal."""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.ledger import Candidate
from search.limits import Limits
from search.objectives import Budget, Objective
from search.observer import Step
from studies.live.canvas import Dot, axis, chart
from studies.live.display import Display
from studies.live.events import candidate_ended, entered, said
from studies.live.modes import Mode
from studies.live.picture import Picture
from studies.live.snapshot import Snapshot
from studies.live.tally import Heading, Tally
from studies.live.voices import BURST, PlainLines, can_draw

ROOT = Path(__file__).resolve().parents[2]
ESCAPE = "\x1b"


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def goals(
    count: int, names: tuple[str, ...] = ("logic", "code", "prose", "sums")
) -> list[Objective]:
    """Objectives of which `prose` is better when lower."""
    return [Objective(name, ((name, "m"),), name != "prose") for name in names[:count]]


def tally(count: int = 2, clock: Clock | None = None, **budget: Any) -> Tally:
    limits = Limits(Budget(**{"trials": None, "items": None, "minutes": None, **budget}), 100, 0)
    found = Tally(Heading("skills", "gp", 7), goals(count), limits, clock or Clock())
    found.enter("references", 3)
    for number, (name, role, level) in enumerate(
        (("base", "base", 0.2), ("math", "parent", 0.6), ("uniform", "uniform", 0.4))
    ):
        one = Candidate("reference", number, name, {}, name, role=role)
        found.scoring(one)
        found.ended(one.ended(state="complete", scores=(level,) * count, items=100))
    return found


def trial(number: int, *scores: float, state: str = "complete", **changes: Any) -> Candidate:
    told = {"scores": scores} if state == "complete" else {"estimates": scores or None}
    fields = {"items": 100, "build_seconds": 1.0, "score_seconds": 3.0, **told, **changes}
    return Candidate("trial", number, "gp", {}, f"t{number}", values={}, sampler="gp").ended(
        state=state, **fields
    )


def searched(count: int = 2, trials: int = 30, **budget: Any) -> Tally:
    """A search in the middle, one candidate being scored."""
    found = tally(count, **(budget or {"trials": 60}))
    found.enter("search")
    for number in range(trials):
        scores = [((number * step) % 17) / 17 for step in (5, 7, 11, 13)[:count]]
        state = ("complete", "paused", "dropped")[number % 3]
        found.ended(trial(number, *scores, state=state))
    found.scoring(trial(trials, state="running"))
    found.step(Step("scoring", 32, 108))
    for number in range(12):
        found.events.append(said("note", f"line {number} " + "x" * 200).told("12:00:00"))
    return found


def shown(
    shot: Snapshot, width: int = 80, height: int = 24, *, ascii_only: bool = False, **changes: Any
) -> str:
    """What a terminal of a size is sent, its colours left out unless asked for."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii" if ascii_only else "utf-8")
    settings = {"color_system": None, "force_terminal": True, **changes}
    console = Console(file=stream, width=width, height=height, **settings)
    console.print(Picture(shot))
    stream.flush()
    stream.seek(0)
    return stream.read()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("width", "height"),
    [
        (80, 24),
        (120, 40),
        (60, 14),
        (40, 10),
        (20, 5),
        (12, 3),
        (300, 100),
        (80, 8),
        (30, 60),
        (24, 50),
        (8, 30),
        (1, 1),
        (1, 40),
    ],
)
def test_it_fits(count: int, width: int, height: int) -> None:
    for found in (tally(count), searched(count), searched(count, trials=0)):
        lines = plain(shown(found.snapshot(), width, height)).splitlines()
        assert 0 < len(lines) <= max(1, height - 1)
        assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300, 0.5])
def test_no_value_breaks_it(count: int, value: float) -> None:
    found = tally(count, trials=10)
    found.enter("search")
    found.ended(trial(0, *(value,) * count))
    assert len(shown(found.snapshot()).splitlines()) == 23
    found.ended(trial(1, *(0.95,) * count))
    assert value == 1e300 or "0.950" in shown(found.snapshot())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_everything_is_on_a_screen_of_80_by_24(count: int) -> None:
    text = plain(shown(searched(count).snapshot()))
    lines = text.splitlines()
    assert lines[0].startswith("skills · gp · seed 7") and "search · " in lines[0]
    assert "30 of 60 trials" in lines[1]
    assert "trial 30 (gp)  scoring, 32 of 108 items scored" in lines[2]
    assert "30 trials: 10 complete, 10 paused, 10 dropped" in lines[3]
    assert "3,300 items scored" in lines[3]
    assert "proposing 0.00 s, building 1.00 s, scoring 3.00 s" in lines[4]
    assert "best at" in text and "0.600 math" in text
    assert "●" in text and "line 11" in text
    assert len(lines) == 23 and len(lines[-1]) < 70  # an echoed ^C breaks no line


def test_the_best_of_each_objective_and_the_parent_beside_it() -> None:
    found = tally(3, trials=10)
    found.enter("search")
    found.ended(trial(0, 0.9, 0.1, 0.5))
    found.ended(trial(1, 0.5, 0.7, 0.3, state="paused"))
    found.ended(trial(2, 0.99, 0.99, 0.1, state="dropped"))
    found.ended(trial(3, 0.99, 0.99, 0.1, violations=(0.5,)))
    rows = plain(shown(found.snapshot())).split("best at")[1].splitlines()[1:4]
    assert [row.split() for row in rows] == [
        ["logic", "↑", "0.900", "#0", "0.600", "math"],
        ["code", "↑", "~0.700", "#1", "0.600", "math"],
        ["prose", "↓", "~0.300", "#1", "0.600", "math"],
    ]


def test_better_is_up_and_right_also_where_lower_is_better() -> None:
    up = axis("bits", [1.0, 3.0], flipped=True)
    across = axis("accuracy", [0.0, 1.0])
    dots = [Dot(1.0, 1.0, "", "A"), Dot(0.0, 3.0, "", "B"), Dot(float("nan"), 2.0, "", "C")]
    lines = [line.plain for line in chart(across, up, dots, 20, 8, ascii_only=False)]
    assert lines[1].startswith("  1.000│") and lines[1].endswith("A")
    assert lines[6].startswith("  3.000│B") and "C" not in "".join(lines[1:7])
    assert lines[7].split("└")[1].startswith("0.000 ") and lines[7].endswith(" 1.000")


def test_dots_of_a_cell_are_added_up() -> None:
    dots = [Dot(x, y, "") for x in (0.0, 1.0) for y in (0.0, 1.0)]
    one = axis("", [0.0, 1.0])
    (line,) = [row.plain[-1] for row in chart(one, one, dots, 9, 3, ascii_only=False)[1:2]]
    assert line == "⣉"  # the four corners


def test_a_single_objective_is_drawn_as_the_best_so_far() -> None:
    found = tally(1, trials=10)
    found.enter("search")
    for number, score in enumerate((0.3, 0.8, 0.5, 0.9)):
        found.ended(trial(number, score))
    text = plain(shown(found.snapshot()))
    assert "→ trial" in text and text.count("● ") >= 1 and "best parent" in text


NASTY = ("[red]x[/red]", "a\x1b[2Jb", "c\nd\re", "\u202eoverride\u2066", "\x9b31m", "日本語" * 9)


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_names_of_strangers_speak_to_no_terminal(name: str, count: int) -> None:
    limits = Limits(Budget(10, None, None), 100, 0)
    names = (name, f"{name}2", f"{name}3")
    found = Tally(Heading(name, name, 0), goals(count, names), limits, Clock())
    parent = Candidate("reference", 0, name, {}, "", role="parent")
    found.ended(parent.ended(scores=(0.5,) * count))
    found.enter("search")
    failed = trial(0, state="failed", error=name)
    found.ended(failed)
    found.ended(trial(1, *(0.4,) * count).ended(name=name))
    found.scoring(trial(2, state="running").ended(name=name))
    event = candidate_ended(failed, found.objectives, front=1, budget={})
    found.events.append(event.told("12:00:00"))
    text = shown(found.snapshot(), 100, 40)
    lines = [*text.splitlines(), event.line, said("warning", name).line]
    assert len(text.splitlines()) <= 39
    assert all(character.isprintable() for line in lines for character in line)
    if "[" in name and ESCAPE not in name:
        assert name in text


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    shot = searched().snapshot()
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = shown(shot, color_system="standard")
    monkeypatch.setenv("NO_COLOR", "1")
    bare = shown(shot, color_system="standard")
    colour = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    assert colour.search(coloured) and not colour.search(bare)
    assert plain(coloured) == plain(bare)


def test_a_terminal_without_unicode_gets_ascii() -> None:
    for count in (1, 2, 3):
        text = shown(searched(count).snapshot(), ascii_only=True)
        assert text.isascii() and "\\u" not in text and "#" in text


def test_time_left_is_that_of_the_limit_that_comes_first() -> None:
    clock = Clock()
    found = tally(2, clock, trials=10, items=1000)
    found.enter("search")
    clock.now += 20
    found.ended(trial(0, 0.1, 0.1, items=140))
    found.ended(trial(1, 0.1, 0.2, items=140))
    # 8 trials at 0.1 a second, 420 items at 14 a second
    limit = found.snapshot().limit
    assert limit is not None and (limit.name, limit.used, limit.limit) == ("items", 580, 1000)
    assert limit.seconds_left == pytest.approx(30.0)
    clock.now += 12
    later = found.snapshot().limit
    assert later is not None and later.seconds_left == pytest.approx(18.0)
    assert "580 of 1,000 items, about 18 s left" in shown(found.snapshot())


def test_what_an_earlier_search_did_sets_no_pace() -> None:
    clock = Clock()
    found = tally(2, clock, trials=10)
    found.enter("search")
    found.resumed([trial(number, 0.1, 0.1) for number in range(6)])
    assert found.snapshot().limit.seconds_left is None
    clock.now += 5
    found.ended(trial(6, 0.2, 0.2))
    assert found.snapshot().limit.seconds_left == pytest.approx(15.0)


def test_minutes_count_what_select_and_test_will_take() -> None:
    limits = Limits(Budget(None, None, 2.0), 10, reserved_items=100)
    one = trial(0, 0.1, build_seconds=10.0, score_seconds=20.0, propose_seconds=6.0)
    assert limits.used([], [one]) == {"minutes": (pytest.approx((36 + 30) / 60), 2.0)}


def test_select_shows_how_many_candidates_are_done() -> None:
    found = searched()
    found.enter("select", 8)
    for _ in range(3):
        found.scoring(trial(1, 0.1, 0.1))
    found.step(Step("scoring", 50, 100))
    shot = found.snapshot()
    assert shot.phase_done == pytest.approx(2.5) and "select: 2 of 8 candidates" in shown(shot)


def test_who_was_dropped_is_said_against_whom() -> None:
    one = trial(4, 0.1, 0.2, state="dropped", dropped_for="trial 2", items=48)
    event = candidate_ended(one, goals(2), front=3, budget={"trials": (5, 60)})
    assert event.line == (
        "trial 4/60 [gp] dropped against trial 2 after 48 items, about logic 0.1  code 0.2; "
        "built 1.00 s, scored 3.00 s, front 3"
    )
    assert event.brief == "trial 4: dropped against trial 2 after 48 items, about 0.1  0.2"
    assert event.data["dropped_for"] == "trial 2" and event.data["estimated"]


def test_plain_lines_are_bounded_and_lose_no_count() -> None:
    clock, stream = Clock(), io.StringIO()
    voice = PlainLines(Console(file=stream, width=200), clock)
    for number in range(1000):
        one = trial(number, 0.1, 0.2)
        voice.tell(candidate_ended(one, goals(2), front=1, budget={}))
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST
    voice.tell(entered("select", 5))
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST + 2 and lines[-1].endswith("select: 5 candidates")
    assert "trial 999" in lines[-2] and f"and {999 - BURST} before it" in lines[-2]
    clock.now += 10
    voice.tell(candidate_ended(trial(1000, 0.1, 0.2), goals(2), front=1, budget={}))
    voice.close()
    assert len(stream.getvalue().splitlines()) == BURST + 3


def test_the_log_has_every_line_whatever_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display(tally(), tmp_path / "log.txt", Mode.none) as display:
        display.note("a note")
        display.warn("a [bold]warning\x1b[31m")
        display.ended(trial(0, 0.1, 0.2))
    assert capsys.readouterr() == ("", "warning: a [bold]warning [31m\n")
    log = (tmp_path / "log.txt").read_text().splitlines()
    assert [line[20:] for line in log][:2] == ["a note", "warning: a [bold]warning [31m"]
    assert "trial 0 [gp]" in log[2]


class Terminal:
    """A pseudo-terminal; what is written on `slave` is read into `text`."""

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(columns, rows)
        self.text = ""

    def resize(self, columns: int, rows: int) -> None:
        """Changes its size."""
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, until: Callable[[str], bool], seconds: float) -> None:
        """Reads until something is there; fails when it takes too long."""
        deadline = time.monotonic() + seconds
        while not until(self.text):
            assert time.monotonic() < deadline, self.text[-3000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 1 << 16).decode(errors="replace")


@pytest.mark.parametrize(("term", "draws"), [("xterm-256color", True), ("dumb", False)])
def test_only_a_terminal_that_moves_its_cursor_is_drawn_on(
    monkeypatch: pytest.MonkeyPatch, term: str, draws: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    terminal = Terminal()
    with open(terminal.slave, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert can_draw(Console(stderr=True)) is draws


def test_a_search_on_a_terminal_survives_resizing_and_ctrl_c(bench) -> None:
    terminal = Terminal()
    command = "from studies.cli import main; main()"
    arguments = ["search", str(bench.study), "--threads", "1", "--trials", "5000"]
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
        # Whoever runs tests in the background may have had them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        terminal.read(lambda text: "of 5,000 trials" in text, 120)
        assert "\x1b[?25l" in terminal.text
        terminal.resize(100, 30)
        terminal.read(lambda text: "\x1b[2J" in text, 10)
        process.send_signal(signal.SIGINT)
        terminal.read(lambda text: "the same command goes on with it\r\n" in text, 60)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    rest = terminal.text[terminal.text.rindex("\x1b[?25l") :]
    assert rest.count("\x1b[?25h") == 1  # the cursor is back
    last = plain(rest[: rest.index("\x1b[?25h")]).splitlines()
    assert any("interrupted · " in line for line in last[-30:])
    after = rest[rest.index("\x1b[?25h") :]
    assert "interrupted; runs/pico is saved" in after and "Traceback" not in terminal.text


def test_the_documented_events_are_those_that_come(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "progress.md").read_text(encoding="utf-8")
    table = text.split("test_live.py -->\n")[1].split("<!-- end of events")[0]
    documented = {
        line.split("`")[1]: re.findall(r"`(\w+)`", line.split("|")[2])
        for line in table.splitlines()[2:]
    }
    with Display(tally(trials=3), tmp_path / "log.txt", Mode.json) as display:
        display.phase("search")
        display.note("a note")
        display.warn("a warning")
        display.ended(trial(0, 0.1, float("nan")))
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one.pop("event") for one in events] == [
        "start", "phase", "note", "warning", "candidate", "end",
    ]  # fmt: skip
    assert all(one.pop("time").endswith("+00:00") for one in events)
    kinds = ["start", "phase", "note", "warning", "candidate", "end"]
    assert dict(zip(kinds, map(list, events), strict=True)) == documented
    assert events[4]["objectives"] == {"logic": 0.1, "code": None}
