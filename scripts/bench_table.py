"""Builds the replay table: what thousands of recipes of the demo family answer to every question.

Run it in the project's environment; it goes on where it stopped, and several may share the work:

    .venv/bin/python scripts/bench_table.py FOLDER [--questions 300] [--part 0/2]

A recipe is task arithmetic with a weight for early and one for late layers of each expert, six
numbers in [0, 1.2]. The table has three sets of them: a grid of 21 x 21 (two experts, even along
depth), one of 11 x 11 x 11 (three experts, even along depth), and Sobol points in all six
dimensions. FOLDER gets the family, and a file for each 32 recipes and run of questions: the
log-likelihoods of the four choices, float32, shape (recipes, questions, 4), the questions of the
three skills in turn. `bench_search.py` replays searches from it.
"""

import argparse
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
Array = NDArray[np.float64]

HIGHEST = 1.2
"""Weights reach from 0 to this, as in the demo's study."""
CHUNK = 32
SOBOL = 4096
SETS = ("grid2", "sobol", "grid3")
SKILLS = ("reverse", "sort", "climb")


def main() -> None:
    """Builds the part of the table that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--questions", type=int, default=300, help="of each skill, from the first")
    parser.add_argument("--sobol", type=int, default=2048, help="points in six dimensions")
    parser.add_argument("--part", default="0/1", help="which share of the work, as 0/2 and 1/2")
    options = parser.parse_args()
    mine, parts = map(int, options.part.split("/"))
    work = list(missing(options.folder, options.questions, options.sobol))
    answerer = Answerer(options.folder)
    for file, rows, questions in work[mine::parts]:
        if not file.is_file():
            found = np.stack([answerer.answers(row, questions) for row in rows])
            part = file.with_suffix(f".{os.getpid()}")
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                np.save(stream, found)
            part.rename(file)
            print(file, flush=True)


def recipes(name: str) -> Array:
    """The recipes of one set, shape (recipes, 6): early and late weight of each skill in turn."""
    if name == "sobol":
        from scipy.stats.qmc import Sobol

        return HIGHEST * Sobol(6, scramble=True, rng=0).random(SOBOL)
    size, experts = (21, 2) if name == "grid2" else (11, 3)
    axis = np.linspace(0.0, HIGHEST, size)
    even = np.array(list(itertools.product(axis, repeat=experts)))
    even = np.pad(even, ((0, 0), (0, 3 - experts)))
    return np.repeat(even, 2, axis=1)


def chunk_file(folder: Path, name: str, chunk: int, questions: range) -> Path:
    """Where the answers of one chunk of recipes to a run of questions lie."""
    return folder / "answers" / f"{name}-{chunk:04d}-{questions.start}-{questions.stop}.npy"


def missing(folder: Path, questions: int, sobol: int) -> Iterator[tuple[Path, Array, range]]:
    """Every chunk: its file, its recipes, its run of questions; those of 300 questions first."""
    for first in range(0, questions, 300):
        run = range(first, min(first + 300, questions))
        for name in SETS:
            rows = recipes(name)
            rows = rows[:sobol] if name == "sobol" else rows
            for chunk in range(-(-len(rows) // CHUNK)):
                file = chunk_file(folder, name, chunk, run)
                yield file, rows[CHUNK * chunk : CHUNK * (chunk + 1)], run


class Answerer:
    """The demo family, its model loaded: recipes to log-likelihoods, by eutectic's own code."""

    def __init__(self, folder: Path) -> None:
        """Trains the family where it is not there yet."""
        from studies.config import read_study
        from studies.demo.family import ensure_family
        from studies.preflight import Permissions, inspect
        from studies.session import Hardware, open_executor

        family = ensure_family(folder)
        self.preflight = inspect(read_study(family.study), {}, Permissions())
        hardware = Hardware(threads=1).resolved(None)
        self.executor = open_executor(self.preflight, hardware, Permissions())

    def answers(self, weights: Array, questions: range) -> NDArray[np.float32]:
        """Log-likelihoods in nats of the choices, shape (3 x questions, 4)."""
        names = [f"{skill}.weight@{anchor}" for skill in SKILLS for anchor in range(2)]
        values = dict(zip(names, (round(float(one), 6) for one in weights), strict=True))
        merge = self.executor.prepare(self.preflight.space.fill(values))
        self.executor.build(merge)
        harness = self.executor.harness
        found = [harness.runner.run(harness.prepare(skill, tuple(questions))) for skill in SKILLS]
        sums = [response.loglikelihood for answers in found for response in answers]
        return np.array(sums, dtype=np.float32).reshape(-1, 4)


if __name__ == "__main__":
    main()
