"""Writes the report of a run: one HTML file that needs no network and trusts no name in it.

The template escapes every string. Charts, recipes and plotly.js travel gzipped in base64, which
cannot end a script element. The page's content security policy admits two scripts by their SHA-256
(the page's own and plotly.js), no eval, and no connection to anywhere.

Without JavaScript, or in a browser without DecompressionStream (before 2023), the page still shows
every sentence and table; only the charts and the recipes of other trials are missing.
"""

import base64
import gzip
import hashlib
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import report_text as text
from . import truth_text as truth
from .details import chosen_key, details, recipes
from .front_data import MOST_OBJECTIVES, pair_matrix
from .plots import figures, plotly_script
from .plots_style import DARK, LIGHT, MARKS, css_variables, swaps
from .report_alternatives import alternatives
from .view import RunView
from .wording import direction, moment, number, signed, upright
from .writing import replace_text

TEMPLATES = Path(__file__).parent / "templates"


def write_report(view: RunView, path: Path) -> None:
    """Writes the report of `view` to `path`, whole or not at all.

    Args:
        view: the run; one without trials or winner gives a page that says so.
        path: the file; an existing one is replaced.

    Raises:
        OSError: the folder cannot be written to.
    """
    replace_text(path, render(view))


def render(view: RunView) -> str:
    """The page as text; the same view gives the same bytes."""
    script, plotly = _read("panel.js") + _read("report.js"), plotly_script()
    drawn = figures(view)
    page = {
        "figures": {key: json.loads(str(figure.to_json())) for key, figure in drawn.items()},
        "dark": swaps(),
    }
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "signed": signed,
        "direction": direction,
        "moment": moment,
    }
    return environment.get_template("report.html").render(
        view=view,
        text=text,
        truth=truth,
        said=alternatives(view),
        ramps=text.ramps(view),
        heights={key: figure.layout.height for key, figure in drawn.items()},
        marks=MARKS,
        pairs=pair_matrix(view),
        unseen=max(0, len(view.objectives) - MOST_OBJECTIVES),
        chosen=chosen_key(view),
        texts=recipes(view),
        policy=Markup(_policy(script, plotly)),
        style=Markup(
            f":root{{{css_variables(LIGHT)}}}"
            f"@media screen and (prefers-color-scheme:dark){{:root{{{css_variables(DARK)}}}}}"
            + _read("report.css")
        ),
        script=Markup(script),
        plotly=Markup(_packed(plotly)),
        page=Markup(_packed(_json(page))),
        details=Markup(_packed(_json(details(view)))),
    )


def _finalized(value: object) -> object:
    """What is said on the page, its direction kept; what is marked safe (a recipe) as it is."""
    return upright(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _json(data: object) -> str:
    return json.dumps(data, allow_nan=False, separators=(",", ":"))


def _packed(source: str) -> str:
    """Gzip in base64; without a time stamp, so that equal views give equal pages."""
    return base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode("ascii")


def _policy(*scripts: str) -> str:
    """A content security policy that admits these scripts and nothing else that runs."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode('ascii')}'"
        for s in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
