"""The report in a real Chromium: charts, clicks, keys, copying; no error, no request, both themes.

Skipped where no Chromium is installed.
"""

import dataclasses
from collections.abc import Iterator

import pytest

from studies import view as v
from studies.details import recipes
from studies.report import write_report
from studies.show import run_view
from tests.studies.browser import CHROMIUM, Browser
from tests.studies.conftest import Bench

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
HOSTILE = "zoo/<a href='https://evil.example'>%{x}</a><img src=x onerror=alert(1)>"

CHARTS = "[...document.querySelectorAll('[data-figure]')]"
YAML = "document.getElementById('panel-yaml').textContent"
SHOWN = "document.getElementById('panel').dataset.key"
OUTWARD = """
    [...document.querySelectorAll('a')]
        .map((a) => a.getAttribute('href') ?? a.getAttribute('xlink:href') ?? '#')
        .filter((target) => !target.startsWith('#'))
"""
POINT = """
    ((name) => {
        const plot = document.querySelector('[data-figure=front]');
        plot.scrollIntoView({ behavior: 'instant' });
        const t = plot.data.findIndex((trace) => trace.name === name);
        const group = plot.querySelectorAll('.scatterlayer .trace')[t];
        const box = [...group.querySelectorAll('.point')].at(-1).getBoundingClientRect();
        const keys = plot.data[t].customdata.map((c) => c[1]);
        return [box.x + box.width / 2, box.y + box.height / 2, keys];
    })
"""
HOVER = "[...document.querySelectorAll('.hoverlayer text')].map(t => t.textContent).join('|')"
FOCUS = "document.activeElement.dataset.key ?? document.activeElement.id"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def hostile(make_view, raced) -> v.RunView:
    """A raced run of three objectives in which every text is a stranger's."""
    view = raced(make_view(3, names=(HOSTILE, "zoo/code", "zoo/prose")))
    odd = dataclasses.replace(view.items[0], task=HOSTILE, question=HOSTILE, gold=HOSTILE)
    odd = dataclasses.replace(odd, choices=(HOSTILE, "b"))
    example = v.Example(0, HOSTILE, HOSTILE)
    trials = tuple(
        dataclasses.replace(
            trial,
            origin=HOSTILE,
            against=tuple(
                dataclasses.replace(a, column=HOSTILE, gains=(example,)) for a in trial.against
            ),
        )
        for trial in view.trials
    )
    return dataclasses.replace(view, trials=trials, items=(odd, *view.items[1:]))


@pytest.fixture(scope="module")
def report(hostile, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(hostile, path)
    return path


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (820, "dark"), (360, "dark")])
def test_charts_are_drawn_without_error_or_request(browser, report, width, scheme):
    browser.open(report, width, scheme)
    count = browser.evaluate(f"{CHARTS}.length")
    assert browser.evaluate("Number(document.documentElement.dataset.charts)") == count == 25
    assert all(browser.evaluate(f"{CHARTS}.map(p => p.querySelectorAll('.trace').length)"))
    assert browser.troubles() == [] and browser.requests() == []
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert browser.evaluate("document.getElementById('trouble').hidden")


@pytest.mark.parametrize("objectives", [1, 2, 4])
def test_any_number_of_objectives_draws_and_fits_a_phone(
    browser, make_view, raced, truthful, tmp_path, objectives
):
    path = tmp_path / "report.html"
    write_report(raced(truthful(make_view(objectives))), path)
    browser.open(path, 390)
    assert browser.troubles() == [] and browser.requests() == []
    assert all(browser.evaluate(f"{CHARTS}.map(p => p.querySelectorAll('.trace').length)"))
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_stay_text_everywhere(browser, report):
    browser.open(report)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert browser.evaluate(OUTWARD) == []
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    texts = browser.evaluate(
        "[...document.querySelectorAll('.plot text')].map(t => t.textContent)"
    )
    assert any("alert(1)>" in text for text in texts)
    shown = browser.evaluate("document.getElementById('panel-against').textContent")
    assert shown.count("onerror=alert(1)>") > 5
    assert browser.troubles() == [] and browser.requests() == []


@pytest.mark.parametrize("kind", ["on the Pareto front", "dominated trial", "parent", "base"])
def test_a_clicked_point_opens_its_recipe(browser, report, hostile, kind):
    texts = recipes(hostile)
    browser.open(report)
    won = browser.evaluate(SHOWN)
    assert won == f"t{hostile.winner.number}" and browser.evaluate(YAML) == texts[won]
    x, y, keys = browser.evaluate(f"{POINT}('{kind}')")
    browser.click(x, y)
    browser.wait(f"{SHOWN} !== '{won}'")
    clicked = browser.evaluate(SHOWN)
    assert clicked in keys and browser.evaluate(YAML) == texts[clicked]
    assert browser.evaluate("document.getElementById('panel-choose').value") == clicked
    box = "document.getElementById('panel').getBoundingClientRect()"
    browser.wait(f"{box}.top >= 0 && {box}.top < innerHeight")


def test_a_pointer_tells_the_recipe_in_short(browser, report, hostile):
    browser.open(report)
    x, y, keys = browser.evaluate(f"{POINT}('on the Pareto front')")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x - 40, y=y - 40)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.wait(f"{HOVER}.includes('trial')")
    told = browser.evaluate(HOVER)
    assert "code.weight" in told and "density" in told and "logic" in told


def test_the_recipe_of_a_real_run_is_the_exported_one(browser, searched: Bench):
    view = run_view(searched.run)
    browser.open(searched.run / "report.html")
    for key in [f"t{trial.number}" for trial in view.trials]:
        browser.evaluate(
            "((key) => { const list = document.getElementById('panel-choose'); list.value = key;"
            f"list.dispatchEvent(new Event('change')); }})('{key}')"
        )
        browser.wait(f"{SHOWN} === '{key}'")
        exported = searched.call("export", searched.run, "--trial", key[1:])
        assert browser.evaluate(YAML) == exported.stdout
    assert browser.troubles() == []


def test_copy_copies_what_is_shown(browser, report, hostile):
    browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
    granted = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.call("Browser.grantPermissions", permissions=granted)
    browser.open(report)
    browser.evaluate("document.querySelector('button[data-copy=panel-yaml]').click()")
    browser.wait("document.getElementById('status').textContent.includes('copied')")
    copied = browser.evaluate("navigator.clipboard.readText()")
    assert copied == recipes(hostile)[f"t{hostile.winner.number}"]


def test_everything_works_by_keyboard(browser, report, hostile):
    browser.open(report)
    browser.evaluate("document.getElementById('panel-choose').focus()")
    browser.press("ArrowDown", 40)
    browser.wait(f"{SHOWN} === 'r0'")  # behind the winner, which stands first
    assert browser.evaluate(YAML) == recipes(hostile)["r0"]
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.dataset.copy") == "panel-yaml"
    for _ in range(3):
        browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.tagName") == "SUMMARY"
    browser.press("Enter", 13, "\r")
    assert browser.evaluate("document.activeElement.parentElement.open")
    browser.evaluate("document.querySelector('button[data-key=r2]').focus()")
    browser.press("Enter", 13, "\r")
    browser.wait(f"{SHOWN} === 'r2'")
    assert browser.evaluate(YAML) == recipes(hostile)["r2"]


def test_texts_for_those_who_do_not_see_the_charts(browser, report):
    browser.open(report)
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    pictures = [n for n in tree if n.get("role", {}).get("value") in ("image", "img")]
    assert sum(len(n["name"]["value"]) > 40 for n in pictures) == 25
    unnamed = [
        n["role"]["value"]
        for n in tree
        if n.get("role", {}).get("value") in ("button", "combobox", "link")
        and not n.get("ignored")
        and not n["name"]["value"]
    ]
    assert unnamed == []


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


def test_without_a_winner_whoever_is_first_in_the_list_can_be_chosen(
    browser, make_view, raced, tmp_path
):
    view = dataclasses.replace(raced(make_view()), winner=None)
    path = tmp_path / "report.html"
    write_report(view, path)
    browser.open(path)
    copy = "document.querySelector('[data-copy=panel-yaml]')"
    assert browser.evaluate(f"{copy}.hidden") and browser.evaluate(SHOWN) == ""
    browser.wait("!document.getElementById('panel-choice').hidden")
    assert browser.evaluate("document.getElementById('panel-choose').value") == ""
    browser.evaluate("document.getElementById('panel-choose').focus()")
    browser.press("ArrowDown", 40)
    browser.wait(f"{SHOWN} !== ''")
    assert browser.evaluate(YAML) == recipes(view)["r0"]
    assert not browser.evaluate(f"{copy}.hidden") and browser.troubles() == []


def test_an_answer_beyond_the_choices_that_are_shown_is_still_told(
    browser, make_view, raced, tmp_path
):
    view = raced(make_view())
    many = dataclasses.replace(view.items[0], choices=("one", "two"), gold="nine")
    won = view.trials[view.winner.number]
    against = tuple(
        dataclasses.replace(a, gains=(v.Example(0, "nine", "two"),), losses=())
        for a in won.against
    )
    trials = tuple(
        dataclasses.replace(t, against=against if t is won else t.against) for t in view.trials
    )
    path = tmp_path / "report.html"
    write_report(dataclasses.replace(view, trials=trials, items=(many, *view.items[1:])), path)
    browser.open(path)
    browser.wait("document.querySelector('#panel-against .examples')")
    first = "document.querySelector('#panel-against .examples li')"
    assert browser.evaluate(f"{first}.querySelector('.choices').textContent").startswith("onetwo ")
    assert browser.evaluate(f"{first}.querySelector('.said').textContent") == (
        f"rightninetrial {view.winner.number}nine"
    )
