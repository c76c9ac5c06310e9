"""How a search scales: two workers against one, and a coordinator with many simulated workers.

    .venv/bin/python scripts/bench_scale.py two [STUDY] [--trials 40]
    .venv/bin/python scripts/bench_scale.py many [--workers 64] [--minutes 2]

`two` runs a study (the demo family's, each trial in full) with one and with two worker processes
of one thread, TPE, in turns, and compares trials a second from the first to the last trial. `many`
runs the real coordinator (pool, race, ledger on disk, proposals) over workers that sleep for as
long as a larger model would compute: uneven among workers and blocks, so that nobody waits for the
slowest. It tells how busy they are, and what the coordinator spends on a block. The ledger's own
figures are those of `bench_ledger.py`.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def main() -> None:
    """Runs the part that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = parser.add_subparsers(required=True)
    two = parts.add_parser("two")
    two.add_argument("study", type=Path, nargs="?")
    two.add_argument("--trials", type=int, default=40)
    two.add_argument("--rounds", type=int, default=2)
    two.set_defaults(run=compare_two)
    many = parts.add_parser("many")
    many.add_argument("--workers", type=int, default=64)
    many.add_argument("--minutes", type=float, default=2.0)
    many.add_argument("--block", type=float, default=1.0, help="mean seconds of 16 items")
    many.add_argument("--sampler", default="tpe")
    many.add_argument("--profile", action="store_true", help="where the coordinator's time goes")
    many.set_defaults(run=simulate_many)
    options = parser.parse_args()
    options.run(options)


def demo_study() -> Path:
    """The demo family's study, trained if need be."""
    from merging.hashing import cache_folder
    from studies.demo.family import ensure_family

    return ensure_family(cache_folder()).study


def compare_two(options: argparse.Namespace) -> None:
    """One and two workers in turns, so that a busy machine disturbs both."""
    import yaml

    source = options.study or demo_study()
    data = yaml.safe_load(source.read_text(encoding="utf-8"))
    speeds: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as scratch:
        study = source.parent / f".bench-{os.getpid()}.yaml"
        study.write_text(yaml.safe_dump({**data, "racing": False}), encoding="utf-8")
        try:
            for round_ in range(options.rounds):
                for workers in speeds:
                    out = Path(scratch) / f"{workers}-{round_}"
                    speeds[workers].append(trials_a_second(study, workers, options.trials, out))
                    told = ", ".join(f"{one:.3f}" for one in speeds[workers])
                    print(f"{workers} worker(s): {told} trials a second", flush=True)
        finally:
            study.unlink()
    ratio = np.median(speeds[2]) / np.median(speeds[1])
    print(f"two workers do {ratio:.2f} times the trials of one (medians of {options.rounds})")


def trials_a_second(study: Path, workers: int, trials: int, out: Path) -> float:
    """Of the trials of a search after its first, by the clock of its progress."""
    command = [sys.executable, "-c", "from studies.cli import main; main()", "search", str(study)]
    command += ["--out", str(out), "--trials", str(trials), "--sampler", "tpe"]
    command += ["--executor", "process", "--workers", str(workers), "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, "--progress", "json"],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        ended: list[float] = []
        for line in process.stderr:
            told = json.loads(line) if line.startswith("{") else {}
            if told.get("event") == "candidate" and told.get("kind") == "trial":
                ended.append(time.monotonic())
    if process.returncode not in (0, 3) or len(ended) < trials:
        raise SystemExit(f"the search ended with {process.returncode} after {len(ended)} trials")
    return (len(ended) - 1) / (ended[-1] - ended[0])


@dataclass(slots=True)
class Sleeper:
    """A worker that sleeps; what a recipe answers follows from its hash and its weights."""

    label: str
    speed: float
    block: float
    terms: Any
    golds: Mapping[str, Any]
    draw: random.Random
    spans: list[tuple[float, float]] = field(default_factory=list)
    """When it worked."""

    def call(self, call: Any, seconds: float) -> Any:
        """Sleeps, and answers."""
        begun = time.monotonic()
        count = 0.3 if call.name == "build" else len(call.arguments[1]) / 16
        time.sleep(self.speed * self.block * count * self.draw.lognormvariate(-0.125, 0.5))
        found = None if call.name == "build" else self.golds["answer"](call)
        self.spans.append((begun, time.monotonic()))
        return found

    def shrink(self, seconds: float) -> int:
        """Nothing to shrink."""
        raise NotImplementedError

    def kill(self) -> None:
        """Nothing to end."""


@dataclass(slots=True)
class Sleepers:
    """Workers of uneven speed: the slowest takes three times as long as the fastest."""

    count: int
    block: float
    terms: Any
    answer: Any
    all: list[Sleeper] = field(default_factory=list)

    def wanted(self) -> int:
        """All of them."""
        return self.count

    def start(self, place: int, token_budget: int | None) -> tuple[Any, Any]:
        """At once."""
        speed = 0.5 + place / max(1, self.count - 1)
        draw = random.Random(place)
        one = Sleeper(
            f"worker {place}", speed, self.block, self.terms, {"answer": self.answer}, draw
        )
        self.all.append(one)
        return one, self.terms

    def close(self) -> None:
        """Nothing to end."""


def answers(preflight: Any) -> Any:
    """What simulated candidates answer: with margins, better the larger the first weights."""
    import zlib
    from functools import lru_cache

    @lru_cache(maxsize=1024)
    def drawn(text: str, count: int) -> np.ndarray:
        return np.random.default_rng(zlib.crc32(text.encode())).standard_normal(count)

    def answer(call: Any) -> Mapping[str, Any]:
        task, indices = call.arguments
        items = preflight.tasks[task].items
        skill = int(call.hash[:6], 16) / 0xFFFFFF - 0.5
        hard, own = drawn(task, len(items)), drawn(call.hash + task, len(items))
        margins = (0.5 * skill + hard + 0.5 * own)[list(indices)].round(6).tolist()
        return {
            items[index].key: {"acc": (float(one > 0),), "acc (margin)": (one,)}
            for index, one in zip(indices, margins, strict=True)
        }

    return answer


def simulate_many(options: argparse.Namespace) -> None:
    """A search of so many minutes; busy shares are those of its second half and of the whole."""
    from merging.document import parse_document
    from search.executors import Planner, Terms
    from search.leases import Lease
    from search.ledger import Ledger
    from search.objectives import Budget
    from search.pool import WorkerPool
    from search.proposals import Proposer
    from studies.conduct import assemble, study_log
    from studies.config import study_from
    from studies.config_sampler import sampler_option
    from studies.preflight import Permissions, inspect
    from studies.run import RunFolder

    file = demo_study()
    study = study_from(parse_document(file.read_text(encoding="utf-8"), str(file)), file.parent)
    budget = Budget(100_000, None, None)
    study = replace(study, sampler=sampler_option(options.sampler), budget=budget, gradients="off")
    preflight = inspect(study, {}, Permissions())
    planner = Planner(preflight.study.recipe, preflight.checkpoints)
    terms = Terms("simulated", {}, 1024)
    sleepers = Sleepers(options.workers, options.block, terms, answers(preflight))
    pool = WorkerPool(planner, cast(Any, sleepers), Lease(3600.0))
    pool.open()
    watch = Watch(pool, 60 * options.minutes)
    with tempfile.TemporaryDirectory() as scratch:
        run = RunFolder(Path(scratch))
        with Ledger(run.url) as ledger, Proposer() as proposer:
            log = study_log(preflight, ledger)
            search = assemble(preflight, ledger, cast(Any, pool), log, cast(Any, watch), pool)
            profile = Profile() if options.profile else None
            try:
                with profile or Nothing():
                    search.run(proposer)
            except TimeIsUp:
                pass
            trials = ledger.candidates("trial")
            log.close()
    pool.close()
    report_many(options, sleepers, watch, len(trials))
    if profile is not None:
        profile.show()


class TimeIsUp(BaseException):
    """The simulated search has run for long enough."""


@dataclass(slots=True)
class Watch:
    """Observes the search, and ends it; knows when its phase of trials began."""

    pool: Any
    seconds: float
    begun: float = 0.0
    processor: float = 0.0
    everything: float = 0.0
    looks: int = 0

    def phase(self, name: str, candidates: int = 0) -> None:
        """The clock runs from the first trial."""
        if name == "search":
            self.begun, self.processor = time.monotonic(), thread_seconds()
            self.everything = time.process_time()

    def ended(self, candidate: Any) -> None:
        """Counts looks; raises TimeIsUp when the time is over."""
        if not self.begun:
            return
        self.looks += 1
        if time.monotonic() - self.begun > self.seconds:
            self.processor = thread_seconds() - self.processor
            self.everything = time.process_time() - self.everything
            raise TimeIsUp

    def step(self, step: Any) -> None:
        """Nothing."""

    scoring = resumed = note = step


def thread_seconds() -> float:
    """Processor time of this thread: the coordinator's decisions."""
    return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)


def report_many(options: argparse.Namespace, sleepers: Any, watch: Watch, trials: int) -> None:
    """Shares and milliseconds."""
    end = watch.begun + watch.seconds
    halves = {"all": watch.begun, "second half": watch.begun + watch.seconds / 2}
    print(f"{options.workers} workers, {trials} trials, {watch.looks} looks", flush=True)
    for name, begin in halves.items():
        busy = sum(
            max(0.0, min(stop, end) - max(start, begin))
            for one in sleepers.all
            for start, stop in one.spans
        )
        print(f"busy, {name}: {busy / (end - begin) / options.workers:.1%}")
    blocks = sum(1 for one in sleepers.all for start, _ in one.spans if end > start > watch.begun)
    print(
        f"{blocks / watch.seconds:.1f} blocks and builds a second; processor time a block: "
        f"{1000 * watch.processor / blocks:.2f} ms of the deciding thread "
        f"({1000 * watch.processor / watch.looks:.1f} ms a look), "
        f"{1000 * watch.everything / blocks:.2f} ms of the whole process"
    )


class Nothing:
    """No profile."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class Profile:
    """cProfile of the deciding thread."""

    def __init__(self) -> None:
        import cProfile

        self._profile = cProfile.Profile()

    def __enter__(self) -> None:
        self._profile.enable()

    def __exit__(self, *_: object) -> None:
        self._profile.disable()

    def show(self) -> None:
        """The dearest calls."""
        import pstats

        for key in ("cumulative", "tottime"):
            pstats.Stats(self._profile).sort_stats(key).print_stats(40)


if __name__ == "__main__":
    main()
    if threading.active_count() > 1:
        os._exit(0)  # sleepers may still sleep
