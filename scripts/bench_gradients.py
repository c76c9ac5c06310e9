"""What gradients give a search that races: the demo family searched live, with and without.

In the project's environment, FOLDER as of `bench_table.py` (without a table the family is trained
there first; six weights need the table):

    .venv/bin/python scripts/bench_gradients.py FOLDER --weights 24 --gradients on
    .venv/bin/python scripts/bench_gradients.py FOLDER --weights 24 --gradients off

Each seed is another split of the family's questions, and is kept in FOLDER/results as soon as it
is known: the same command goes on where it stopped, and several may share the seeds
(`--part 0/2`). The table that is printed is of all that is there: true hypervolume of the front
that a search would nominate, at each of its budgets of items, references and gradients included;
and the items to 95% of what the whole budget comes to without, over seeds that have both.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FIRST, STEP = 5_000, 1_000
"""Items at which a search is looked at for the first time, and how far apart the others are."""
MODES = ("off", "on", "refine", "auto")

Volumes = dict[int, dict[int, float]]
"""Seed to items to hypervolume."""


def main() -> None:
    """Runs the seeds that are missing, then prints the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=int, choices=(6, 12, 24), default=24)
    parser.add_argument("--objectives", type=int, choices=(1, 3), default=3)
    parser.add_argument("--items", type=int, default=12_000, help="the whole budget")
    parser.add_argument("--gradients", choices=MODES, default="on")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--part", default="0/1", help="which share of the seeds, as 0/2 and 1/2")
    options = parser.parse_args()
    world = World(options.folder, options.weights, options.objectives, options.items)
    mine, parts = map(int, options.part.split("/"))
    for seed in range(mine, options.seeds, parts):
        file = world.file(options.gradients, seed)
        if not file.is_file():
            file.parent.mkdir(exist_ok=True)
            found = searched(world, options.gradients, seed)
            file.write_text(json.dumps(found) + "\n", encoding="utf-8")
    print_table(world, options.seeds)


@dataclass(frozen=True, slots=True)
class World:
    """What is searched, and with how much; `folder` keeps the family and what was found."""

    folder: Path
    weights: int
    objectives: int
    items: int

    def file(self, mode: str, seed: int) -> Path:
        """Where the figures of one search are kept."""
        kind = f"gradients-{self.weights}-{self.objectives}-{self.items}"
        return self.folder / "results" / f"{kind}-{mode}-{seed:03d}.json"

    def known(self, mode: str, seeds: int) -> Volumes:
        """The searches of one mode that are there."""
        files = {seed: self.file(mode, seed) for seed in range(seeds)}
        texts = {n: one.read_text(encoding="utf-8") for n, one in files.items() if one.is_file()}
        return {
            seed: {int(at): volume for at, volume in json.loads(text).items()}
            for seed, text in texts.items()
        }


def searched(world: World, mode: str, seed: int) -> dict[int, float]:
    """Hypervolume at each budget of items."""
    from replay import load_table
    from replay_live import live_histories

    table = load_table(world.folder, ["sobol"], 300) if world.weights == 6 else None
    steps = [*range(FIRST, world.items, STEP), world.items]
    kind = {"weights": world.weights, "objectives": world.objectives}
    own = live_histories(world.folder, table, seed, steps, "auto", gradients=mode, **kind)
    return dict(zip(steps, own, strict=True))


def print_table(world: World, seeds: int) -> None:
    """Medians and quartiles of every mode that is there."""
    modes = {mode: world.known(mode, seeds) for mode in MODES}
    print(f"{world.weights} weights, {world.objectives} objectives, {world.items:,} items\n")
    print("| gradients | figure | median | quartiles |\n|---|---|---|---|")
    for mode, own in modes.items():
        for at in sorted({step for one in own.values() for step in one}):
            line(mode, f"hypervolume at {at:,} items", [one[at] for one in own.values()])
        both = [(own[seed], without) for seed, without in modes["off"].items() if seed in own]
        line(mode, "items to 95% of the last without", [reached(*pair) for pair in both])
        gains = [one[world.items] - off[world.items] for one, off in both]
        line(mode, "the last, less that without", gains)


def reached(own: dict[int, float], without: dict[int, float]) -> int:
    """Items to 95% of the last hypervolume without; all of them where it is not reached."""
    goal = 0.95 * without[max(without)]
    return min((at for at, volume in own.items() if volume >= goal), default=max(own))


def line(mode: str, figure: str, values: Sequence[float]) -> None:
    """One row of the table, if there is anything to tell."""
    if values:
        low, middle, high = np.quantile(np.array(values, dtype=float), [0.25, 0.5, 0.75])
        seeds = f"{figure}, {len(values)} seeds"
        print(f"| {mode} | {seeds} | {middle:.4g} | {low:.4g} to {high:.4g} |")


if __name__ == "__main__":
    main()
