"""The report as a file: complete, escaped, self-contained, small, the same for the same run."""

import base64
import dataclasses
import gzip
import hashlib
import html.parser
import json
import re
import stat

import pytest

from studies import report_text
from studies import view as v
from studies.details import filled
from studies.plots import figures, plotly_script
from studies.report import render, write_report

HOSTILE = "<img src=https://evil.example/x onerror=alert(1)></script><!-- {{7*7}} \"'"
VOID = {"meta", "path", "circle", "br", "img", "link"}


class Page(html.parser.HTMLParser):
    """Collects tags, ids and text, and checks that every element is closed."""

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):  # noqa: D102
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):  # noqa: D102
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):  # noqa: D102
        assert self.open.pop() == tag

    def handle_data(self, text):  # noqa: D102
        if self.open and self.open[-1] == "script":
            self.scripts.append((self.tags[-1][1], text))
        elif not self.open or self.open[-1] != "style":
            self.text.append(text)

    def every(self, tag):
        """The attributes of each element with this tag."""
        return [attrs for name, attrs in self.tags if name == tag]


def unpacked(page: Page, name: str) -> str:
    (text,) = [text for attrs, text in page.scripts if attrs.get("id") == name]
    return gzip.decompress(base64.b64decode(text)).decode()


@pytest.fixture(scope="module")
def pages(make_view):
    """The rendered page of the usual run with 1, 2 and 3 objectives."""
    return {n: render(make_view(n)) for n in (1, 2, 3)}


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_the_page_answers_in_order(make_view, pages, objectives):
    view = make_view(objectives)
    page = Page(pages[objectives])
    ids = [a["id"] for a in page.every("section")]
    assert ids == ["result", "tradeoffs", "difference", "search", "trust", "recipe"]
    text = " ".join(page.text)
    assert view.winner.claim in text and view.rule in text
    assert all(notice in text for notice in view.notices)
    assert text.count(view.winner.recipe_yaml) == 2  # in the panel and at the end
    assert set(a["href"] for a in page.every("a")) <= {f"#{name}" for name in ids}


def test_the_test_table_shows_each_model_with_interval_and_difference(make_view, pages):
    view = make_view(3)
    page = pages[3]
    for row in view.test_rows:
        assert f"<span>{row.name}" in page
        for estimate in row.values.values():
            assert f"<b>{estimate.value:.3f}</b>" in page
    lines = report_text.test_lines(view)
    assert lines[0].kind == "winner" and len(lines) == len(view.test_rows)
    for line, row in zip(lines[1:], view.test_rows[1:], strict=True):
        for cell, column in zip(line.cells, view.columns, strict=True):
            gap = row.difference[column]
            good = gap.value > 0 if view.directions[column] else gap.value < 0
            clear = gap.low > 0 or gap.high < 0
            assert cell.tone == (("better" if good else "worse") if clear else "")


def test_every_chart_has_a_place_and_a_sentence(make_view, pages):
    for objectives, source in pages.items():
        view = make_view(objectives)
        places = [a for a in Page(source).every("div") if "data-figure" in a]
        assert sorted(a["data-figure"] for a in places) == sorted(figures(view))
        assert all(a["role"] == "img" and len(a["aria-label"]) > 40 for a in places)


def test_figures_and_recipes_travel_with_the_page(make_view, pages):
    view = make_view()
    page = Page(pages[2])
    data = json.loads(unpacked(page, "page-data"))
    assert set(data["figures"]) == set(figures(view))
    told = json.loads(unpacked(page, "details-data"))["recipes"]
    assert {key: filled(told, key) for key in told["fills"]} == {
        **{f"t{t.number}": t.recipe_yaml for t in view.trials},
        **{f"r{place}": one.recipe_yaml for place, one in enumerate(view.references)},
    }
    assert unpacked(page, "plotly-data") == plotly_script()


def test_only_the_two_scripts_of_the_page_may_run(pages):
    page = Page(pages[2])
    (policy,) = [a["content"] for a in page.every("meta") if "http-equiv" in a]
    allowed = re.search(r"script-src ([^;]*);", policy)[1].split()
    running = [text for attrs, text in page.scripts if "type" not in attrs]
    assert len(running) == 1
    expected = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (running[0], plotly_script())
    ]
    assert allowed == [f"'sha256-{digest}'" for digest in expected]
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "connect-src" not in policy  # falls back to 'none'


def test_nothing_is_loaded_from_anywhere(pages):
    source = pages[3]
    page = Page(source)
    for tag, attrs in page.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base"), tag
        assert "src" not in attrs and not any(name.startswith("on") for name in attrs)
        assert all("//" not in (attrs.get(name) or "") for name in ("href", "action", "style"))
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style and "@import" not in style


def test_hostile_names_are_text(make_view):
    view = make_view(2, names=(HOSTILE, "zoo/code", "zoo/prose"))
    objective = dataclasses.replace(view.objectives[0], metric=HOSTILE)
    trials = tuple(
        dataclasses.replace(t, origin=HOSTILE, error=HOSTILE, parameters={HOSTILE: t.number / 7})
        for t in view.trials
    )
    view = dataclasses.replace(
        view,
        name=HOSTILE,
        state=HOSTILE,
        created=HOSTILE,
        sampler=HOSTILE,
        rule=HOSTILE,
        models=(HOSTILE,),
        tasks={HOSTILE: {HOSTILE: 3}},
        objectives=(objective, view.objectives[1]),
        columns=(HOSTILE,),
        trials=trials,
        winner=dataclasses.replace(view.winner, name=HOSTILE, claim=HOSTILE, recipe_yaml=HOSTILE),
        test_rows=(v.TestRow(HOSTILE, HOSTILE, {HOSTILE: v.Estimate(1.0)}, {}),),
        notices=(HOSTILE,),
        versions={HOSTILE: HOSTILE},
        budget=HOSTILE,
        constraints=(HOSTILE,),
        provenance={HOSTILE: HOSTILE},
        importance={"logic": {HOSTILE: 0.5}},
    )
    source = render(view)
    page = Page(source)
    assert not page.every("img") and "<img" not in source and "7*7" in source
    assert len(page.every("script")) == 4
    assert sum(HOSTILE in text for text in page.text) >= 12


def test_a_thousand_trials_stay_under_six_megabytes(make_view, raced):
    view = raced(make_view(3, trials=1000))
    source = render(view)
    assert len(source.encode()) < 6_000_000
    data = json.loads(unpacked(Page(source), "details-data"))
    assert len(data["recipes"]["fills"]) == 1000 + len(view.references)


def test_the_same_run_gives_the_same_bytes(make_view, pages):
    assert render(make_view(2)) == pages[2]


def test_a_run_that_has_just_begun_says_so(make_view):
    empty = dataclasses.replace(
        make_view(2, trials=0),
        state="running",
        winner=None,
        references=(),
        test_rows=(),
        profiles=(),
        importance={},
        hypervolume=(),
    )
    page = Page(render(empty))
    text = " ".join(page.text)
    assert "still running" in text and "No trial has a score yet" in text
    assert "nothing is claimed" in text and "Too few trials" in text
    assert [a["id"] for a in page.every("section")][-1] == "trust"
    stopped = dataclasses.replace(empty, state="interrupted")
    assert "interrupted before a winner" in " ".join(Page(render(stopped)).text)


def test_too_few_items_are_said_in_words(make_view):
    view = make_view(1)
    rows = tuple(
        dataclasses.replace(
            row,
            values={c: v.Estimate(e.value, items=9) for c, e in row.values.items()},
            difference={c: v.Estimate(e.value, items=9) for c, e in row.difference.items()},
        )
        for row in view.test_rows
    )
    view = dataclasses.replace(view, test_rows=rows)
    assert "too few items for an interval" in render(view)
    assert {c.tone for line in report_text.test_lines(view) for c in line.cells} == {""}


def test_write_report_replaces_whole_or_not_at_all(make_view, pages, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(make_view(), path)
    assert path.read_text(encoding="utf-8") == pages[2]
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    with pytest.raises(FileNotFoundError):
        write_report(make_view(), tmp_path / "missing" / "report.html")


def test_names_do_not_turn_round_what_the_page_says(make_view):
    """A recipe stays as it is exported, to the byte."""
    view = make_view(names=("zoo/\u202emath", "zoo/code", "zoo/prose"))
    won = dataclasses.replace(view.winner, claim="no better than zoo/\u202emath, by <far>")
    page = render(dataclasses.replace(view, winner=won))
    assert "no better than zoo/math, by &lt;far&gt;" in page
    assert page.count("\u202e") == 2 * view.winner.recipe_yaml.count("\u202e") == 2
