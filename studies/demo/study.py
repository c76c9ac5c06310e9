"""The study of the embedded model family, as a user would write it."""

from collections.abc import Sequence

HEAD = """\
# The study that `eutectic demo` runs: how much of each expert, in early and in late layers?
name: demo
recipe:
  merge_method: task_arithmetic
  base_model: ./base
  models:
"""
MODEL = """\
    - model: ./{name}
      parameters:
        weight: {{range: [0.0, 1.2], anchors: 2}}
"""
TASK = """\
  - name: {name}
    file: tasks/{name}.jsonl
    type: multiple_choice
    prompt: "{{{{question}}}} ="
    choices: choices
    answer: answer
    stratum: symbols
"""
FOOT = """\
# Trials need few items to be fast, a claim needs many.
split: {{calibration: 0.1, search: 0.3, select: 0.2, test: 0.4}}
budget: {{trials: {trials}}}
sampler: auto
seed: 0
"""


def study_text(skills: Sequence[str], trials: int) -> str:
    """A study file: each skill has an expert in a folder, and a file in tasks/, of its name."""
    models = "".join(MODEL.format(name=name) for name in skills)
    tasks = "".join(TASK.format(name=name) for name in skills)
    return f"{HEAD}{models}  dtype: float32\ntasks:\n{tasks}{FOOT.format(trials=trials)}"
