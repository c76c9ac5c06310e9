"""The report in a real Chromium: charts drawn, no error, no request, a phone's width, both themes.

Spoken over the DevTools protocol by pipe. Skipped where no Chromium is installed.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from select import select
from typing import Any

import pytest

from studies.report import write_report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-pipe"
)
HOSTILE = "zoo/<a href='https://evil.example'>%{x}</a><img src=x onerror=alert(1)>"

CHARTS = "[...document.querySelectorAll('[data-figure]')]"
OUTWARD = """
    [...document.querySelectorAll('a')]
        .map((a) => a.getAttribute('href') ?? a.getAttribute('xlink:href') ?? '#')
        .filter((target) => !target.startsWith('#'))
"""
LAST_BUTTON = """
    (() => {
        const button = [...document.querySelectorAll('[data-trial]')].at(-1);
        button.click();
        return Number(button.dataset.trial);
    })()
"""
FRONT_POINT = """
    (() => {
        const plot = document.querySelector('[data-figure=front]');
        plot.scrollIntoView({ behavior: 'instant' });
        const t = plot.data.findIndex((trace) => trace.name === 'on the Pareto front');
        const group = plot.querySelectorAll('.scatterlayer .trace')[t];
        const box = group.querySelector('.point').getBoundingClientRect();
        const trials = plot.data[t].customdata.map((c) => c[1]);
        return [box.x + box.width / 2, box.y + box.height / 2, trials];
    })()
"""


class Browser:
    """One tab: commands in, events kept."""

    def __init__(self, profile: Path):
        inbound, self.write = os.pipe()
        self.read, outbound = os.pipe()
        command = f'exec "$0" "$@" 3<&{inbound} 4>&{outbound}'
        self.process = subprocess.Popen(
            ["bash", "-c", command, str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={profile}"],
            pass_fds=(inbound, outbound),
            stderr=subprocess.DEVNULL,
        )
        os.close(inbound)
        os.close(outbound)
        self.buffer, self.number, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def receive(self) -> dict[str, Any]:
        """The next message, within a minute."""
        while b"\0" not in self.buffer:
            assert select([self.read], [], [], 60)[0], "Chromium does not answer"
            piece = os.read(self.read, 1 << 16)
            assert piece, "Chromium has ended"
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited."""
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path: Path, width: int = 1280, scheme: str = "light") -> None:
        """Loads a page and waits until its charts are drawn."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        self.theme(scheme)
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.documentElement?.dataset.charts")

    def theme(self, scheme: str) -> None:
        """Light or dark."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def wait(self, expression: str) -> None:
        """Until the expression is true, at most a minute."""
        end = time.monotonic() + 60
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def troubles(self) -> list[dict[str, Any]]:
        """Console messages, exceptions, policy violations."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def requests(self) -> list[str]:
        """Every address asked for that is not the page or made by it."""
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in sent]
        return [url for url in urls if not url.startswith(("file:", "data:", "blob:"))]

    def close(self) -> None:
        """Ends the browser."""
        self.process.terminate()
        self.process.wait(10)
        os.close(self.write)
        os.close(self.read)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def report(make_view, tmp_path_factory):
    """A page with three objectives and a hostile name."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(make_view(3, names=(HOSTILE, "zoo/code", "zoo/prose")), path)
    return path


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_charts_are_drawn_without_error_or_request(browser, report, width, scheme):
    browser.open(report, width, scheme)
    count = browser.evaluate(f"{CHARTS}.length")
    assert browser.evaluate("Number(document.documentElement.dataset.charts)") == count == 21
    assert all(browser.evaluate(f"{CHARTS}.map(p => p.querySelectorAll('.trace').length)"))
    assert browser.troubles() == [] and browser.requests() == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("document.getElementById('trouble').hidden")


def test_hostile_names_stay_text_in_the_charts(browser, report):
    browser.open(report)
    assert browser.evaluate(OUTWARD) == []
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    texts = browser.evaluate(
        "[...document.querySelectorAll('.plot text')].map(t => t.textContent)"
    )
    assert any("alert(1)>" in text for text in texts)


def test_a_point_and_a_button_show_their_recipe(browser, report, make_view):
    view = make_view(3, names=(HOSTILE, "zoo/code", "zoo/prose"))
    recipes = {t.number: t.recipe_yaml for t in view.trials}
    browser.open(report)
    text = "document.getElementById('panel-yaml').textContent"
    assert browser.evaluate(text) == recipes[view.winner.number]
    button = browser.evaluate(LAST_BUTTON)
    assert button != view.winner.number and browser.evaluate(text) == recipes[button]
    x, y, trials = browser.evaluate(FRONT_POINT)
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        mouse = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        browser.call("Input.dispatchMouseEvent", **mouse)
    title = "document.getElementById('panel-title').textContent"
    browser.wait(f"{title} !== 'trial {button}'")
    clicked = int(browser.evaluate(title).removeprefix("trial "))
    assert clicked in trials and browser.evaluate(text) == recipes[clicked]


def test_the_theme_follows_the_system(browser, report):
    browser.open(report)
    paper = "getComputedStyle(document.querySelector('.main-svg')).backgroundColor"
    assert browser.evaluate(paper) == "rgb(255, 255, 255)"
    browser.theme("dark")
    browser.wait(f"{paper} === 'rgb(21, 25, 30)'")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 25, 30)"


def test_it_prints_light_and_within_the_page(browser, report):
    browser.open(report, 1280, "dark")
    assert len(browser.call("Page.printToPDF")["data"]) > 50_000
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = "Math.max(...[...document.querySelectorAll('.main-svg')].map(s => s.clientWidth))"
    browser.wait(f"{widths} <= 700")
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    browser.wait(f"{widths} > 700")
    assert browser.troubles() == []


def test_a_run_without_trials_loads_too(browser, make_view, tmp_path):
    path = tmp_path / "report.html"
    run = dataclasses.replace(make_view(2, trials=0), winner=None, references=(), test_rows=())
    write_report(dataclasses.replace(run, profiles=(), importance={}, hypervolume=()), path)
    browser.open(path)
    assert browser.evaluate("document.documentElement.dataset.charts") == "0"
    assert browser.troubles() == []


@pytest.mark.parametrize("width", [1280, 360])
def test_masks_optimism_and_random_search_fit_the_page(
    browser, make_view, truthful, tmp_path, width
):
    path = tmp_path / "report.html"
    write_report(truthful(make_view(2)), path)
    browser.open(path, width)
    assert browser.troubles() == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    legend = browser.evaluate(
        "[...document.querySelectorAll('[data-figure=hypervolume] .legendtext')]"
        ".map(t => t.textContent)"
    )
    assert legend == ["the search", "random search"]
