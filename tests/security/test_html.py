"""HTML and Markdown: what a stranger's study.db says of itself is text, never markup."""

import html
import json
import re
from html.parser import HTMLParser

import yaml

HOSTILE = (
    "<img src=https://evil.example/x onerror=alert(1)></script><svg/onload=alert(2)>{{7*7}}\"'"
)


class Tags(HTMLParser):
    """The elements and attributes of a page, and where links lead."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element."""
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_report_of_a_strangers_run(another, poison) -> None:
    clean, out = Tags((another.run / "report.html").read_text()), another.folder / "out.html"
    poison(another.run, "alpha", HOSTILE)
    result = another.call("report", another.run, "-o", out)
    assert result.exit_code == 0, result.stderr
    page = out.read_text()
    found = Tags(page)
    assert "&lt;img src=https://evil.example/x onerror=alert(1)&gt;&lt;/script&gt;" in page
    assert "<img" not in page and "<svg/" not in page
    assert found.names.count("script") == clean.names.count("script")
    assert set(found.names) <= set(clean.names) and found.attributes <= clean.attributes
    assert all(link.startswith(("#", "data:")) for link in found.links)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and "default-src 'none'" in policy[1]
    assert "unsafe-eval" not in policy[1] and "script-src 'sha256-" in html.unescape(policy[1])


def test_a_notebook_shows_text(another, poison) -> None:
    from studies import Run

    poison(another.run, "alpha", HOSTILE)
    poison(another.run, "pico", HOSTILE)
    shown = Run(another.run)._repr_html_()
    assert "<img" not in shown and "<svg" not in shown and "&lt;svg" in shown


def test_the_card_of_a_merge(another, poison) -> None:
    """`export --weights` writes a README.md that the hub shows as a page."""
    poison(another.run, "sums", "x](javascript:alert(1))<script>alert(1)</script>|`")
    out = another.folder / "merged"
    result = another.call("export", another.run, "--trial", 0, "--weights", out)
    assert result.exit_code == 0, result.stderr
    card = (out / "README.md").read_text()
    matter, body = card.split("---\n", 2)[1:]
    prose = re.sub(r"```.*?```", "", body, flags=re.S)
    assert "alert(1)" in prose
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(javascript", prose), prose
    assert set(yaml.safe_load(matter)) <= {
        *("base_model", "library_name", "tags", "license", "model-index", "pipeline_tag"),
        *("license_name", "license_link", "base_model_relation", "language", "datasets"),
    }


def test_the_page_of_a_study_with_hostile_questions(bench) -> None:
    """Questions and answers travel as data and are set as text; nothing of them is markup."""
    rows = [json.loads(line) for line in (bench.folder / "sums.jsonl").read_text().splitlines()]
    for row in rows:
        row["question"] = "</script><img src=x onerror=alert(1)>" + row["question"]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (bench.folder / "sums.jsonl").write_text(text)
    assert bench.search("--trials", 2).exit_code in (0, 3)
    page = (bench.run / "report.html").read_text()
    assert "<img" not in page and "onerror" not in page
