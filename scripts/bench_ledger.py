"""How long a large run takes to be opened, resumed and reported, and in how much memory.

Run it in the project's environment, on an idle machine:

    .venv/bin/python scripts/bench_ledger.py FOLDER [--candidates 1000] [--items 10000]

FOLDER gets a study of two tasks over models of 9,000 parameters, and its run: candidates whose
item results are drawn (a smooth skill over the space against how hard each item is), stored as a
search stores them, every one on every item. Then the real commands, each in a process of its own:
`search` again once so that it ends (it scores `select` and `test` with the models), and after
that what is timed: opening the ledger, the same search with its budget spent, one with a trial
more, `trials`, `export`, and `report` from the stored view and from the ledger alone. Seconds are
those of the whole process; beside them stand those of starting Python and importing libraries,
which a run of any size takes, and the largest resident set of the process (Linux).
The process that proposes is one of its own, with some 600 MiB of libraries.

A folder that has the run already is measured as it is.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from search.ledger import Ledger

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SECONDS, MEBIBYTES = 10.0, 1024.0
"""What opening, resuming and reporting may take in all their forms."""
SHARE = 0.6
"""Of the items those of the first task."""
STUDY = """\
name: large
recipe:
  merge_method: ties
  base_model: base
  models:
    - model: alpha
      parameters: {weight: {range: [0.0, 1.0], start: 0.5}, density: {range: [0.1, 0.9]}}
    - model: beta
      parameters: {weight: {range: [0.0, 1.0], start: 0.25}, density: {range: [0.1, 0.9]}}
  dtype: bfloat16
tasks:
  - {name: sums, file: sums.jsonl, type: multiple_choice, prompt: "{{question}}",
     choices: choices, answer: answer}
  - {name: lines, file: lines.jsonl, type: loglikelihood, target: text}
split: {calibration: 0, search: 0.96, select: 0.02, test: 0.02}
sampler: tpe
"""
PEAK = """
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
"""
RUN = (
    PEAK
    + """
import json, sys, time
started = time.perf_counter()
import optuna, pandas, torch, transformers
import studies.conduct, studies.outputs, studies.report, studies.show
imported = time.perf_counter() - started
from studies.cli import main
sys.argv[0] = "eutectic"
code = 0
try:
    main()
except SystemExit as ended:
    code = ended.code or 0
sys.stdout.flush()
print(json.dumps({"imports": imported, "peak": peak()}), file=sys.stderr)
sys.exit(code)
"""
)
OPEN = (
    PEAK
    + """
import json, sys, time
started = time.perf_counter()
from search.ledger import Ledger
imported = time.perf_counter() - started
with Ledger(sys.argv[1]) as ledger:
    found = ledger.candidates("trial"), ledger.candidates("reference"), ledger.meta("identity")
print(json.dumps({"imports": imported, "peak": peak()}), file=sys.stderr)
"""
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took; `imports` is part of `seconds`."""

    seconds: float
    imports: float
    mebibytes: float


def main() -> None:
    """Makes the run where it is not there, then measures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--items", type=int, default=10_000)
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    os.environ["EUTECTIC_CACHE"] = str(folder / "cache")
    os.environ["HF_HUB_OFFLINE"] = "1"
    if not (folder / "made").is_file():
        make(folder, chosen.candidates, chosen.items)
    found = measured(folder)
    database = (folder / "runs" / "large" / "study.db").stat().st_size / 2**20
    print(f"{results(folder):,} item results, {database:.0f} MiB on disk\n")
    print("| process | seconds | of them imports | MiB |\n|---|---|---|---|")
    for name, cost in found.items():
        late = " (late)" if cost.seconds > SECONDS or cost.mebibytes > MEBIBYTES else ""
        print(f"| {name} | {cost.seconds:.1f} | {cost.imports:.1f} | {cost.mebibytes:.0f} |{late}")


def make(folder: Path, candidates: int, items: int) -> None:
    """The study, two trials by the real search, the others drawn, and the search's end."""
    from tests.conftest import write_family

    folder.mkdir(parents=True, exist_ok=True)
    write_family(folder, "bfloat16")
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    sums = write_tasks(folder, items)
    told("references and two trials, by the models", called(folder, *SEARCH, "--trials", "2"))
    started = time.perf_counter()
    draw(folder, candidates, sums)
    print(f"drawn and stored: {time.perf_counter() - started:.1f} s", file=sys.stderr)
    told("the search's end", called(folder, *SEARCH, "--trials", str(candidates)))
    (folder / "made").write_text(str(candidates), encoding="utf-8")


SEARCH = ("search", "study.yaml", "--progress", "none", "--threads", "1")


def write_tasks(folder: Path, items: int) -> int:
    """Two files of so many rows that a candidate is scored on at least `items`."""
    draw = np.random.default_rng(0)
    counts = [int(items * share / 0.955) + 8 for share in (SHARE, 1 - SHARE)]
    with (folder / "sums.jsonl").open("w", encoding="utf-8") as file:
        for n in range(counts[0]):
            one, right = n % 977, int(draw.integers(4))
            choices = [str(n + one + shift) for shift in (1, 10, 3, 7)]
            choices[right] = str(n + one)
            row = {"question": f"{n} + {one} =", "choices": choices, "answer": right}
            file.write(json.dumps(row) + "\n")
    with (folder / "lines.jsonl").open("w", encoding="utf-8") as file:
        for n in range(counts[1]):
            letters = "".join(draw.choice(list("abc de fgh i"), 12))
            file.write(json.dumps({"text": f"{n} {letters}"}) + "\n")
    return counts[0]


def draw(folder: Path, candidates: int, sums: int) -> None:
    """Stores candidates up to a number, each complete."""
    from search.ledger import Ledger
    from search.result_rows import Scored
    from studies.preflight import Permissions, inspect
    from studies.reopen import open_study

    study, maps = open_study(folder / "study.yaml")
    preflight = inspect(study, maps, Permissions())
    with Ledger(f"sqlite:///{folder / 'runs' / 'large' / 'study.db'}") as ledger:
        drawn = Drawn(preflight, ledger.meta("settings"))
        for number in range(len(ledger.candidates("trial")), candidates):
            candidate, blocks = drawn.candidate(number)
            ledger.record_all(Scored(*one) for one in blocks)
            ledger.put(candidate)
        store_next(ledger, preflight)


def store_next(ledger: "Ledger", preflight: Any) -> None:
    """What the proposal after the drawn trials is told: their scores."""
    from search.shadow import Shadow, store_shadow
    from search.warp import warps

    trials, references = ledger.candidates("trial"), ledger.candidates("reference")
    splits = {task: one["search"] for task, one in preflight.splits.items()}
    shown = warps(
        preflight.objectives, preflight.tasks, splits, [one.scores for one in references]
    )
    scores = {one.number: one.scores for one in trials}
    store_shadow(ledger, len(trials), Shadow(scores, dict.fromkeys(scores, ()), shown))


class Drawn:
    """Draws candidates of a study with their results."""

    def __init__(self, preflight: Any, settings: str) -> None:
        from search.blocks import block_name, blocks, looks

        self.preflight, self.settings = preflight, settings
        rng = np.random.default_rng(1)
        self.hard = {name: rng.normal(size=len(task.items))
                     for name, task in preflight.tasks.items()}  # fmt: skip
        self.sizes = [float(len(str(one.row["text"]).encode()))
                      for one in preflight.tasks["lines"].items]  # fmt: skip
        self.blocks = {
            name: [(block_name(task, one), one)
                   for one in blocks(preflight.splits[name]["search"], "search")]
            for name, task in preflight.tasks.items()
        }  # fmt: skip
        self.looks = max(
            len(looks(preflight.splits[name]["search"], None)) for name in preflight.tasks
        )

    def candidate(self, number: int) -> tuple[Any, list[Any]]:
        """A complete trial, and its blocks as `Ledger.record_all` takes them."""
        from merging.plan import plan_recipe, recipe_hash
        from merging.recipe_reader import read_recipe
        from search.coordinates import Coordinates
        from search.ledger import Candidate
        from search.objectives import objective_value
        from search.proposals import ProposalRequest, propose
        from search.trials import with_mask_seed

        flight = self.preflight
        request = ProposalRequest(
            0, number, "random", Coordinates(flight.space), (True, False), ()
        )
        point = propose(request)
        data = with_mask_seed(flight.space.fill(point.values), flight.study.seed)
        recipe, _ = read_recipe(flight.study.recipe.with_data(data), strict=True)
        hashes = {model: found.content_hash for model, found in flight.checkpoints.items()}
        merge_hash = recipe_hash(plan_recipe(recipe, flight.checkpoints), hashes, recipe.mask_seed)
        weights = [float(one) for one in point.values.values() if isinstance(one, float)]
        rng = np.random.default_rng(number + 2)
        blocks, found = [], {}
        for name in flight.tasks:
            found[name] = dict(self._results(name, weights, rng))
            for block, indices in self.blocks[name]:
                items = [flight.tasks[name].items[index] for index in indices]
                results = {(one.key, one.prompt_hash): found[name][one.key] for one in items}
                blocks.append((merge_hash, self.settings, name, block, results))
        scores = tuple(objective_value(one, flight.tasks, found) for one in flight.objectives)
        count = sum(len(one) for one in found.values())
        return Candidate(
            "trial", number, "tpe", data, merge_hash, values=dict(point.values), state="complete",
            scores=scores, looks=self.looks, items=count, score_seconds=1.0,
            settings=self.settings, watermark=number - 2, coordinates=dict(point.coordinates),
            system_attrs={}, sampler="tpe",
        ), blocks  # fmt: skip

    def _results(
        self, name: str, weights: list[float], rng: np.random.Generator
    ) -> Iterator[tuple[str, Any]]:
        """Items of the search split with what the candidate got, in order."""
        from evaluation.answers import ANSWER

        task, indices = self.preflight.tasks[name], self.preflight.splits[name]["search"]
        skill = weights[0] * (1.4 - weights[0]) - 0.3 * weights[-1]
        margins: NDArray[np.float64] = (
            skill - self.hard[name] + 0.5 * rng.normal(size=len(task.items))
        )
        for index in indices:
            margin = float(f"{margins[index]:.6g}") or 1e-9
            if name == "lines":
                yield (
                    task.items[index].key,
                    {"bits_per_byte": (40.0 - float(margins[index]), self.sizes[index])},
                )
                continue
            right = float(margin > 0)
            said = (float(index % 4), float(index % 3))
            yield task.items[index].key, {
                "acc": (right,), "acc_norm": (right,), "acc (margin)": (margin,),
                "acc_norm (margin)": (float(f"{margin / 3:.6g}"),), ANSWER: said,
            }  # fmt: skip


def measured(folder: Path) -> dict[str, Cost]:
    """What each command takes, by name."""
    count = int((folder / "made").read_text(encoding="utf-8"))
    url = f"sqlite:///{folder / 'runs' / 'large' / 'study.db'}"
    run = "runs/large"
    found = {"open": called(folder, url, program=OPEN)}
    found["search, budget spent"] = called(folder, *SEARCH, "--trials", str(count))
    found["search, a trial more"] = called(folder, *SEARCH, "--trials", str(count + 1))
    (folder / "made").write_text(str(count + 1), encoding="utf-8")
    found["trials"] = called(folder, "trials", run, "-o", "trials.txt")
    found["export"] = called(folder, "export", run, "-o", "winner.yaml")
    found["report, view stored"] = called(folder, "report", run, "-o", "report.html")
    forget_view(url)
    found["report, from results"] = called(folder, "report", run, "-o", "report.html")
    return found


def forget_view(url: str) -> None:
    """As if the search had been killed: a report is then computed from the results."""
    from search.ledger import Ledger

    with Ledger(url) as ledger:
        ledger.set_meta("view", "{}")


def results(folder: Path) -> int:
    """Item results of the run's candidates."""
    from search.ledger import Ledger

    with Ledger(f"sqlite:///{folder / 'runs' / 'large' / 'study.db'}") as ledger:
        everyone = [*ledger.candidates("trial"), *ledger.candidates("reference")]
        return sum(one.items for one in everyone)


def called(folder: Path, *arguments: str, program: str = RUN) -> Cost:
    """Runs a program in a process of its own, in the folder."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        process.wait()
        seconds = time.perf_counter() - started
        said.seek(0)
        text = said.read().decode()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}\n{text}")
    last = json.loads(text.strip().splitlines()[-1])
    return Cost(seconds, last["imports"], last["peak"])


def told(what: str, cost: Cost) -> None:
    """One line of how far the making has come."""
    print(f"{what}: {cost.seconds:.1f} s, {cost.mebibytes:.0f} MiB", file=sys.stderr)


if __name__ == "__main__":
    main()
