"""What a search finds for its item evaluations, against what other tools do: from a replay table.

Build the table once with `bench_table.py`, then, in an environment that also has `cma` and
`pymoo` (the libraries that mergekit-evolve and mergenetic search with):

    .venv/bin/python scripts/bench_search.py FOLDER front|sum|race|grid|cost [--seeds 20]

Every seed draws its own questions, and is kept in FOLDER/results as soon as it is known: the same
command goes on where it stopped, and several may share the seeds (`--part 0/2`). What is reported
is true: accuracy on all questions of the table, of the recipes that a search would return. All
counts are item evaluations, references included. Medians, with quartiles in brackets.

front   hypervolume of three skills: eutectic at 5,000 items against random search, NSGA-II
        (population 24) and Optuna's defaults at 5,000 and 20,000, each with 100 and with 20
        questions a skill
sum     mean accuracy of the best: eutectic with 25 full evaluations against CMA-ES with 100
race    eutectic with and without racing: hypervolume at the same items, items to the same
        hypervolume, members of the true front that racing kept from `select`
grid    regret on 21 x 21 and 11 x 11 x 11 recipes after 30 candidates
cost    seconds a proposal at 20 parameters and 200 trials
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

COUNTS = (100, 60, 120)
"""Questions of a skill for search, select and test."""
SMALL, LARGE = 5_000, 20_000


def main() -> None:
    """Runs the seeds that are missing, then prints the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=list(BENCHES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--part", default="0/1", help="which share of the seeds, as 0/2 and 1/2")
    parser.add_argument("--sampler", default="auto")
    options = parser.parse_args()
    mine, parts = map(int, options.part.split("/"))
    for seed in range(mine, options.seeds, parts):
        file = result_file(options.folder, options.what, options.sampler, seed)
        if not file.is_file():
            file.parent.mkdir(exist_ok=True)
            found = BENCHES[options.what](options.folder, seed, options.sampler)
            file.write_text(json.dumps(found) + "\n", encoding="utf-8")
    print_table(options.folder, options.what, options.sampler, options.seeds)


def result_file(folder: Path, what: str, sampler: str, seed: int) -> Path:
    """Where one seed's figures are kept."""
    return folder / "results" / f"{what}-{sampler}-{seed:03d}.json"


def print_table(folder: Path, what: str, sampler: str, seeds: int) -> None:
    """Median and quartiles of every figure over the seeds that are there."""
    files = [result_file(folder, what, sampler, seed) for seed in range(seeds)]
    rows = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    print(f"{what}, sampler {sampler}, {len(rows)} seeds\n\n| figure | median | quartiles |")
    print("|---|---|---|")
    for name in rows[0] if rows else []:
        values = np.array([row[name] for row in rows if row[name] is not None], dtype=float)
        low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
        print(f"| {name} | {middle:.4g} | {low:.4g} to {high:.4g} |")


def bench_front(folder: Path, seed: int, sampler: str) -> dict[str, Any]:
    """Hypervolume of what each search would return."""
    from replay_rivals import RIVALS, Rival
    from replay_search import (
        fast_ledger,
        histories,
        make_world,
        own_search,
        true_volume,
    )  # fmt: skip

    from search.objectives import Budget

    world = make_world(table(folder, "sobol"), seed, COUNTS)
    found: dict[str, Any] = {}
    with fast_ledger() as ledger:
        search = own_search(world, ledger, seed=seed, budget=Budget(None, SMALL, None),
                            sampler=sampler)  # fmt: skip
        started = time.perf_counter()
        for one in histories(world, search, [SMALL]):
            found[f"eutectic, {SMALL} items"] = true_volume(world, one.truth)
            found["eutectic, members of its front"] = len(one.truth)
        found["eutectic, seconds in all"] = time.perf_counter() - started
        found["eutectic, trials"] = len(ledger.candidates("trial"))
        found["eutectic, seconds a proposal"] = one.seconds
    for name in ("random", "nsga2", "optuna"):
        for each in (COUNTS[0], 20):
            rival = Rival(world, each, [])
            RIVALS[name](rival, LARGE // rival.cost, seed)
            for items in (SMALL, LARGE):
                volume = true_volume(world, rival.at(items).truth)
                found[f"{name}, {each} questions, {items} items"] = volume
    return found


def bench_sum(folder: Path, seed: int, sampler: str) -> dict[str, Any]:
    """True mean accuracy of the best, in points."""
    from replay_rivals import RIVALS, Rival
    from replay_search import (
        fast_ledger,
        histories,
        make_world,
        own_search,
    )  # fmt: skip

    from search.objectives import Budget

    world = make_world(table(folder, "sobol"), seed, COUNTS, together=True)
    found: dict[str, Any] = {}
    budget = 25 * world.items
    with fast_ledger() as ledger:
        search = own_search(world, ledger, seed=seed, budget=Budget(None, budget, None),
                            sampler=sampler)  # fmt: skip
        for one in histories(world, search, [budget]):
            found["eutectic, items of 25 full evaluations"] = 100 * float(one.truth.max())
            found["eutectic, seconds a proposal"] = one.seconds
    for name in ("cma", "random", "optuna"):
        rival = Rival(world, COUNTS[0], [])
        RIVALS[name](rival, 100, seed)
        for full in (25, 100):
            truth = rival.at(full * world.items).truth
            found[f"{name}, {full} full evaluations"] = 100 * float(truth.max())
    return found


def bench_race(folder: Path, seed: int, sampler: str) -> dict[str, Any]:
    """With and without racing, of one seed."""
    from replay_search import (
        fast_ledger,
        histories,
        lost_members,
        make_world,
        own_search,
        true_volume,
    )  # fmt: skip

    from search.objectives import Budget

    world = make_world(table(folder, "sobol"), seed, COUNTS)
    found: dict[str, Any] = {}
    volumes: dict[bool, list[tuple[int, float]]] = {}
    steps = list(range(4_500, 18_001, 1_500))
    for racing in (True, False):
        with fast_ledger() as ledger:
            search = own_search(world, ledger, seed=seed, budget=Budget(None, steps[0], None),
                                sampler=sampler, racing=racing)  # fmt: skip
            history = histories(world, search, steps)
            volumes[racing] = [(one.items, true_volume(world, one.truth)) for one in history]
            if racing:
                lost, anyway, blamed = lost_members(world, search)
                found["true front not on `select`, %"] = 100 * lost
                found["the same, all scored in full, %"] = 100 * anyway
                found["there in full, not with racing, %"] = 100 * blamed
    last = volumes[False][-1][1]
    reached = [items for items, volume in volumes[True] if volume >= last]
    found["hypervolume without, 18,000 items"] = last
    found["hypervolume with, 9,000 items"] = dict(zip(steps, volumes[True], strict=True))[9000][1]
    found["hypervolume with, 18,000 items"] = volumes[True][-1][1]
    found["items to the hypervolume without, % of 18,000"] = (
        100 * reached[0] / steps[-1] if reached else 100.0
    )
    return found


def bench_grid(folder: Path, seed: int, sampler: str) -> dict[str, Any]:
    """Points of accuracy that the chosen recipe is truly behind the best of the grid."""
    from replay_search import fast_ledger, grid_regret, make_world, own_search

    from search.objectives import Budget

    found: dict[str, Any] = {}
    for name, sets, skills, step in (
        ("21 x 21", "grid2", ("reverse", "sort"), 0.06),
        ("11 x 11 x 11", "grid3", ("reverse", "sort", "climb"), 0.12),
    ):
        world = make_world(table(folder, sets), seed, COUNTS, anchors=1, skills=skills,
                           together=True, step=step)  # fmt: skip
        with fast_ledger() as ledger:
            search = own_search(world, ledger, seed=seed, budget=Budget(30, None, None),
                                sampler=sampler)  # fmt: skip
            seen, true = grid_regret(world, search)
        found[f"{name}: on the questions searched"] = 100 * seen
        found[f"{name}: on all questions"] = 100 * true
    return found


def bench_cost(folder: Path, seed: int, sampler: str) -> dict[str, Any]:
    """Seconds of one proposal after 200 trials of 20 parameters."""
    from replay_search import proposal_seconds

    return {
        f"{name}, objectives: {objectives}": proposal_seconds(name, seed, objectives)
        for objectives in (1, 3)
        for name in ("tpe", "gp", "nsgaii")
    }


def table(folder: Path, sets: str):  # type: ignore[no-untyped-def]
    """One set of recipes on the first 300 questions of each skill."""
    from replay import load_table

    return load_table(folder, [sets], 300)


BENCHES: dict[str, Callable[[Path, int, str], dict[str, Any]]] = {
    "front": bench_front, "sum": bench_sum, "race": bench_race, "grid": bench_grid,
    "cost": bench_cost,
}  # fmt: skip

if __name__ == "__main__":
    main()
