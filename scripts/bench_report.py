"""How large the report of a thousand trials is, and how soon it can be used in a real browser.

Run it in the project's environment, on an idle machine, with Chromium installed:

    .venv/bin/python scripts/bench_report.py [--trials 1000] [--objectives 3] [--opens 5]

The run is told in code (`tests/studies/conftest.py`): three experts of three anchors each, raced,
every trial beside three parents, with examples. Two times are taken, from the start of the
navigation: until the charts in view are drawn and a click is answered, and until the last chart of
the page is drawn (they are drawn while nobody scrolls). Each opening is in a fresh browser with an
empty profile. Beside the seconds of the clock stand those that the page's own thread computed: on
a machine that does nothing else the two are close.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.studies.browser import Browser

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MEGABYTES, SECONDS = 6.0, 2.0
"""What a report may weigh, and how long it may take until it can be used."""


def main() -> None:
    """Prints size and times beside their limits; exits with 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--objectives", type=int, default=3, choices=range(1, 6))
    parser.add_argument("--opens", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        made = write(path, chosen.objectives, chosen.trials)
        times = [opened(path) for _ in range(chosen.opens)]
        size = path.stat().st_size / 1e6
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"{chosen.trials} trials, {chosen.objectives} objectives, written in {made:.1f} s")
    print(
        f"size                      {size:5.2f} MB  limit {MEGABYTES} MB, {size / MEGABYTES:.0%}"
    )
    ready, ready_cpu, done, done_cpu = map(statistics.median, zip(*times, strict=True))
    part = f"limit {SECONDS} s, {ready / SECONDS:.0%}"
    print(f"until it can be used      {ready:5.2f} s   {part}; computing {ready_cpu:.2f} s")
    print(f"until every chart stands  {done:5.2f} s   computing {done_cpu:.2f} s")
    print(f"load of the machine       {load:5.2f} a core (above 1 others slowed it down)")
    sys.exit(size > MEGABYTES or ready > SECONDS)


def write(path: Path, objectives: int, trials: int) -> float:
    """Writes the report; the seconds that takes, the data being there."""
    from studies.report import write_report
    from tests.studies.conftest import build_view, with_race

    view = with_race(build_view(objectives, trials=trials))
    started = time.perf_counter()
    write_report(view, path)
    return time.perf_counter() - started


def opened(path: Path) -> tuple[float, float, float, float]:
    """Seconds until the page can be used, and until all is drawn, each with its thread's own."""
    from tests.studies.browser import Browser

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(Path(profile))
        browser.call("Performance.enable", timeDomain="threadTicks")
        try:
            found: list[float] = []
            for mark in ("ready", "done"):
                if mark == "ready":
                    browser.start(path, 1440)
                browser.wait(f"document.documentElement?.dataset.{mark}")
                when = browser.evaluate(f"document.documentElement.dataset.{mark}")
                found += [float(when) / 1000, computed(browser)]
            assert browser.troubles() == [], browser.troubles()
        finally:
            browser.close()
    return found[0], found[1], found[2], found[3]


def computed(browser: "Browser") -> float:
    """Seconds that the page's main thread has computed."""
    metrics = browser.call("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


if __name__ == "__main__":
    main()
