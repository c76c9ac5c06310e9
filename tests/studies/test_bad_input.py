"""Bad input: one clear message with its place, exit code 2, no traceback, nothing left or lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

FAULTS = """
name: pico                      | name: a b                    | study.yaml:1:7 name: .*pattern
name: pico                      | nmae: pico                   | study.yaml:1:1 nmae: unknown key; did you mean 'name'
sampler: random                 | samplr: random               | study.yaml:27:1 samplr: unknown key; did you mean 'sampler'
sampler: random                 | sampler: rnadom              | 'rnadom'.*did you mean 'random'
sampler: random                 | sampler: {tpe: 3}            | study.yaml:27:10 sampler: expected a name
sampler: random                 | sampler: {name: tpee}      | study.yaml:27:10 sampler: unknown sampler 'tpee'
    choices: choices            |     choice: choices          | study.yaml:17:5 tasks\\[0\\].choice: unknown key; did you mean 'choices'
    choices: choices            |     fewshot: {nn: 2}         | study.yaml:17:15 tasks\\[0\\].fewshot.nn: unknown key; did you mean 'n'
    type: multiple_choice       |     type: multiple-choice    | study.yaml:15:11 tasks\\[0\\].type: .*multiple_choice
    answer: answer              |     limit: 40                | study.yaml:13:5 tasks\\[0\\]: a multiple_choice task needs `answer`
  - name: lines                 |   - name: sums               | study.yaml:19:11 tasks\\[1\\].name: task 'sums' is already named at .*study.yaml:13:11
    file: sums.jsonl            |     file: sum.jsonl          | sums.*sum.jsonl.*does not exist
    file: sums.jsonl            |     file: .                  | expected a file that ends in .jsonl
    file: sums.jsonl            |     lm_eval: arc             | an lm-eval task has no `answer`
    choices: choices            |     choices: chioces         | sums.*chioces.*did you mean 'choices'
    target: text                |     target: txt              | lines.*txt.*did you mean 'text'
"{{question}}"                  | "{{qestion}}"                | sums.*qestion
"{{question}}"                  | "{{question"                 | sums.*prompt
bits_per_byte, max_drop         | bits_per_bite, max_drop      | constraints.*bits_per_bite.*bits_per_byte
task: lines, metric             | task: line, metric           | constraints\\[0\\].*'line'.*did you mean 'lines'
max_drop: 5.0}                  | max_drop: 5.0, from: alpah}  | constraints: .*'alpah'.*alpha
max_drop: 5.0}                  | max_drop: 5.0, min: 1}       | constraints\\[0\\].*either
max_drop: 5.0}                  | max_drop: -1}                | constraints\\[0\\].max_drop.*greater than or equal to 0
calibration: 0, search: 0.4     | calibration: 0, search: 0.6  | study.yaml:25:8 split: the shares add up to 1.2, not 1
calibration: 0, search: 0.4     | calibration: 0.3, search: 0.1 | sums.*search.*groups
budget: {trials: 6}             | budget: {trials: 0}          | budget.trials.*greater than or equal to 1
budget: {trials: 6}             | budget: {items: 100}         | a budget of 100 items is too small: 4 references and ten candidates take
budget: {trials: 6}             | budget: {trails: 5}          | budget.trails: unknown key; did you mean 'trials'
budget: {trials: 6}             | objectives: {a: {task: sum}} | objectives.a.*'sum'.*did you mean 'sums'
budget: {trials: 6}             | objectives: {a: {task: sums, metric: ac}} | objectives: .*'ac'.*acc
budget: {trials: 6}             | objectives: {a: {mean: [{task: sums}, {task: lines}]}} | objectives: objective 'a' averages different metrics
budget: {trials: 6}             | objectives: {number: {task: sums}} | objectives.number.*column
budget: {trials: 6}             | objectives: {alpha.weight: {task: sums}} | alpha.weight.*parameter
budget: {trials: 6}             | winner: {rule: task, task: x} | winner.task.*'x'.*objectives: sums, lines
budget: {trials: 6}             | winner: {rule: weighted}     | winner.*needs `weights`
merge_method: ties              | merge_method: tise           | study.yaml:3:17 recipe.merge_method.*did you mean 'ties'
range: [0.0, 1.0], start: 0.5   | range: [1.0, 0.0], start: 0.5 | study.yaml:7:36 .*models\\[0\\].parameters.weight.range: expected low below high
range: [0.0, 1.0], start: 0.5   | range: [0.0, 1.0], start: 2  | models\\[0\\].parameters.weight.start.*2
range: [0.1, 0.9]               | range: [0.1, 1.9]            | models\\[0\\].parameters.density.range.*1.9
range: [0.1, 0.9]               | rnage: [0.1, 0.9]            | 'rnage'.*did you mean 'range'
density: 0.5}                   | denisty: 0.5}                | models\\[1\\].parameters.*denisty.*did you mean 'density'
density: 0.5}                   | density: 0.5, density: 0.5}  | the key `density` is given twice, in line 9 and in line 9
model: alpha                    | model: alhpa                 | alhpa: neither a folder .* nor a model
model: alpha                    | model: ./alhpa               | alhpa: no folder at
dtype: bfloat16                 | dtype: bfloat61              | dtype.*bfloat16
""".strip().splitlines()  # noqa: E501


def refused(bench, *arguments: object, message: str = ""):
    """The one message of a command that exits with 2 and leaves nothing."""
    before = sorted(path.name for path in bench.folder.iterdir())
    result = bench.call(*arguments)
    told = result.stderr
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert told.startswith("eutectic: ") and "Traceback" not in told and result.stdout == ""
    assert sorted(path.name for path in bench.folder.iterdir()) == before
    assert_matches(told, message)
    return told


def assert_matches(told: str, message: str) -> None:
    import re

    assert re.search(message, told, re.DOTALL), told


@pytest.mark.parametrize("line", FAULTS, ids=[line.split("|")[1].strip()[:40] for line in FAULTS])
def test_a_fault_of_the_study_file(bench, line: str) -> None:
    old, new, message = (part.strip() for part in line.split(" | "))
    bench.change((old, new))
    told = refused(bench, "search", bench.study, message=message)
    assert told.count("\n") == 1


def test_what_check_refuses_search_refuses_in_the_same_words(bench) -> None:
    bench.change(("budget: {trials: 6}", "budget: {items: 100}"))
    assert refused(bench, "check", bench.study) == refused(bench, "search", bench.study)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "study.yaml.*empty"),
        ("name: [", "study.yaml:.*"),
        ("- a\n- b\n", "study.yaml.*"),
        ("merge_method: ties\n", "'name' is missing|unknown key"),
        ("name: a\nrecipe: 3\ntasks: []\n", "recipe.*"),
    ],
)
def test_a_file_that_is_no_study(bench, text: str, message: str) -> None:
    bench.study.write_text(text)
    refused(bench, "search", bench.study, message=message)


def test_a_path_where_nothing_is(bench) -> None:
    refused(bench, "search", "nowhere.yaml", message="nowhere.yaml: no such file")
    refused(bench, "search", bench.folder, message="is a folder")
    refused(bench, "check", "nowhere.yaml", message="nowhere.yaml: no such file")
    refused(bench, "init", "nowhere.yaml", message="nowhere.yaml: no such file")
    refused(bench, "merge", "nowhere.yaml", "out", message="nowhere.yaml: no such file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "sums.jsonl.*(empty|no rows)"),
        ("\n\n", "sums.jsonl.*(empty|no rows)"),
        ('{"question": "a"', "sums.jsonl:1.*"),
        ('{"question": "a", "choices": ["a", "b"], "answer": 7}\n' * 40, "sums.jsonl:1.*7"),
        ('{"question": "a", "choices": [], "answer": 0}\n' * 40, "sums.jsonl:1.*choices"),
        ("\x00\x01", "sums.jsonl"),
    ],
)
def test_a_task_file_that_holds_no_questions(bench, content: str, message: str) -> None:
    (bench.folder / "sums.jsonl").write_text(content)
    refused(bench, "search", bench.study, message=message)


def test_too_few_groups_in_a_split(bench) -> None:
    bench.change(("    answer: answer", "    answer: answer\n    limit: 20"))
    refused(
        bench, "search", bench.study, message="study.yaml:13:5 task 'sums': split 'search' has"
    )


def other_expert(bench, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """Replaces alpha by a folder of its own whose tensors are changed."""
    place = (bench.folder / "alpha").resolve()
    (bench.folder / "alpha").unlink()
    shutil.copytree(place, bench.folder / "alpha")
    file = bench.folder / "alpha" / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    return bench.folder / "alpha"


def test_a_nan_in_an_expert(bench) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.up_proj.weight"][3, 4] = torch.nan

    other_expert(bench, spoil)
    message = "alpha: tensor 'model.layers.1.mlp.up_proj.weight' contains NaN or Inf"
    refused(bench, "search", bench.study, message=message)
    refused(bench, "check", bench.study, message=message)


def test_an_expert_of_another_shape(bench) -> None:
    def widen(tensors: dict[str, torch.Tensor]) -> None:
        name = "model.layers.0.mlp.up_proj.weight"
        tensors[name] = torch.cat([tensors[name], tensors[name]])

    other_expert(bench, widen)
    refused(bench, "search", bench.study, message="up_proj.*64.*32|up_proj.*32.*64")


def test_an_expert_of_another_vocabulary(bench) -> None:
    def grow(tensors: dict[str, torch.Tensor]) -> None:
        name = "model.embed_tokens.weight"
        tensors[name] = torch.cat([tensors[name], tensors[name][:3]])

    folder = other_expert(bench, grow)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 67}))
    refused(bench, "search", bench.study, message="67.*64|64.*67")


def test_an_expert_with_a_layer_missing(bench) -> None:
    def cut(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if ".layers.2." in name]:
            del tensors[name]

    other_expert(bench, cut)
    refused(bench, "search", bench.study, message="alpha.*layer")


def test_weights_that_are_a_pickle(bench) -> None:
    folder = other_expert(bench, lambda tensors: None)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    refused(bench, "search", bench.study, message="alpha.*--allow-pickle")
    assert bench.search("--allow-pickle", "--trials", 1).exit_code == 0
    assert bench.call("verify", bench.run, "--allow-pickle").exit_code == 0
    out = bench.folder / "out"
    exported = bench.call("export", bench.run, "--trial", 0, "--weights", out, "--allow-pickle")
    assert exported.exit_code == 0, exported.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampler", "gpp"], "'gpp'.*did you mean 'gp'"),
        (["--items", "50"], "a budget of 50 items is too small"),
        (["--device", "cuda:77"], "--device cuda:77"),
        (["--device", "toaster"], "--device toaster"),
        (["--dtype", "float61"], "--dtype float61"),
        (["--from", "elsewhere"], "elsewhere: no such run folder"),
        (["--map", "alpha"], "expected NAME=PATH"),
        (["--map", "alpha=./none"], "./none does not exist"),
        (["--workers", "2", "--executor", "inline"], "inline is one worker, in this process"),
        (["--address", "auto"], "give --executor ray too"),
        (["--lease", "5"], "--lease is for workers; give --executor process or ray too"),
        (["--storage", "sqlite:///x.db"], "--storage"),
        (["--out", "sums.jsonl"], "sums.jsonl.*choose another --out"),
        (["--out", "."], "holds other things and no run"),
        (["--fresh", "--out", "."], "holds other things and no run"),
    ],
)
def test_a_fault_of_the_command_line(bench, arguments: list[str], message: str) -> None:
    refused(bench, "search", bench.study, *arguments, message=message)


def test_nothing_heavy_is_loaded_for_a_fault(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("merging.loading.load_model", loaded)
    refused(bench, "search", bench.study, "--items", "50")
    with pytest.raises(AssertionError, match="loaded"):
        raise bench.search().exception or RuntimeError("not loaded")
