"""A study file read: every key arrives, defaults are those of the design, the folder is kept."""

import json
from pathlib import Path

import pytest

from evaluation.spec import Fewshot, LmEvalSpec, NativeSpec
from search.objectives import Budget, ConstraintSpec, MetricRef, ObjectiveSpec
from studies.config import Study, read_study
from studies.errors import StudyError

WHOLE = """\
name: skills
recipe: {merge_method: ties, base_model: base, models: [{model: a}]}
tasks:
  - name: logic
    file: tasks/logic.jsonl
    type: multiple_choice
    prompt: "Q: {{question}}"
    choices: choices
    answer: answer
    stratum: kind
    fewshot: {n: 3, from: shots.jsonl, same: true}
    chat_template: true
    system: Be brief.
    description: Think.
    limit: 100
  - {name: fixed, file: f.csv, type: multiple_choice, choices: ["y", "n"], answer: a, fewshot: 2}
  - {name: code, file: /abs/code.parquet, type: loglikelihood, target: text, group: file}
  - name: free
    file: free.jsonl
    type: generate
    prompt: "{{q}}"
    score: scorers.py:right
    until: "\\n"
    max_new_tokens: 7
    extract: "(\\\\d+)"
  - {name: ours, lm_eval: our_task, include_path: tasks/, fewshot: 3, docs: validation}
objectives:
  logic: {task: logic, metric: acc}
  rest: {mean: [{task: code}, {task: free, metric: exact_match}]}
constraints:
  - {task: code, metric: bits_per_byte, max_drop: 0.02, from: best_parent}
  - {task: logic, min: 0.25, max: 0.9}
split: {calibration: 0.1, search: 0.5, select: 0.2, test: 0.2}
winner: {rule: weighted, weights: {logic: 2, rest: 1.0}}
budget: {trials: 40, items: 9000, minutes: 1.5}
sampler: tpe
seed: 7
"""
SMALL = """\
name: x
recipe: {}
tasks: [{name: t, file: t.jsonl, type: loglikelihood, target: text}]
"""


def read(tmp_path: Path, text: str) -> Study:
    (tmp_path / "study.yaml").write_text(text)
    return read_study(tmp_path / "study.yaml")


def test_every_key_arrives(tmp_path: Path) -> None:
    study = read(tmp_path, WHOLE)
    assert (study.name, str(study.sampler), study.seed, study.folder) == (
        "skills",
        "tpe",
        7,
        tmp_path,
    )
    logic, fixed, code, free, ours = study.tasks
    assert isinstance(logic, NativeSpec) and isinstance(ours, LmEvalSpec)
    assert logic.file == tmp_path / "tasks/logic.jsonl"
    assert logic.fewshot == Fewshot(n=3, file=tmp_path / "shots.jsonl", same=True)
    assert (logic.chat_template, logic.system, logic.description) == (True, "Be brief.", "Think.")
    assert (logic.choices, logic.answer, logic.stratum, logic.limit) == (
        "choices", "answer", "kind", 100,
    )  # fmt: skip
    assert logic.place.endswith("study.yaml:4:5")
    assert isinstance(fixed, NativeSpec) and fixed.choices == ("y", "n")
    assert fixed.fewshot == Fewshot(n=2)
    assert isinstance(code, NativeSpec) and code.file == Path("/abs/code.parquet")
    assert code.group == "file"
    assert isinstance(free, NativeSpec) and free.until == ("\n",) and free.max_new_tokens == 7
    assert free.score == str(tmp_path / "scorers.py:right") and free.extract == "(\\d+)"
    assert (ours.task, ours.include_path, ours.fewshot, ours.docs) == (
        "our_task", tmp_path / "tasks", 3, "validation",
    )  # fmt: skip
    assert study.objectives == (
        ObjectiveSpec("logic", (MetricRef("logic", "acc"),)),
        ObjectiveSpec("rest", (MetricRef("code"), MetricRef("free", "exact_match"))),
    )
    assert study.constraints == (
        ConstraintSpec(MetricRef("code", "bits_per_byte"), 0.02, None, None, "best_parent"),
        ConstraintSpec(MetricRef("logic"), None, 0.25, 0.9, "base"),
    )
    assert study.split == {"calibration": 0.1, "search": 0.5, "select": 0.2, "test": 0.2}
    assert (study.rule, study.weights, study.rule_task) == (
        "weighted", {"logic": 2, "rest": 1.0}, None,
    )  # fmt: skip
    assert study.budget == Budget(40, 9000, 1.5)


def test_defaults(tmp_path: Path) -> None:
    study = read(tmp_path, SMALL)
    assert study.objectives == (ObjectiveSpec("t", (MetricRef("t"),)),)
    assert study.split == {"calibration": 0.15, "search": 0.45, "select": 0.2, "test": 0.2}
    assert (study.rule, str(study.sampler), study.seed) == ("maximin", "auto", 0)
    assert study.constraints == () and study.budget == Budget(None, None, None)


def test_json_is_yaml_too(tmp_path: Path) -> None:
    data = {"name": "x", "recipe": {}, "tasks": [
        {"name": "t", "file": "t.jsonl", "type": "loglikelihood", "target": "text"}]}  # fmt: skip
    assert read(tmp_path, json.dumps(data)).name == "x"


TASK = "{name: t, file: t.jsonl, type: loglikelihood, target: text}"
FAULTS = [
    ("name: x", "name: ../x", r"study.yaml:1:7 name: "),
    ("name: x", "name: 3", r"name: Input should be a valid string, got 3"),
    ("recipe: {}", "recipe: []", r"recipe: .*dictionary"),
    ("recipe: {}", "recipe: {}\nseed: -1", r"seed: .*greater than or equal to 0"),
    ("recipe: {}", "recipe: {}\nseed: true", r"seed: .*integer, got True"),
    ("recipe: {}", "recipe: {}\nbudget: {minutes: 0}", r"budget.minutes: .*greater than 0"),
    ("recipe: {}", "recipe: {}\nbudget: {minutes: .inf}", r"budget.minutes: .*finite"),
    ("recipe: {}", "recipe: {}\nsplit: {test: 1.5}", r"split.test: .*less than or equal to 1"),
    ("recipe: {}", "recipe: {}\nsplit: {tset: 0.2}",
     r"split.tset: unknown key; did you mean 'test'"),
    ("recipe: {}", "recipe: {}\nwinner: {rule: best}", r"winner.rule: .*'maximin'"),
    ("recipe: {}", "recipe: {}\nwinner: {rule: task}",
     r"winner: the rule `task` needs `task: NAME`"),
    ("recipe: {}", "recipe: {}\nwinner: {rule: weighted, weights: {t: 0}}", r"positive sum"),
    ("recipe: {}", "recipe: {}\nwinner: {rule: weighted, weights: {x: 1}}", r"objectives: t"),
    ("recipe: {}", "recipe: {}\nobjectives: {a: {mean: []}}", r"objectives.a.mean: .*at least 1"),
    ("recipe: {}", "recipe: {}\nobjectives: {a: {maen: [{task: t}]}}",
     r"a.maen.*did you mean 'mean'"),
    ("recipe: {}", "recipe: {}\nobjectives: {a: {mean: [{taks: t}]}}",
     r"a.mean\[0\].taks: unknown key; did you mean 'task'"),
    ("recipe: {}", "recipe: {}\nobjectives: {a: {mean: [{task: x}]}}", r"no task is named 'x'"),
    ("recipe: {}", "recipe: {}\nconstraints: [{task: t}]", r"constraints\[0\]: a constraint has"),
    ("recipe: {}", "recipe: {}\nconstraints: [{task: t, max_dorp: 1}]",
     r"did you mean 'max_drop'"),
    (TASK, "{name: t}", r"tasks\[0\]: a task has exactly one of `file` and `lm_eval`"),
    (TASK, "{name: t, file: a, lm_eval: b}", r"tasks\[0\]: a task has exactly one"),
    (TASK, "{name: t, file: a.csv}", r"the key 'type' is missing; one of multiple_choice"),
    (TASK, "{name: t, file: a.csv, type: generate, prompt: p}", r"needs `target`, or `score`"),
    (TASK, "{name: t, file: a.csv, type: loglikelihood}", r"a loglikelihood task needs `target`"),
    (TASK, "{name: t, file: a.csv, docs: test, type: generate}",
     r"a task over a `file` has no `docs`"),
    (TASK, "{name: t, lm_eval: a, choices: c}", r"an lm-eval task has no `choices`"),
    (TASK, "{name: t, lm_eval: a, fewshot: {n: 2}}", r"takes a number; it draws its own"),
    (TASK, "{name: t, lm_eval: a, fewshot: -1}", r"fewshot: .*greater than or equal to 0"),
    (TASK, "{name: t, lm_eval: a, fewshot: x}", r"fewshot: .*valid integer, got 'x'"),
    (TASK, "{name: '', lm_eval: a}", r"tasks\[0\].name: .*at least 1 character"),
    ("tasks: [" + TASK + "]", "tasks: []", r"tasks: .*at least 1 item"),
    ("tasks: [" + TASK + "]", "tasks: {t: 1}", r"tasks: .*valid list"),
    ("tasks: [" + TASK + "]", "", r"the key 'tasks' is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), FAULTS, ids=[new for _, new, _ in FAULTS])
def test_faults_have_their_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(StudyError, match=message) as told:
        read(tmp_path, SMALL.replace(old, new))
    assert str(told.value).startswith(f"{tmp_path / 'study.yaml'}:") and "\n" not in str(
        told.value
    )
