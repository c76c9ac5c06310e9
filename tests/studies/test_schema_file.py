"""The JSON schema of a study file takes what `check` takes and refuses what `check` refuses."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from merging.document import parse_document
from merging.errors import MergeError
from merging.methods.table import METHODS
from search.errors import SearchError
from search.space import space_from
from search.space_walk import refuse_modules
from studies.config import study_from
from studies.demo.study import study_text
from studies.errors import StudyError
from studies.schema_file import study_schema

ROOT = Path(__file__).resolve().parents[2]
LAYERS = 24

EVERYTHING = """\
name: everything
recipe:
  merge_method: {choice: [della, ties, dare_ties], start: ties}
  base_model: ./base
  models:
    - model: ./math
      parameters:
        weight: {range: [0.0, 1.0], anchors: 3, start: [0.1, 0.2, 0.3]}
        density: {range: [0.2, 0.9], step: 0.1}
    - model: org/code@main+org/adapter
      parameters:
        weight:
          - {filter: self_attn, value: {range: [0.1, 1.0], log: true}}
          - {filter: mlp, value: [0.0, {range: [0.0, 1.0]}, 1.0]}
          - {value: {range: [0.0, 1.0], blocks: 4}}
        density: 0.5
        epsilon: 0.1
    - {model: ./prose, parameters: {weight: {filter: mlp, value: 0.5}, density: [0.3, 0.4]}}
  parameters:
    normalize: {choice: [true, false]}
    rescale: 1
    lambda: {range: [0.5, 1.5], anchors: auto}
    int8_mask: true
    weight: 0.5
  dtype: bfloat16
  out_dtype: torch.float16
  tokenizer:
    source: union
    tokens:
      "<|a|>": {source: ./math, force: true}
      "<|b|>": {source: {kind: zero}}
      "<|c|>": {source: {kind: model_token, model: ./math, token_id: 3}}
    pad_to_multiple_of: 64
  chat_template: chatml
  eutectic: {mask_seed: 7, exact: false}
tasks:
  - name: logic
    file: logic.jsonl
    type: multiple_choice
    prompt: "{{question}}"
    choices: [a, b]
    answer: answer
    fewshot: {n: 3, from: shots.jsonl, same: true}
    chat_template: true
    system: Be brief.
    description: Think.
    group: source
    stratum: kind
    limit: 100
  - name: free
    file: free.csv
    type: generate
    prompt: "{{q}}"
    score: scorers.py:right
    until: ["\\n", "."]
    max_new_tokens: 7
    extract: "([0-9]+)"
  - {name: code, file: code.parquet, type: loglikelihood, target: text, fewshot: 2}
  - {name: ours, lm_eval: our_task, include_path: tasks/, docs: train, test: official}
objectives:
  logic: {task: logic, metric: acc}
  rest: {mean: [{task: code}, {task: ours, metric: acc}]}
constraints:
  - {task: code, metric: bits_per_byte, max_drop: 0.02, from: best_parent}
  - {task: logic, min: 0.25, max: 0.9}
split: {calibration: 0.1, search: 0.5, select: 0.2, test: 0.2}
winner: {rule: weighted, weights: {logic: 2, rest: 1.0}}
budget: {trials: 40, items: 9000, minutes: 1.5}
sampler: {name: TPESampler, n_ei_candidates: 48}
racing: true
gradients: off
seed: 7
"""
LAYERED = """\
name: layered
recipe:
  merge_method: slerp
  base_model: ./base
  slices:
    - base_model: ./base
      sources:
        - {model: ./base, layer_range: [0, {range: [12, 20], step: 2, start: 16}]}
        - {model: ./math}
      parameters: {t: {range: [0.0, 1.0], anchors: 3}}
    - sources:
        - {model: ./base, layer_range: [{choice: [8, 12], start: 12}, 24], parameters: {}}
        - {model: ./math, layer_range: [{choice: [8, 12], start: 12}, 24]}
  parameters: {t: {range: [0.0, 1.0], start: 0.5}}
  tokenizer_source: base
tasks: [{name: t, file: t.jsonl, type: loglikelihood, target: text}]
winner: {rule: task, task: t}
sampler: gp
"""
FREE = {("sampler",), ("resolved",), ("recipe", "name")}
"""Where the user, or a sampler, has a say that the form has not."""


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    Draft202012Validator.check_schema(study_schema())
    return Draft202012Validator(study_schema())


def written() -> dict[str, str]:
    """Every whole study that stands in the repository, by where it stands."""
    found = {
        "everything": EVERYTHING,
        "layered": LAYERED,
        "demo": study_text(("sort", "climb"), 8),
        "example": (ROOT / "studies/examples/smollm2.yaml").read_text(),
    }
    places = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("tests/**/*.py")]
    places.remove(ROOT / "tests" / "faults" / "fault_bench.py")  # has a place for a number
    for place in places:
        text = place.read_text(encoding="utf-8")
        quoted = re.findall(r'^(?:[A-Z]+ = """\\\n|```yaml\n)(.*?)^(?:"""|```)', text, re.S | re.M)
        for number, one in enumerate(quoted):
            if re.search(r"^recipe:", one, re.M) and re.search(r"^name:", one, re.M):
                plain = one.encode().decode("unicode_escape") if place.suffix == ".py" else one
                found[f"{place.relative_to(ROOT)} {number}"] = plain
    return found


STUDIES = written()


def fault(data: object) -> str | None:
    """What `check` refuses before it opens a model; None where it goes on."""
    document = parse_document("{}", "study.yaml").with_data(data)
    try:
        study = study_from(document, Path())
        refuse_modules(study.recipe)
        space_from(study.recipe, layers=LAYERS)
    except (StudyError, MergeError, SearchError) as error:
        return str(error)
    return None


def places(data: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every path of plain data."""
    yield path
    pairs = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data if isinstance(data, list) else ())
    )
    for key, value in pairs:
        yield from places(value, (*path, key))


def changed(data: Any, path: tuple[str | int, ...], value: object) -> Any:
    """The data with another value at a path; a copy."""
    data = copy.deepcopy(data)
    around = data
    for key in path[:-1]:
        around = around[key]
    around[path[-1]] = value
    return data


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def free(path: tuple[str | int, ...]) -> bool:
    return any(path[: len(one)] == one for one in FREE)


def test_studies_were_found() -> None:
    assert len([name for name in STUDIES if name.startswith("tests/")]) > 5
    assert any(name.startswith("README.md") for name in STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_it_takes_every_study_of_the_repository(schema: Draft202012Validator, name: str) -> None:
    data = yaml.safe_load(STUDIES[name])
    found = [f"{one.json_path}: {one.message}" for one in schema.iter_errors(data)]
    if fault(data) is None:
        assert not found
    else:
        assert not data["recipe"] or not found, fault(data)


@pytest.mark.parametrize("text", [EVERYTHING, LAYERED], ids=["everything", "layered"])
def test_unknown_keys_are_refused_by_both(schema: Draft202012Validator, text: str) -> None:
    data = yaml.safe_load(text)
    named = {("objectives",), ("winner", "weights"), ("recipe", "tokenizer", "tokens")}
    mappings = [one for one in places(data) if isinstance(at(data, one), dict) and not free(one)]
    assert len(mappings) > 12
    for path in mappings:
        broken = changed(data, (*path, "unheard_of"), 1)
        assert not schema.is_valid(broken) or path in named, path
        assert fault(broken) is not None, path


@pytest.mark.parametrize("text", [EVERYTHING, LAYERED], ids=["everything", "layered"])
def test_wrong_types_are_refused_by_both(schema: Draft202012Validator, text: str) -> None:
    data = yaml.safe_load(text)
    leaves = [one for one in places(data) if not isinstance(at(data, one), dict | list)]
    assert len(leaves) > 20
    for path in leaves:
        for wrong in ({"unheard_of": 1}, [[]]):
            broken = changed(data, path, wrong)
            assert free(path) or not schema.is_valid(broken), (path, wrong)
            assert free(path) or fault(broken) is not None, (path, wrong)


WRONG = (None, True, "text", "0.5", -7, 0, 3.5, [], [1, 2], {}, {"range": [0, 1]}, {"choice": [1]})


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_what_it_refuses_check_refuses(draw: st.DataObject) -> None:
    data = yaml.safe_load(draw.draw(st.sampled_from((EVERYTHING, LAYERED))))
    path = draw.draw(st.sampled_from([one for one in places(data) if one]))
    broken = changed(data, path, draw.draw(st.sampled_from(WRONG)))
    if not VALIDATOR.is_valid(broken):
        assert fault(broken) is not None, (path, at(broken, path))


VALIDATOR = Draft202012Validator(study_schema())


def test_it_names_every_method_and_parameter() -> None:
    parts = study_schema()["$defs"]
    names = {one.name for method in METHODS.values() for one in method.parameters}
    assert set(parts["parameters"]["properties"]) == names
    assert parts["recipe"]["else"]["properties"]["merge_method"]["anyOf"][0]["enum"] == [*METHODS]


def test_bounds_of_numbers(schema: Draft202012Validator) -> None:
    data = yaml.safe_load(EVERYTHING)
    density = ("recipe", "models", 1, "parameters", "density")
    for wrong in (0, 1.1, {"range": [0.1, 1.4]}):
        broken = changed(data, density, wrong)
        assert not schema.is_valid(broken) and fault(broken) is not None


def test_an_exact_recipe_is_left_alone(schema: Draft202012Validator) -> None:
    data = yaml.safe_load(EVERYTHING)
    data["recipe"]["eutectic"]["exact"] = True
    data["recipe"]["models"][2]["parameters"]["weight"] = "0.5"
    assert schema.is_valid(data) and fault(data) is None


def test_the_command_prints_it(bench) -> None:
    result = bench.call("schema")
    assert result.exit_code == 0 and json.loads(result.stdout) == study_schema()
    assert bench.call("schema", "-o", "s.json").exit_code == 0
    assert json.loads(Path("s.json").read_text()) == study_schema()


def test_init_writes_it_beside_the_study(bench) -> None:
    recipe = ROOT / "tests/data/recipes/linear_openrs.yml"
    made = bench.call("init", recipe, "--schema", "-o", "mine.yaml")
    assert made.exit_code == 0, made.output
    first = Path("mine.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=study.schema.json"
    own = Draft202012Validator(json.loads(Path("study.schema.json").read_text()))
    assert own.is_valid(yaml.safe_load(Path("mine.yaml").read_text()))
    refused = bench.call("init", recipe, "--schema")
    assert refused.exit_code == 2 and "give -o FILE too" in refused.stderr
