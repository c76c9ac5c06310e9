"""Methods of the user's own, and methods without weights, searched from the command line."""

import json

import pytest

from merging.methods import table

MINE = '''
from merging.methods.own import merge_method, number

@merge_method(parameters=[
    number("weight", "what the expert is multiplied by", default=1.0),
    number("cut", "the largest difference", default=0.1, scope="global", low=0.0),
])
def clipped(base, experts, numbers):
    """The base + the experts' differences, none larger than the cut."""
    cut = numbers.output["cut"]
    deltas = [(expert - base).clamp(-cut, cut) for expert in experts]
    return base + sum(numbers.of(e, "weight") * delta for e, delta in enumerate(deltas))
'''
TIES = """\
  merge_method: ties
  base_model: base
  models:
    - model: alpha
      parameters: {weight: {range: [0.0, 1.0], start: 0.5}, density: {range: [0.1, 0.9]}}
    - model: beta
      parameters: {weight: {range: [0.0, 1.0], start: 0.25}, density: 0.5}
  parameters: {normalize: false}
"""


@pytest.fixture(autouse=True)
def table_as_it_was():
    """What a command line adds to the table of methods goes with the test."""
    before = dict(table._KNOWN)
    yield
    table._KNOWN.clear()
    table._KNOWN.update(before)


def test_an_own_method_is_searched_exported_and_verified(bench) -> None:
    (bench.folder / "mine.py").write_text(MINE)
    bench.change((TIES, """\
  merge_method: clipped
  base_model: base
  models:
    - {model: alpha, parameters: {weight: {range: [0.0, 1.0]}}}
    - {model: beta, parameters: {weight: {range: [0.0, 1.0]}}}
  parameters: {cut: {range: [0.001, 0.1], log: true}}
"""))  # fmt: skip
    refused = bench.call("check", bench.study)
    assert refused.exit_code == 2 and "one of your own needs --methods FILE" in refused.stderr
    own = ("--methods", bench.folder / "mine.py")
    checked = bench.call("check", bench.study, *own)
    assert checked.exit_code == 0, checked.output
    assert bench.search(*own).exit_code == 0
    trials = bench.call("trials", bench.run, "--format", "json", *own)
    assert "cut" in json.loads(trials.stdout)[0]
    weights = bench.folder / "merged"
    exported = bench.call(
        "export", bench.run, "-o", bench.folder / "w.yaml", "--weights", weights, *own
    )
    assert exported.exit_code == 0, exported.output
    assert (weights / "model.safetensors").is_file()
    assert bench.call("verify", bench.run, *own).exit_code == 0


def test_another_content_of_the_file_is_another_method(bench) -> None:
    (bench.folder / "mine.py").write_text(MINE)
    recipe = bench.folder / "recipe.yml"
    recipe.write_text(
        "merge_method: clipped\nbase_model: base\nmodels: [{model: alpha}]\n"
        "parameters: {cut: -1}\n"
    )
    result = bench.call("explain", recipe, "--methods", bench.folder / "mine.py")
    assert result.exit_code == 2
    assert "recipe.yml:4:19 parameters.cut: expected a number from 0, got -1" in result.stderr
    (bench.folder / "mine.py").write_text(MINE + "\n")
    again = bench.call("explain", recipe, "--methods", bench.folder / "mine.py")
    assert "'clipped' exists already" in again.stderr  # of the same process


def test_a_file_that_fails_is_told_in_one_line(bench) -> None:
    (bench.folder / "bad.py").write_text("import nothing_of_that_name\n")
    result = bench.call("check", bench.study, "--methods", bench.folder / "bad.py")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "bad.py: ModuleNotFoundError" in result.stderr


def test_slerp_is_searched_from_one_model_to_the_other(bench) -> None:
    bench.change((TIES, """\
  merge_method: slerp
  base_model: base
  models: [{model: alpha}]
  parameters:
    t:
      - {filter: self_attn, value: {range: [0.0, 1.0]}}
      - {value: {range: [0.0, 1.0]}}
"""))  # fmt: skip
    result = bench.search()
    assert result.exit_code == 0, result.output
    log = (bench.run / "log.txt").read_text()
    assert "halfway" in log
    assert bench.call("verify", bench.run).exit_code == 0


def test_the_method_is_searched_among_some_that_have_no_number_in_common(bench) -> None:
    bench.change((TIES, """\
  merge_method: {choice: [ties, sce, model_stock, breadcrumbs]}
  base_model: base
  models:
    - {model: alpha, parameters: {weight: {range: [0.1, 1.0]}, density: {range: [0.1, 0.9]}}}
    - {model: beta, parameters: {weight: {range: [0.1, 1.0]}}}
  parameters: {select_topk: {range: [0.1, 1.0]}, gamma: {range: [0.0, 0.2]}}
"""))  # fmt: skip
    result = bench.search("--trials", "8")
    assert result.exit_code == 0, result.output
    assert bench.call("verify", bench.run).exit_code == 0
