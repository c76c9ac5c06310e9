"""Golden values: what the real mergekit makes of a grid of recipes, stored for the tests.

mergekit runs in an environment of its own, which nothing else needs:

    python -m venv mk && mk/bin/pip install torch==2.13.0 mergekit==0.1.5
    .venv/bin/python scripts/golden.py --mergekit mk/bin/python

Writes `tests/data/golden`: the pico models, `cases.json` (each recipe, the names of its models,
the shapes of all merged tensors; the versions that made them) and `expected.safetensors` (a
selection of the merged tensors, as `case/tensor`).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import yaml
from golden_cases import Case, method_cases
from golden_models import STORED, write_models
from golden_structure import structure_cases

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "tests/data/golden"


def main() -> None:
    """Writes models, cases and expected tensors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mergekit", required=True, metavar="PYTHON", help="its interpreter")
    parser.add_argument("--only", default="", help="show a run of the cases whose id has this")
    options = parser.parse_args()
    cases = [*method_cases(), *structure_cases()]
    if len({case.id for case in cases}) != len(cases):
        sys.exit("two cases have one id")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_models(folder / "models")
        chosen = [case for case in cases if options.only in case.id]
        outcome = run(options.mergekit, chosen, folder)
        if options.only:
            print(json.dumps(outcome, indent=1))
            return
        store(cases, outcome, folder)


def run(python: str, cases: list[Case], folder: Path) -> dict[str, dict]:
    """All merges in one process of mergekit's interpreter."""
    (folder / "cases.json").write_text(json.dumps([asdict(case) for case in cases]))
    (folder / "out").mkdir()
    command = [python, HERE / "golden_driver.py", "cases.json", "models", "out"]
    quiet = {"HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0", "TQDM_DISABLE": "1"}
    subprocess.run(command, cwd=folder, env={**os.environ, **quiet}, check=True)
    return json.loads((folder / "out/outcome.json").read_text())


def arithmetic(case: Case) -> str:
    """The dtype that mergekit computes in: the recipe's, else what the models' promote to."""
    named = {recipe.get("dtype") for recipe in yaml.safe_load_all(case.recipe)} - {None}
    stored = {STORED[place.split("/")[0]] for place in case.models.values()}
    found = sorted(named or stored)
    return found[-1]  # float32 is the last by name, and the widest


def store(cases: list[Case], outcome: dict[str, dict], folder: Path) -> None:
    """Replaces what the tests read."""
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(folder / "models", TARGET / "models")
    shutil.copyfile(folder / "out/expected.safetensors", TARGET / "expected.safetensors")
    shapes: list[dict[str, list[int]]] = []  # many cases make the same tensors: told once
    entries = []
    for case in cases:
        found = outcome["cases"][case.id]
        if found["shapes"] not in shapes:
            shapes.append(found["shapes"])
        used = {name: place for name, place in case.models.items() if name in case.recipe}
        entry = {"id": case.id, "recipe": case.recipe, "models": used}
        entry["arithmetic"] = arithmetic(case)
        entry["shapes"] = shapes.index(found["shapes"])
        if found["tokens"]:
            entry["tokens"] = found["tokens"]
        entries.append(entry)
    lines = [f'"versions": {json.dumps(outcome["versions"])}']
    for key, rows in (("shapes", shapes), ("cases", entries)):
        listed = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        lines.append(f'"{key}": [\n{listed}\n]')
    text = "{" + ",\n".join(lines) + "}\n"
    (TARGET / "cases.json").write_text(text, encoding="utf-8")
    size = sum(file.stat().st_size for file in TARGET.rglob("*") if file.is_file())
    print(f"wrote {len(cases)} cases to {TARGET} ({size / 1e6:.2f} MB)")


if __name__ == "__main__":
    main()
