"""A benchmark's own test split: sealed on request, searched on only if allowed, and told."""

import json
import random

import pytest

from search.ledger import Ledger
from studies.card import model_card
from studies.show import run_view

TASK = """\
task: own_sums
dataset_path: json
dataset_kwargs: {data_files: {validation: rows.jsonl, test: test.jsonl}}
output_type: multiple_choice
VALIDATION
test_split: test
doc_to_text: "{{question}}"
doc_to_target: answer
doc_to_choice: choices
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
ALLOW = ("--allow-code", "tasks/own.yaml")


@pytest.fixture
def benchmark(bench):
    """The bench with an lm-eval task of 50 validation and 35 test documents for `sums`."""
    tasks = bench.folder / "tasks"
    tasks.mkdir()
    (tasks / "own.yaml").write_text(TASK.replace("VALIDATION", "validation_split: validation"))
    (bench.folder / "sums.jsonl").rename(tasks / "rows.jsonl")
    draw = random.Random(1)
    rows = [
        {"question": f"{n} - 1 =", "choices": [str(n - 1), str(n), "0"], "answer": 0}
        for n in draw.sample(range(10, 99), 34)
    ]
    again = json.loads((tasks / "rows.jsonl").read_text().splitlines()[0])
    lines = [json.dumps(row) + "\n" for row in (*rows, again)]
    (tasks / "test.jsonl").write_text("".join(lines))
    return bench


def name_task(bench, more: str = "") -> None:
    start, end = bench.text.index("  - name: sums"), bench.text.index("  - name: lines")
    own = f"  - {{name: sums, lm_eval: own_sums, include_path: tasks/{more}}}\n"
    bench.change((bench.text[start:end], own))


def told(bench) -> tuple[str, str]:
    """The report and the card."""
    view = run_view(bench.run)
    assert view.winner is not None
    card = model_card(view, view.winner.recipe_yaml, "base")
    return (bench.run / "report.html").read_text(), card


def test_an_official_test_split_is_sealed_and_told(benchmark) -> None:
    name_task(benchmark, ", test: official")
    checked = json.loads(benchmark.call("check", benchmark.study, "--json", *ALLOW).stdout)
    sizes = dict(part.split() for part in checked["task_sums"].split(", "))
    assert sizes["test"] == "35" and sizes["calibration"] == "0"
    assert int(sizes["search"]) + int(sizes["select"]) == 49  # one document is in both
    assert int(sizes["search"]) in range(26, 31)  # 4 of 7
    result = benchmark.search("--json", *ALLOW)
    assert result.exit_code == 0, result.stderr
    for text in told(benchmark):
        assert "the test split is the benchmark" in text and "searched on its official" not in text
    with Ledger(f"sqlite:///{benchmark.run / 'study.db'}") as ledger:
        hashes = {
            one.recipe_hash: one.kind == "reference"
            for kind in ("trial", "reference")
            for one in ledger.candidates(kind)
        }
        settings = ledger.meta("settings")
        scored = {
            reference: sum(
                any(key.startswith("test/") for key, _ in ledger.results(one, settings, "sums"))
                for one, is_reference in hashes.items()
                if is_reference == reference
            )
            for reference in (True, False)
        }
    assert scored[True] >= 3 and scored[False] <= 1  # the references, and the winner if a trial
    assert benchmark.call("verify", benchmark.run, *ALLOW).exit_code == 0


def test_other_splits_than_validation_are_none_of_the_officials(benchmark) -> None:
    for more, message in (
        (", test: official, docs: test", "`docs` is train or validation"),
        (", test: official, docs: train", "no split or column"),
    ):
        name_task(benchmark, more)
        refused = benchmark.call("check", benchmark.study, *ALLOW)
        assert refused.exit_code == 2 and message in refused.stderr
    (benchmark.folder / "tasks" / "own.yaml").write_text(TASK.replace("VALIDATION\n", ""))
    name_task(benchmark, ", test: official")
    refused = benchmark.call("check", benchmark.study, *ALLOW, "--allow-benchmark-test")
    assert refused.exit_code == 2 and "nothing but a test split" in refused.stderr


def test_a_search_on_a_test_split_is_allowed_by_flag_and_marked(benchmark) -> None:
    (benchmark.folder / "tasks" / "own.yaml").write_text(TASK.replace("VALIDATION\n", ""))
    name_task(benchmark)
    refused = benchmark.search(*ALLOW)
    assert refused.exit_code == 2 and "--allow-benchmark-test" in refused.stderr
    assert benchmark.search(*ALLOW, "--allow-benchmark-test").exit_code == 0
    for text in told(benchmark):
        assert "Task sums was searched on its official test split" in text
    assert benchmark.call("verify", benchmark.run, *ALLOW).exit_code == 0


def test_a_group_is_searched_and_its_official_test_splits_are_sealed(benchmark) -> None:
    tasks = benchmark.folder / "tasks"
    (tasks / "briefly.yaml").write_text(
        'include: own.yaml\ntask: own_sums_briefly\ndoc_to_text: "{{question[:-2]}} is"\n'
    )
    (tasks / "both.yaml").write_text(
        "group: both\ntask: [own_sums, own_sums_briefly]\n"
        "aggregate_metric_list: [{metric: acc, weight_by_size: false}]\n"
    )
    name_task(benchmark, ", test: official")
    benchmark.study.write_text(benchmark.study.read_text().replace("own_sums", "both"))
    allow = ("--allow-code", "tasks/both.yaml")
    result = benchmark.search("--json", *allow)
    assert result.exit_code == 0, result.stderr
    assert list(json.loads(result.stdout)["winner"]["test"]["sums"]) == ["acc"]
    view = run_view(benchmark.run)
    sizes = view.tasks["sums"]
    assert sizes["test"] == 70 and sizes["search"] + sizes["select"] == 98
    assert sizes["search"] % 2 == 0  # a question's two forms are never parted
    assert benchmark.call("verify", benchmark.run, *allow).exit_code == 0
