"""What is broken on purpose: a search of some trials over two tasks that takes two seconds.

What is kept between its steps is in it: a race of several looks, gradients if there are trials
enough, a sampler that learns, guesses, a contest on select, the sealed test.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

STUDY = """\
name: broken
recipe:
  merge_method: ties
  base_model: base
  models:
    - model: alpha
      parameters: {weight: {range: [0.0, 1.0], start: 0.5}, density: {range: [0.1, 0.9]}}
    - model: beta
      parameters: {weight: {range: [0.0, 1.0], start: 0.25}, density: 0.5}
  parameters: {normalize: false}
  dtype: bfloat16
tasks:
  - name: sums
    file: sums.jsonl
    type: multiple_choice
    prompt: "{{question}}"
    choices: choices
    answer: answer
  - name: lines
    file: lines.jsonl
    type: loglikelihood
    target: text
split: {calibration: 0.15, search: 0.5, select: 0.2, test: 0.15}
budget: {trials: TRIALS}
sampler: tpe
gradients: on
"""
ROWS = 80


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder with models, tasks and `study.yaml`; `cache` is for all its searches."""

    folder: Path

    @property
    def study(self) -> Path:
        """The study file."""
        return self.folder / "study.yaml"

    @property
    def cache(self) -> Path:
        """Where hashes and compiled kernels are kept."""
        return self.folder / "cache"


def write_models(folder: Path) -> Path:
    """The tests' own pico family, written below a folder."""
    import importlib.util
    import sys

    name = "conftest_of_all_tests"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    root: Path = module.write_family(folder / "family", "bfloat16").root
    return root


def furnish(folder: Path, family: Path, trials: int = 10) -> Bench:
    """A bench in a new folder; `family` holds the models base, alpha and beta.

    There are starting points from gradients from 18 trials on.
    """
    folder.mkdir()
    for name in ("base", "alpha", "beta"):
        (folder / name).symlink_to(family / name, target_is_directory=True)
    draw = random.Random(0)
    sums, lines = [], []
    for _ in range(ROWS):
        one, other, right = draw.randrange(50), draw.randrange(50), draw.randrange(3)
        choices = [str(one + other + shift) for shift in (1, 10, 3)]
        choices[right] = str(one + other)
        sums.append({"question": f"{one} + {other} =", "choices": choices, "answer": right})
        lines.append({"text": "".join(draw.choice("abc de fgh i") for _ in range(20))})
    for name, rows in (("sums", sums), ("lines", lines)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    text = STUDY.replace("TRIALS", str(trials))
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return Bench(folder)
