"""lm-eval is loaded only where a study names a task of its, and then nobody hears of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOISY = """\
task: own_noise
dataset_path: json
dataset_kwargs: {data_files: {train: rows.jsonl}}
output_type: generate_until
training_split: train
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {max_gen_toks: 4}
num_fewshot: 1
process_results: !function loud.score
metric_list:
  - {metric: bleu}
  - {metric: exact_match}
"""
LOUD = """\
import logging
import warnings

logging.getLogger("lm_eval").warning("a module of the task is loaded")
print("a module of the task prints")


def score(doc, results):
    logging.getLogger("lm_eval.tasks").warning("an item is scored")
    logging.getLogger("sacrebleu").warning("an item is scored")
    return {"bleu": (doc["question"], results[0]), "exact_match": 0.0}
"""


def command(bench, *arguments: object) -> tuple[str, str, bool]:
    """Standard output and error of a command, and whether it loaded lm-eval."""
    code = (
        "import sys\n"
        "from studies.cli import main\n"
        f"sys.argv = ['eutectic', *{[str(one) for one in arguments]!r}]\n"
        "try:\n    main()\n"
        "finally:\n    open('loaded', 'w').write(str('lm_eval' in sys.modules))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=bench.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert found.returncode == 0, found.stderr
    return found.stdout, found.stderr, (bench.folder / "loaded").read_text() == "True"


def test_a_native_study_does_not_load_lm_eval(bench) -> None:
    arguments = ("evaluate", "alpha", "--study", bench.study, "--threads", 1, "--json")
    stdout, stderr, loaded = command(bench, *arguments)
    assert json.loads(stdout)["tasks"]["sums"]["acc"]["items"] == 50
    assert not loaded and stderr == ""


def test_of_lm_eval_nothing_is_heard(bench) -> None:
    tasks = bench.folder / "tasks"
    tasks.mkdir()
    (tasks / "noise.yaml").write_text(NOISY)
    (tasks / "loud.py").write_text(LOUD)
    (bench.folder / "sums.jsonl").rename(tasks / "rows.jsonl")
    start, end = bench.text.index("  - name: sums"), bench.text.index("  - name: lines")
    own = "  - {name: sums, lm_eval: own_noise, include_path: tasks/, fewshot: 2}\n"
    bench.change((bench.text[start:end], own))
    allow = ("--allow-code", "tasks/noise.yaml")
    arguments = ("evaluate", "alpha", "--study", bench.study, "--threads", 1, "--json", *allow)
    stdout, stderr, loaded = command(bench, *arguments)
    scores = json.loads(stdout)["tasks"]["sums"]
    assert list(scores) == ["bleu", "exact_match"] and scores["bleu"]["items"] == 50
    assert loaded and stderr == ""
    stdout, stderr, _ = command(bench, "check", bench.study, *allow)
    assert "No fault found." in stdout and "warning: Task" in stderr
    assert not any(word in stdout + stderr for word in ("Task: own", "loaded", "scored", "prints"))
