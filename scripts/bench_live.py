"""What live searches of one study find for the same items: eutectic's, and what other tools do.

    .venv/bin/python scripts/bench_live.py STUDY --items 12000 [--seeds 1] [--device cuda]

Every search of a seed has the same splits, references and item evaluations (`--items`, references
included). `eutectic` is the study as it stands; `with gradients` is it with `gradients: on`; the
others score each candidate in full and begin at one recipe, not at all that a person would try:
Optuna's NSGA-II with mergenetic's population, Optuna's TPE, random search. What is reported of
each is its front by what it knows, scored on items that no search saw (`select` and `test`
together): the hypervolume on the scale of base and experts. The study is a benchmark then: whoever
searches it afterwards in earnest needs another test file. Kept in --out by search and seed: the
same command goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from replay_search import Here, Silent, fast_ledger, own_front

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "eutectic": {},
    "with gradients": {"gradients": "on"},
    "NSGA-II": {"gradients": "off", "racing": False, "sampler": "nsgaii"},
    "TPE in full": {"gradients": "off", "racing": False, "sampler": "tpe"},
    "random": {"gradients": "off", "racing": False, "sampler": "random"},
}
HELD_OUT = ("select", "test")


@dataclass(frozen=True, slots=True)
class Live:
    """A study with its base loaded."""

    preflight: Any
    executor: Any

    def held_out(self, candidate: Any) -> list[float]:
        """Its objectives on the items that no search sees."""
        from search.objectives import objective_value

        splits = self.preflight.splits
        self.executor.build(self.executor.prepare(candidate.data))
        found = {}
        for task in self.preflight.tasks:
            indices = [one for split in HELD_OUT for one in splits[task][split]]
            found[task] = self.executor.score(task, indices)
        tasks = self.preflight.tasks
        return [objective_value(one, tasks, found) for one in self.preflight.objectives]

    def search(self, how: Mapping[str, Any], seed: int, items: int) -> dict[str, float]:
        """One search: the hypervolume of its front on the items that no search sees."""
        from search.front import hypervolume
        from search.objectives import Budget
        from search.sampler_spec import spec_of
        from studies.conduct import assemble

        how = {key: spec_of(one) if key == "sampler" else one for key, one in how.items()}
        study = replace(self.preflight.study, seed=seed, budget=Budget(None, items, None), **how)
        preflight = replace(self.preflight, study=study)
        silent = cast(Any, Silent())
        started = time.perf_counter()
        with fast_ledger() as ledger:
            search = assemble(preflight, ledger, self.executor, silent, silent)
            if not study.racing:  # the rivals begin at one recipe that a person would try
                first = search.proposing.warm_starts[:1]
                search.proposing = replace(search.proposing, warm_starts=first)
            search.run(cast(Any, Here()))
            seconds = time.perf_counter() - started
            trials = ledger.candidates("trial")
            front = np.array([self.held_out(one) for one in own_front(search)])
            parents = [
                self.held_out(one)
                for one in ledger.candidates("reference")
                if one.role in ("base", "parent")
            ]
        up = [one.higher_is_better for one in preflight.objectives]
        return {
            "hypervolume": hypervolume(front, up, np.array(parents)),
            "front": len(front),
            "candidates": len(trials),
            "seconds": seconds,
        }


def main() -> None:
    """Runs what is missing, then prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("bench_live"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    live = None
    for seed in range(options.seeds):
        for name, how in SEARCHES.items():
            file = options.out / f"{options.items}-{name.replace(' ', '_')}-{seed:03d}.json"
            if not file.is_file():
                live = live or opened(options.study, options.device, options.threads)
                found = live.search(how, seed, options.items)
                file.write_text(json.dumps(found) + "\n", encoding="utf-8")
    print_table(options.out, options.items)


def opened(study: Path, device: str, threads: int) -> Live:
    """The study, its splits by its own seed."""
    from studies.config import read_study
    from studies.preflight import Permissions, inspect
    from studies.session import Hardware, open_executor

    preflight = inspect(read_study(study), {}, Permissions())
    hardware = Hardware(device=device, threads=threads).resolved(None)
    return Live(preflight, open_executor(preflight, hardware, Permissions()))


def print_table(folder: Path, items: int) -> None:
    """Medians over the seeds that are there."""
    print("| search | hypervolume, held out | candidates | seconds |\n|---|---|---|---|")
    for name in SEARCHES:
        files = sorted(folder.glob(f"{items}-{name.replace(' ', '_')}-*.json"))
        rows = [json.loads(one.read_text(encoding="utf-8")) for one in files]
        if rows:
            volume, tried, seconds = (
                np.median([row[key] for row in rows])
                for key in ("hypervolume", "candidates", "seconds")
            )
            print(f"| {name} ({len(rows)}) | {volume:.3f} | {tried:.0f} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
