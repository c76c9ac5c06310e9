"""How often the intervals hold the truth, and how wide they are: simulated studies, as a table.

Run it in the project's environment:

    .venv/bin/python scripts/bench_statistics.py [POPULATION ...] [--studies 1000] [--plain]

The populations are those of `tests/simulation/simulated.py`, where the truth is known; a name
given is part of theirs. A cell has the coverage of 95% intervals in percent and the mean width,
where 1 is 2 x 1.96 standard deviations of the estimates: what a normal interval would be whose
spread is known. `*` marks a coverage below 95% by a one-sided binomial test at 1%. `--plain` is
the BCa interval of scipy as it comes, for comparison. Every cell has seeds 0, 1, ... again.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "simulation")]


def main() -> None:
    """Prints a line for each population as soon as it is known."""
    from simulated import Design

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("populations", nargs="*")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--groups", type=int, nargs="+", default=[30, 40, 60, 100, 200])
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    if options.plain:
        plainly()
    wanted = {
        name: make
        for name, make in populations().items()
        if not options.populations or any(part in name for part in options.populations)
    }
    print("| population | " + " | ".join(map(str, options.groups)) + " |")
    print("|---|" + "---|" * len(options.groups), flush=True)
    for name, (make, sizes, strata) in wanted.items():
        cells = [
            cell(make(Design(groups, sizes, strata)), options.studies, options.resamples)
            for groups in options.groups
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def cell(simulation, studies: int, resamples: int) -> str:  # type: ignore[no-untyped-def]
    """Coverage in percent, `*` if it is below nominal, and the width."""
    from simulated import covers, undercovers

    found = [simulation.study(seed, resamples) for seed in range(studies)]
    inside = sum(covers(one, simulation.truth) for one in found)
    width = np.mean([one.high - one.low for one in found])
    normal = 2 * 1.96 * np.std([one.value for one in found])
    star = "*" if undercovers(inside, studies) else ""
    return f"{100 * inside / studies:.1f}{star} {width / normal:.2f}"


Population = tuple[Callable[..., object], str, int]
"""From a design to a simulation; the sizes of its groups, its strata."""


def populations() -> Mapping[str, Population]:
    """Every population by its name."""
    from simulated import accuracy, bits_difference, bits_per_byte, difference, utility

    found: dict[str, Population] = {}
    shapes = [("1", 1), ("1", 3), ("5", 1), ("5", 3), ("uneven", 1), ("uneven", 3)]

    def add(name: str, make: Callable[..., object], places: Sequence[tuple[str, int]]) -> None:
        for sizes, strata in places:
            shape = f"groups of {sizes}" if sizes != "uneven" else "uneven groups"
            found[f"{name}, {shape}, {strata} strata"] = (make, sizes, strata)

    for level in (0.5, 0.8, 0.95):
        add(f"accuracy {level}", lambda d, a=level: accuracy(d, a), shapes)
    for level, gain in ((0.5, 0.0), (0.8, 0.0), (0.95, 0.0), (0.5, 0.2), (0.8, 0.2), (0.95, 0.2)):
        add(
            f"difference {level} {gain}",
            lambda d, a=level, g=gain: difference(d, a, g),
            [("1", 1), ("5", 1), ("uneven", 3)],
        )
    for sizes in (0.5, 1.0):
        add(f"bits {sizes}", lambda d, s=sizes: bits_per_byte(d, s), shapes[:4])
        add(f"bits difference {sizes}", lambda d, s=sizes: bits_difference(d, s, 0.02), shapes[:3])
    for name, (levels, gains, zeros) in UTILITIES.items():
        add(
            f"utility {name}",
            lambda d, a=levels, g=gains, z=zeros: utility(d, a, g, z),
            [("1", 1), ("5", 3)],
        )
    return found


Two = tuple[float, float]
UTILITIES: Mapping[str, tuple[Two, Two, Two]] = {
    "no gain": ((0.7, 0.5), (0.0, 0.0), (0.5, 0.45)),
    "no gain, A balanced": ((0.7, 0.5), (-0.15 / 0.7, 0.1), (0.5, 0.45)),
    "no gain, B balanced": ((0.7, 0.6), (0.2, 0.0), (0.5, 0.4)),
    "no gain, both balanced": ((0.7, 0.6), (0.0, 0.0), (0.5, 0.4)),
    "gain 0.58": ((0.7, 0.5), (-0.05, 0.25), (0.5, 0.45)),
    "gain 0.1, B balanced": ((0.5, 0.9), (0.2, 0.2), (0.3, 0.7)),
    "loss 0.45, B balanced": ((0.5, 0.9), (0.3, -0.1), (0.3, 0.7)),
}
"""Accuracies of B, what A gains, accuracies of the base. Balanced: both tasks' scales agree."""


def plainly() -> None:
    """The intervals as scipy gives them, without anything that widens them."""
    from scipy import stats

    from evaluation import statistics

    def ends(samples, statistic, *, seed, resamples, level):  # type: ignore[no-untyped-def]
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of samples that are all alike
            found = stats.bootstrap(
                tuple(samples),
                lambda *drawn, axis: statistic(drawn),
                n_resamples=resamples,
                vectorized=True,
                confidence_level=level,
                rng=np.random.Generator(np.random.PCG64(seed)),
            )
        low, high = found.confidence_interval
        if np.isfinite(low) and np.isfinite(high):
            return float(low), float(high)
        values = found.bootstrap_distribution
        return tuple(np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist())

    statistics.bootstrap_ends = ends
    statistics.with_room = lambda value, ends, room: ends


if __name__ == "__main__":
    main()
