"""The documentation is true where code can tell: studies, recipes, commands, rows, links, keys."""

import json
import re
import runpy
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from evaluation.native import load_native_task
from evaluation.spec import NativeSpec
from merging.document import parse_document
from merging.methods.own import load_methods
from search.space import space_from
from studies.cli import app
from studies.config import study_from
from studies.schema_file import study_schema

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
OWN = {"tasks.md": 6, "search_spaces.md": 4, "README.md": 1}
"""Pages with at least so many studies, or parts of one."""
COMING = {"report.md", "python.md"}
"""Pages that may be written later than the links to them."""
WHOLE = """\
name: example
recipe:
  merge_method: linear
  models:
    - {model: ./one, parameters: {weight: {range: [0, 1]}}}
    - {model: ./two, parameters: {weight: 0.5}}
tasks: [{name: t, file: t.jsonl, type: loglikelihood, target: text}]
"""
VALIDATOR = Draft202012Validator(study_schema())


class Block(NamedTuple):
    """A fenced text of a page: where it begins, its language, and itself."""

    place: str
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^ *```(\w+)\n(.*?)^ *```$", text, re.S | re.M):
        line = text[: found.start()].count("\n") + 1
        yield Block(f"{page.name}:{line}", found[1], found[2])


def study_of(block: Block) -> dict[str, Any] | None:
    """The study that a block is, or is a part of; None where it is something else."""
    found = yaml.safe_load(block.text)
    whole = yaml.safe_load(WHOLE)
    if not isinstance(found, dict):
        return None
    if "merge_method" in found:
        ranged = re.search(r"\b(range|choice):", block.text)
        return {**whole, "recipe": found} if ranged else None
    return {**whole, **found} if found.keys() <= study_schema()["properties"].keys() else None


STUDIES = [
    (block, study)
    for page in PAGES
    for block in blocks(page)
    if block.language == "yaml" and (study := study_of(block)) is not None
]
COMMANDS = [
    (f"{block.place} {line.strip()}", line)
    for page in PAGES
    for block in blocks(page)
    if block.language in ("sh", "bash", "console")
    for line in block.text.replace("\\\n", " ").removeprefix("$ ").splitlines()
    if re.match(r"(\$ )?eutectic ", line)
]


def test_pages_have_their_examples() -> None:
    counts = {name: sum(one.place.startswith(f"{name}:") for one, _ in STUDIES) for name in OWN}
    assert all(counts[name] >= least for name, least in OWN.items()), counts
    assert len(COMMANDS) > 8 and len(CHECKED) > 2


@pytest.mark.parametrize(("block", "study"), STUDIES, ids=[one.place for one, _ in STUDIES])
def test_studies_are_studies(block: Block, study: dict[str, Any], tmp_path: Path) -> None:
    document = parse_document(yaml.safe_dump(study, sort_keys=False), block.place)
    read = study_from(document, tmp_path)
    assert space_from(read.recipe, layers=24).dimensions
    assert not [f"{one.json_path}: {one.message}" for one in VALIDATOR.iter_errors(study)]


CHECKED = [
    (block, study)
    for block, study in STUDIES
    if block.place.startswith(("README.md", "search_spaces.md"))
    and set(re.findall(r"model: ([^\s,}]+)", block.text)) <= {"./base", "./math", "./code"}
    and "layer_range" not in block.text
]


@pytest.mark.parametrize(("block", "study"), CHECKED, ids=[one.place for one, _ in CHECKED])
def test_check_finds_no_fault(
    block: Block, study: dict[str, Any], pico_family: Any, tmp_path: Path
) -> None:
    parts = (pico_family.base, pico_family.experts["alpha"], pico_family.experts["beta"])
    for name, place in zip(("base", "math", "code"), parts, strict=True):
        (tmp_path / name).symlink_to(place, target_is_directory=True)
    rows = [
        {"question": f"{k} + {k} =", "choices": [f"{2 * k}", "x"], "answer": 0} for k in range(200)
    ]
    texts = [{"text": f"line {k} of all"} for k in range(200)]
    for name, lines in (("logic", rows), ("code", texts), ("t", texts)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 0 and "No fault found" in result.stdout, result.output


@pytest.mark.parametrize("line", [line for _, line in COMMANDS], ids=[one for one, _ in COMMANDS])
def test_commands_exist_with_their_options(line: str) -> None:
    words = shlex.split(line.removeprefix("$ "), comments=True)
    group: Any = typer.main.get_command(app)
    command = group.commands[words[1]]
    context = command.context_class(command, info_name=words[1])
    arguments = [one for one in words[2:] if one not in ("|", ">", "&&")]
    command.make_parser(context).parse_args(args=list(arguments))


def test_a_command_that_is_not_there_is_found() -> None:
    with pytest.raises(Exception, match="No such option: --nope"):
        test_commands_exist_with_their_options("eutectic search study.yaml --nope 3")


def test_the_merge_method_of_the_page_merges(tmp_path: Path) -> None:
    (block,) = (one for one in blocks(ROOT / "docs" / "methods.md") if one.language == "python")
    (tmp_path / "mine.py").write_text(block.text, encoding="utf-8")
    (method,) = load_methods(tmp_path / "mine.py")
    assert (method.name, [one.name for one in method.parameters]) == ("clipped", ["weight", "cut"])


def rows_of(page: Path) -> dict[str, str]:
    """The files of rows that a page shows, by name."""
    text = page.read_text(encoding="utf-8")
    return dict(re.findall(r"^`([\w.]+)`:\n\n```(?:json|csv)\n(.*?)^```$", text, re.S | re.M))


def calibration(groups: Sequence[str], strata: Sequence[str]) -> list[bool]:
    return [True] * len(groups)


def test_the_rows_of_the_page_on_tasks_fit_its_tasks(tmp_path: Path) -> None:
    files = rows_of(ROOT / "docs" / "tasks.md")
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    loaded = {}
    for block, study in STUDIES:
        if not block.place.startswith("tasks.md:"):
            continue
        document = parse_document(yaml.safe_dump(study, sort_keys=False), block.place)
        for spec in study_from(document, tmp_path).tasks:
            if isinstance(spec, NativeSpec) and spec.file.name in files and spec.fewshot.n < 2:
                loaded[spec.type] = load_native_task(spec, seed=0, calibration=calibration)
    assert {name: len(task.items) for name, task in loaded.items()} == {
        "multiple_choice": 2, "loglikelihood": 2, "generate": 2,
    }  # fmt: skip


def slug(heading: str) -> str:
    """The anchor that Markdown makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    return {slug(one.strip()) for one in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or (page.parent / file).name in COMING:
            continue
        place = page.parent / file if file else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(place), f"{page.name}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([\w.]+\.md)", index))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked


def test_the_keys_are_those_of_the_code() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "study_keys.py"))
    again = "run scripts/study_keys.py"
    assert (ROOT / "docs" / "study_file.md").read_text(encoding="utf-8") == made["page"](), again
    shown = (ROOT / "docs" / "study.schema.json").read_text(encoding="utf-8")
    assert shown == made["schema_text"](), again


def test_every_key_is_described() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "study_keys.py"))
    for _, form, _ in made["FORMS"]:
        for name, field in form.model_fields.items():
            assert field.description, f"{form.__name__}.{name}"
            assert field.examples or name == "resolved", f"{form.__name__}.{name}"
