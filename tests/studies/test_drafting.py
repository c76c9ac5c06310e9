"""`init` from models and questions: columns are understood, and `check` accepts the study."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import Result

from evaluation.examples import make_reader
from evaluation.native import columns_of, numbered, read_rows
from evaluation.spec import NativeSpec
from studies.drafting.questions import draft_tasks
from studies.drafting.sizes import sizes_of
from studies.errors import StudyError

Rows = Sequence[Mapping[str, object]]


def write(path: Path, rows: Rows) -> Path:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist([dict(one) for one in rows]), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def drafted(path: Path, rows: Rows, *, chat: bool = False) -> dict[str, Any]:
    return draft_tasks([str(write(path, rows))], path.parent, chat)[0].data


def many(count: int, **columns: Any) -> list[dict[str, object]]:
    """Rows; a column is a function of the row's number, or the same everywhere."""
    return [
        {name: one(row) if callable(one) else one for name, one in columns.items()}
        for row in range(count)
    ]


def letter(row: int) -> str:
    return "ABC"[row % 3]


def two(row: int) -> list[str]:
    return [f"a{row}", f"b{row}"]


def three(row: int) -> list[str]:
    return [*two(row), f"c{row}"]


CHOICES = {
    "list and index": ({"choices": two, "answer": lambda r: r % 2}, "jsonl"),
    "list and letter": ({"options": three, "label": letter}, "jsonl"),
    "list and text": ({"choices": two, "answer": lambda r: f"b{r}"}, "jsonl"),
    "nested": (
        {
            "choices": lambda r: {"text": two(r), "label": ["A", "B"]},
            "answerKey": lambda r: "AB"[r % 2],
        },
        "parquet",
    ),
    "columns and letter": (
        {"A": lambda r: f"a{r}", "B": lambda r: f"b{r}", "C": lambda r: f"c{r}", "answer": letter},
        "csv",
    ),
    "columns from 1": (
        {"choice1": lambda r: f"a{r}", "choice2": lambda r: f"b{r}", "label": lambda r: r % 2 + 1},
        "csv",
    ),
    "list and index from 1": ({"choices": two, "answer": lambda r: r % 2 + 1}, "jsonl"),
    "list of numbers": ({"choices": ["2", "3", "1"], "answer": lambda r: str(r + 1)}, "jsonl"),
    "right and wrong": (
        {"correct_answer": lambda r: f"a{r}", "distractor1": "no", "distractor2": "never"},
        "jsonl",
    ),
}  # fmt: skip
RIGHT = {
    "list and index": ["a0", "b1", "a2"],
    "list and letter": ["a0", "b1", "c2"],
    "list and text": ["b0", "b1", "b2"],
    "nested": ["a0", "b1", "a2"],
    "columns and letter": ["a0", "b1", "c2"],
    "columns from 1": ["a0", "b1", "a2"],
    "list and index from 1": ["a0", "b1", "a2"],
    "list of numbers": ["1", "2", "3"],
    "right and wrong": ["a0", "a1", "a2"],
}


@pytest.mark.parametrize("answer", [lambda r: r % 3, 5, None, "neither"])
def test_choices_whose_answer_names_none_are_not_taken_for_free_text(tmp_path, answer) -> None:
    rows = many(3, question="What?", choices=two, answer=answer)
    with pytest.raises(StudyError, match="the nearest, multiple_choice"):
        drafted(tmp_path / "q.jsonl", rows)


def test_choices_without_a_known_question_are_told(tmp_path: Path) -> None:
    rows = many(3, q="What?", choices=two, answer=0)
    draft = draft_tasks([str(write(tmp_path / "q.jsonl", rows))], tmp_path, False)[0]
    assert "prompt" not in draft.data and "add `prompt`" in " ".join(draft.notes)


@pytest.mark.parametrize("kind", CHOICES)
def test_choices_in_many_forms(tmp_path: Path, kind: str) -> None:
    columns, suffix = CHOICES[kind]
    rows = many(3, question=lambda r: f"What is {r}?", **columns)
    data = drafted(tmp_path / f"q.{suffix}", rows)
    assert data["type"] == "multiple_choice"
    assert data["prompt"] == "Question: {{question}}\nAnswer:"
    keys = {name: data[name] for name in ("type", "prompt", "answer")}
    choices = data["choices"]
    spec = NativeSpec(
        "q",
        tmp_path / f"q.{suffix}",
        choices=tuple(choices) if isinstance(choices, list) else choices,
        **keys,
    )
    read = [row for _, row in numbered(read_rows(spec.file))]
    reader = make_reader(spec, columns_of(iter(read)))
    assert [reader(row).reference for row in read] == RIGHT[kind]


@pytest.mark.parametrize(
    ("columns", "prompt", "target"),
    [
        ({"question": "why?", "answer": "so"}, "Question: {{question}}\nAnswer:", "answer"),
        ({"prompt": "It is", "completion": "so"}, "{{prompt}}", "completion"),
        ({"instruction": "Add", "input": "1 2", "output": "3"},
         "{{instruction}}{% if input %}\n{{input}}{% endif %}\n", "output"),
        ({"context": "A.", "question": "why?", "answer": "so"},
         "{{context}}\n\nQuestion: {{question}}\nAnswer:", "answer"),
        ({"text": "plain"}, None, "text"),
        ({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                       {"role": "assistant", "content": "a"}]},
         "{{ messages[1].content }}", "{{ messages[2].content }}"),
    ],
)  # fmt: skip
def test_texts_in_many_forms(tmp_path: Path, columns, prompt: str | None, target: str) -> None:
    data = drafted(tmp_path / "t.jsonl", many(3, **columns))
    assert (data["type"], data.get("prompt"), data["target"]) == ("loglikelihood", prompt, target)


def test_with_a_chat_template_the_question_stands_alone(tmp_path: Path) -> None:
    rows = many(3, question="why?", answer="so")
    data = drafted(tmp_path / "t.jsonl", rows, chat=True)
    assert data["prompt"] == "{{question}}" and data["chat_template"] is True
    plain = drafted(tmp_path / "p.jsonl", many(3, text="so"), chat=True)
    assert "chat_template" not in plain


def test_groups_and_strata_where_a_column_plainly_is_one(tmp_path: Path) -> None:
    rows = many(
        200, text=lambda r: f"t{r}", passage_id=lambda r: r // 2, kind=lambda r: "ab"[r % 2]
    )
    data = drafted(tmp_path / "t.jsonl", rows)
    assert (data["group"], data["stratum"]) == ("passage_id", "kind")
    few = many(200, text=lambda r: f"t{r}", scene=lambda r: r // 10, kind=lambda r: r)
    draft = draft_tasks([str(write(tmp_path / "few.jsonl", few))], tmp_path, False)[0]
    assert "group" not in draft.data and "stratum" not in draft.data
    assert any("20 are too few" in note for note in draft.notes)


@pytest.mark.parametrize(
    ("rows", "split", "words"),
    [
        (200, None, ""),
        (120, {"calibration": 0.1, "search": 0.4, "select": 0.2, "test": 0.3}, "larger share"),
        (80, None, "no claim"),
        (50, {"calibration": 0.0, "search": 0.4, "select": 0.3, "test": 0.3}, "gradients"),
        (
            26,
            {"calibration": 0.0, "search": 0.5, "select": 0.5, "test": 0.0},
            "nothing is claimed",
        ),
    ],
)
def test_a_split_that_the_rows_allow(tmp_path: Path, rows: int, split, words: str) -> None:
    path = write(tmp_path / "t.jsonl", many(rows, text=lambda r: f"text {r}"))
    sizes = sizes_of(draft_tasks([str(path)], tmp_path, False), references=4)
    assert sizes.split == split and words in sizes.split_note


def test_too_few_rows_and_too_many(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", many(12, text=lambda r: f"text {r}"))
    with pytest.raises(StudyError, match="'t' has 12 rows"):
        sizes_of(draft_tasks([str(path)], tmp_path, False), references=4)
    path = write(tmp_path / "m.jsonl", many(1500, text=lambda r: f"text {r}"))
    draft = draft_tasks([str(path)], tmp_path, False)[0]
    assert draft.data["limit"] == 1000 and len(draft.groups) == 1000
    assert "1,500 rows" in draft.notes[0]


def started(bench, *arguments: object) -> Result:
    return bench.call(
        "init", "--base", "base", "--expert", "alpha", "--expert", "beta", *arguments
    )


def test_one_line_makes_a_study_that_is_checked_and_searched(bench) -> None:
    rows = many(60, question=lambda r: f"{r} + 1 =", choices=lambda r: [str(r + 1), "x"], answer=0)
    write(bench.folder / "many.jsonl", rows)
    (bench.folder / "studies").mkdir()
    study = bench.folder / "studies" / "mine.yaml"
    made = started(bench, "--task", "a=many.jsonl", "--task", "lines.jsonl", "-o", study)
    assert made.exit_code == 0, made.output
    data = yaml.safe_load(study.read_text())
    assert data["recipe"]["base_model"] == "../base"
    assert [one["name"] for one in data["tasks"]] == ["a", "lines"]
    assert data["tasks"][0]["file"] == "../many.jsonl"
    assert data["tasks"][0]["chat_template"] is True  # the pico family has a template
    checked = bench.call("check", study, "--json")
    assert checked.exit_code == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert found["may_begin"] and found["faults"] == []
    assert {"uniform", "alpha", "beta"} <= set(found["warm_starts"])
    searched = bench.call(
        "search", study, "--trials", 4, "--quiet", "--out", "run", "--threads", 1
    )
    assert searched.exit_code == 0, searched.output


@pytest.mark.parametrize("method", ["ties", "della", "slerp", "nuslerp", "sce", "breadcrumbs"])
def test_every_kind_of_method_makes_a_study(bench, method: str) -> None:
    experts = ["--expert", "alpha"] + ([] if method == "slerp" else ["--expert", "beta"])
    arguments = ["--base", "base", *experts, "--method", method, "--task", "lines.jsonl"]
    assert bench.call("init", *arguments, "-o", "m.yaml").exit_code == 0
    checked = bench.call("check", "m.yaml", "--json")
    assert checked.exit_code == 0, checked.stderr
    assert json.loads(checked.stdout)["parameters_that_do_nothing"] == []


def test_without_a_base_the_mean_is_searched(bench) -> None:
    arguments = ["--expert", "alpha", "--expert", "beta", "--task", "lines.jsonl", "-o", "m.yaml"]
    assert bench.call("init", *arguments).exit_code == 0
    assert (
        yaml.safe_load((bench.folder / "m.yaml").read_text())["recipe"]["merge_method"] == "linear"
    )
    assert json.loads(bench.call("check", "m.yaml", "--json").stdout)["dimensions"] == 1


def adapter(folder: Path) -> Path:
    """A LoRA of rank 2 on one projection of the pico family."""
    folder.mkdir()
    prefix = "base_model.model.model.layers.1.self_attn.q_proj"
    tensors = {
        f"{prefix}.lora_A.weight": torch.ones(2, 16),
        f"{prefix}.lora_B.weight": torch.ones(16, 2),
    }
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "rank_pattern": {}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_an_adapter_is_an_expert_of_the_base(bench) -> None:
    adapter(bench.folder / "lora")
    arguments = ["--base", "base", "--expert", "lora", "--task", "lines.jsonl", "-o", "m.yaml"]
    assert bench.call("init", *arguments).exit_code == 0
    data = yaml.safe_load((bench.folder / "m.yaml").read_text())
    assert data["recipe"]["models"][0]["model"] == "./base+./lora"
    assert bench.call("check", "m.yaml").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a RECIPE .* or models"),
        (["r.yml", "--base", "base"], "names its own models"),
        (["--base", "base"], "--expert: at least one"),
        (["--base", "base", "--expert", "./nobody"], "no such folder"),
        (["--base", "base", "--expert", "empty"], "has no config.json"),
        (["--base", "base", "--expert", "alpha", "--expert", "alpha"], "given twice"),
        (["--base", "base", "--expert", "alpha", "--method", "slrp"], "did you mean 'slerp'"),
        (["--base", "base", "--expert", "alpha", "--method", "arcee_fusion"], "no number"),
        (["--expert", "alpha", "--expert", "beta", "--method", "ties"], "needs --base"),
        (["--base", "base", "--expert", "alpha", "--task", "arc_eazy"], "mean 'arc_easy'"),
        (["--base", "base", "--expert", "alpha", "--task", "no.jsonl"], "does not exist"),
        (["--base", "base", "--expert", "alpha", "--task", "odd.jsonl"],
         r"columns are not understood \(answer, choices\).*fails.*7 is no index"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood(bench, arguments: list[str], message: str) -> None:
    (bench.folder / "empty").mkdir()
    (bench.folder / "r.yml").write_text("merge_method: linear\n")
    write(bench.folder / "odd.jsonl", many(3, choices=["a", "b"], answer=7))
    result = bench.call("init", *arguments)
    assert result.exit_code == 2 and result.stdout == ""
    assert re.search(message, result.stderr), result.stderr


def test_a_task_of_lm_evals_by_name(bench) -> None:
    made = started(bench, "--task", "arc_easy")
    assert made.exit_code == 0, made.output
    assert yaml.safe_load(made.stdout)["tasks"] == [{"name": "arc_easy", "lm_eval": "arc_easy"}]
