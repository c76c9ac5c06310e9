"""What README and the tables of the documentation say of code is true."""

import re
from pathlib import Path

from merging.differences import DIFFERENCES
from merging.document import parse_document
from merging.methods.table import METHODS, Method
from studies.cli import app
from studies.config import study_from

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    """A page of the documentation."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def methods_table() -> str:
    """The table of merge methods as docs/methods.md shows it."""
    head = "| method | needs a base | parameters (default) | paper |\n|---|---|---|---|\n"
    return head + "".join(line(method) for method in METHODS.values())


def line(method: Method) -> str:
    parameters = ", ".join(
        f"`{one.name}`" + ("" if one.default is None else f" ({str(one.default).lower()})")
        for one in method.parameters
    )
    needs = {"required": "yes", "optional": "may have one", "listed": "no"}[method.base]
    return f"| `{method.name}` | {needs} | {parameters} | {method.paper or '(layer stacking)'} |\n"


def test_the_table_of_methods_is_the_one_in_the_code() -> None:
    shown = re.search(r"test_readme\.py -->\n(.*?)<!-- end of methods", page("methods.md"), re.S)
    assert shown is not None
    assert shown[1] == methods_table()


def differences_table() -> str:
    """The table of differences from mergekit as docs/mergekit.md shows it."""
    head = "| | mergekit 0.1.5 | eutectic | `--mergekit-exact` |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {one.what} | {one.mergekit} | {one.eutectic} | {one.exact} |\n" for one in DIFFERENCES
    )


def test_the_table_of_differences_is_the_one_in_the_code() -> None:
    text = page("mergekit.md")
    shown = re.search(r"held equal to merging/differences\.py.* -->\n(.*?)<!--", text, re.S)
    assert shown is not None
    assert shown[1] == differences_table()


def test_the_study_of_the_readme_is_a_study(tmp_path: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", README, re.S)
    assert text is not None
    study = study_from(parse_document(text[1], "README.md"), tmp_path)
    assert [task.name for task in study.tasks] == ["logic", "code"]


def test_every_command_is_named() -> None:
    listed = re.search(r"## Commands\n\n(.*?);", README, re.S)
    assert listed is not None
    names = {
        str(one.name or one.callback.__name__) for one in app.registered_commands if one.callback
    }
    assert set(re.findall(r"`([a-z]+)`", listed[1])) == names
