"""Whether what a study claims is true: whole searches replayed where the truth is known.

Run it on the table of `bench_table.py`, in the project's environment:

    .venv/bin/python scripts/bench_honesty.py FOLDER table|equal [--replays 200] [--part 0/2]

`table`: recipes of the demo family. `equal`: a world in which every recipe answers every question
right with the same chance, so that no merge is better than any other. Each replay draws its own
questions, searches (by TPE, or `--sampler`), chooses on `select`, and makes its one claim
on `test`: an interval of the winner's gain in utility over the best parent. Counted are the
intervals that hold the true gain and the claimed gains that are none; `p` is the chance of so few
(so many) if coverage were 95% (if 5% of claims were false), by a one-sided binomial test. Kept in
FOLDER/results as soon as known: the same command goes on where it stopped.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

COUNTS = (60, 60, 120)
"""Questions of a skill for search, select and test."""
TRIALS = 30


def main() -> None:
    """Runs the replays that are missing, then counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("world", choices=["table", "equal"])
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--rule", choices=["maximin", "weighted"], default="maximin")
    parser.add_argument("--sampler", default="tpe", help="auto: with guesses")
    parser.add_argument("--part", default="0/1", help="which share of the replays, as 0/2, 1/2")
    options = parser.parse_args()
    mine, parts = map(int, options.part.split("/"))
    name = f"honesty-{options.world}-{options.rule}-{options.sampler}"
    files = [options.folder / "results" / f"{name}-{seed:03d}.json"
             for seed in range(options.replays)]  # fmt: skip
    for seed in range(mine, options.replays, parts):
        if not files[seed].is_file():
            files[seed].parent.mkdir(exist_ok=True)
            found = replay(options.folder, options.world, options.rule, seed, options.sampler)
            files[seed].write_text(json.dumps(found) + "\n", encoding="utf-8")
    known = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
    count(name, known)


def count(name: str, replays: list[dict[str, float]]) -> None:
    """Prints coverage and false claims with their tests."""
    from scipy.stats import binomtest

    tested = [one for one in replays if "low" in one]
    inside = sum(one["low"] <= one["true"] <= one["high"] for one in tested)
    claimed = [one for one in tested if one["low"] > 0]
    false = sum(one["true"] <= 0 for one in claimed)
    less = binomtest(inside, len(tested), 0.95, alternative="less").pvalue
    more = binomtest(false, len(replays), 0.05, alternative="greater").pvalue
    print(f"{name}: {len(replays)} replays, in {len(replays) - len(tested)} the best parent won")
    print(f"intervals that hold the true gain: {inside} of {len(tested)}, p {less:.3f}")
    print(f"gains claimed: {len(claimed)}, of them false: {false}, p {more:.3f}")
    gains = [one["true"] for one in tested]
    print(f"true gain, median: {np.median(gains):.3f}; of search minus select, mean: "
          f"{np.mean([one['optimism'] for one in tested]):.4f}")  # fmt: skip


def replay(folder: Path, kind: str, rule: str, seed: int, sampler: str) -> dict[str, float]:
    """One study from its questions to its claim."""
    from replay import Replay, load_table
    from replay_search import Here, fast_ledger, make_world, own_search, weights_of

    from search.ledger import label
    from search.objectives import Budget
    from search.verdict import decide
    from search.winner import WinnerRule
    from studies.claims import utility_gain
    from studies.estimates import Scores

    table = load_table(folder, ["sobol"], 300)
    if kind == "equal":
        table = cast(Any, Equal(table.gold, table.strata, seed))
    world = make_world(table, seed, COUNTS)
    names = [one.name for one in world.objectives]
    chosen = WinnerRule(cast(Any, rule), dict.fromkeys(names, 1.0), None)
    with fast_ledger() as ledger:
        search = own_search(
            world, ledger, seed=seed, budget=Budget(TRIALS, None, None), sampler=sampler,
            make=equal_replay() if kind == "equal" else Replay,
        )  # fmt: skip
        search.run(cast(Any, Here()))
        verdict = decide(search, chosen)
        everyone = {label(one): one for kind_ in ("reference", "trial")
                    for one in ledger.candidates(cast(Any, kind_))}  # fmt: skip
        winner, rival = everyone[verdict.winner], everyone[verdict.rival]
        if verdict.winner == verdict.rival:
            return {"true": 0.0}
        scores = Scores(ledger, [search.executor.settings], search.tasks, world.splits, seed)
        gain = utility_gain(scores, winner, rival, world.objectives, verdict)

        def true(one: Any) -> float:
            values = world.truth(weights_of(search, one)).tolist()
            return chosen.utility(verdict.scales, dict(zip(names, values, strict=True)))

        def seen(one: Any) -> float:
            return chosen.utility(verdict.scales, dict(zip(names, one.standing, strict=True)))

        optimism = seen(winner) - verdict.utilities[verdict.winner]
        return {"true": true(winner) - true(rival), "low": cast(float, gain.low),
                "high": cast(float, gain.high), "value": gain.value,
                "optimism": optimism}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Equal:
    """A table in which all recipes are equally good: each question has a chance of its own."""

    gold: NDArray[np.int64]
    strata: Any
    seed: int

    @property
    def questions(self) -> int:
        """Of one skill."""
        return len(self.gold) // 3

    @property
    def chances(self) -> NDArray[np.float64]:
        """Of each question of being answered right, whoever is asked."""
        return np.random.default_rng(7).beta(2.0, 1.5, len(self.gold))

    def truth(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same for everybody."""
        return self.chances.reshape(3, -1).mean(axis=1)


def equal_replay() -> type:
    """An executor over `Equal`: answers are drawn anew for every recipe and item drawn."""
    from replay import Recipe, Replay

    class EqualReplay(Replay):
        def build(self, merge: Any) -> None:
            self._built = cast(Recipe, merge)

        def score(self, task: str, indices: Any) -> Any:
            assert self._built is not None
            chosen, table = self.tasks[task], cast(Any, self.table)
            found = {}
            for index in indices:
                item = chosen.items[index]
                text = f"{table.seed}:{self._built.hash}:{item.key}"
                digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
                drawn = int.from_bytes(digest, "little") / 2**64
                found[item.key] = {"acc": (float(drawn < table.chances[chosen.drawn[index]]),)}
            return found

    return EqualReplay


if __name__ == "__main__":
    main()
