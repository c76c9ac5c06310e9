"""What the coordinator spends on a block of items, in a search of many trials.

Run it in the project's environment, on an idle machine:

    .venv/bin/python scripts/bench_coordinator.py [--trials 1000] [--items 500] [--sampler tpe]

The search is eutectic's own, with its ledger and its Optuna log in one SQLite file, and proposals
made in their own process; only the executor is none: what a merge gets right follows from its
weights in closed form and takes microseconds, and these are not counted. Two tasks, one of right
answers with margins and one of bits per byte, are raced on so many items each. Counted are the
main thread's own seconds of the processor (proposals are made in another process), and those that
it waited for the disk.
"""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MILLISECONDS = 5.0
"""What a block may cost the coordinator."""


def main() -> None:
    """Runs the search and prints what it cost."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--profile", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spent(Path(folder), chosen.trials, chosen.items, chosen.sampler, chosen.profile)


def spent(folder: Path, trials: int, items: int, sampler: str, profile: Path | None) -> None:
    """Searches, tells the cost each hundred trials, and of the whole."""
    from search.ledger import Ledger
    from search.proposals import Proposer
    from search.study_log import StudyLog

    url = f"sqlite:///{folder}/study.db"
    with Ledger(url) as ledger, Proposer() as proposer:
        search = make_search(ledger, trials, items, sampler)
        log = StudyLog(
            url, "coordinator", search.objectives, search.proposing.space.dimensions, ()
        )
        search.log = log
        watch = cast(Watch, search.observer)
        with closing(log):
            watch.begin()
            watched(lambda: search.run(proposer), profile)
            watch.tell("in all", 0)
        one = cast(Instant, search.executor)
        print(f"{one.items:,} items in {one.blocks:,} blocks", flush=True)


def watched(work: Any, profile: Path | None) -> None:
    """Does it, with a profile of the main thread's own seconds if one is asked for."""
    if profile is None:
        work()
        return
    import cProfile

    watch = cProfile.Profile(time.thread_time)
    watch.runcall(work)
    watch.dump_stats(profile)


def make_search(ledger: Any, trials: int, items: int, sampler: str) -> Any:
    """A search of two experts with two anchors each."""
    from merging.document import parse_document
    from search.coordinates import Coordinates
    from search.loop import Search
    from search.objectives import Budget, Objective
    from search.scoring import Scorer
    from search.space import space_from
    from search.trials import Proposing
    from search.warm_start import references, warm_starts

    models = "".join(
        f"    - {{model: {name}, parameters: {{weight: {{range: [0.0, 1.0], anchors: 2}}}}}}\n"
        for name in ("one", "two")
    )
    text = f"recipe:\n  merge_method: task_arithmetic\n  base_model: base\n  models:\n{models}"
    space = space_from(parse_document(text, "bench.yaml").child("recipe"), layers=4)
    tasks = {name: Questions(name, items) for name in ("sums", "lines")}
    splits = {name: {"search": range(items), "select": range(0), "test": range(0)}
              for name in tasks}  # fmt: skip
    objectives = (
        Objective("sums", (("sums", "acc"),), True),
        Objective("lines", (("lines", "bits_per_byte"),), False),
    )
    proposing = Proposing(
        space, Coordinates(space), warm_starts(space), sampler, 0, 0, objectives, trials
    )
    executor = cast(Any, Instant(tasks))
    known = cast(Any, tasks)
    return Search(
        ledger, executor, known, Scorer(ledger, executor, known, splits), proposing,
        references(space), objectives, (), Budget(trials, None, None), 0, cast(Any, None),
        cast(Any, Watch(executor)),
    )  # fmt: skip


class Questions:
    """A task of so many items."""

    def __init__(self, name: str, count: int) -> None:
        from evaluation.metrics import METRICS
        from evaluation.task import Item, Request

        metric = {"sums": "acc", "lines": "bits_per_byte"}[name]
        self.name, self.metrics = name, {metric: METRICS[metric]}
        asked = tuple(Request("loglikelihood", "", f"{choice}") for choice in range(4))
        self.items = tuple(
            Item(f"{name}{n}", n, f"{name}{n}", "all", asked, f"prompt{n}", {}, f"{name}{n}")
            for n in range(count)
        )
        self.hard = np.random.default_rng(len(name)).normal(size=count)


@dataclass(frozen=True, slots=True)
class Weights:
    """A recipe in the place of a merge."""

    of: tuple[float, ...]
    hash: str


@dataclass(slots=True)
class Instant:
    """An executor in closed form."""

    tasks: Mapping[str, Questions]
    settings: str = "instant"
    blocks: int = 0
    items: int = 0
    seconds: float = 0.0
    """The main thread's own, here."""
    _now: Weights | None = field(default=None)

    def prepare(self, data: Mapping[str, Any]) -> Any:
        """The weights of a recipe."""
        found: dict[str, list[float]] = {"one": [0.0, 0.0], "two": [0.0, 0.0]}
        for one in data["models"]:
            weight = one.get("parameters", {}).get("weight", 1.0)
            if one["model"] in found:
                both = weight if isinstance(weight, list) else [weight, weight]
                found[one["model"]] = [float(each) for each in both]
        text = json.dumps([data["merge_method"], found])
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return Weights((*found["one"], *found["two"]), digest)

    def build(self, merge: Any) -> None:
        """Keeps what is to be scored."""
        self._now = merge

    def score(self, task: str, indices: Sequence[int]) -> Mapping[str, Any]:
        """By weights and how hard an item is."""
        started = time.thread_time()
        assert self._now is not None
        one, other, third, fourth = self._now.of
        if task == "lines":
            one, other, third, fourth = third, fourth, one, other
        skill = one * (1.5 - one) + other * (1.2 - other) - 0.5 * third * fourth
        questions = self.tasks[task]
        noise = np.random.default_rng(int(self._now.hash[:8], 16)).normal(size=len(questions.hard))
        margins = (skill - questions.hard + 0.3 * noise)[list(indices)]
        found: dict[str, Any] = {}
        for index, margin in zip(indices, margins.tolist(), strict=True):
            key = questions.items[index].key
            if task == "lines":
                found[key] = {"bits_per_byte": (40.0 - margin, 16.0)}
            else:
                margin = float(f"{margin:.6g}")
                found[key] = {"acc": (float(margin > 0),), "acc (margin)": (margin,)}
        self.blocks += 1
        self.items += len(indices)
        self.seconds += time.thread_time() - started
        return found


class Watch:
    """An observer that counts the main thread's seconds."""

    def __init__(self, executor: Instant) -> None:
        self.executor, self.ended_trials = executor, 0

    def begin(self) -> None:
        """From here on."""
        self.wall, self.own = time.perf_counter(), time.thread_time()
        self.start = (self.own, 0.0, 0)
        self.last = self.start

    def tell(self, what: str, since: int) -> None:
        """A line of what a block cost."""
        own, executor = time.thread_time(), self.executor
        before = self.last if since else self.start
        blocks = executor.blocks - before[2]
        each = 1000 * (own - before[0] - (executor.seconds - before[1])) / max(1, blocks)
        late = "" if each <= MILLISECONDS else f" (more than {MILLISECONDS})"
        print(f"{what}: {each:.2f} ms of the main thread a block, {blocks:,} blocks{late}",
              flush=True)  # fmt: skip
        self.last = (own, executor.seconds, executor.blocks)

    def ended(self, candidate: Any) -> None:
        """Counts looks of trials."""
        if candidate.kind == "trial":
            self.ended_trials += 1
            if candidate.number % 100 == 99 and candidate.looks == 1:
                self.tell(f"trial {candidate.number + 1}", 1)

    def phase(self, name: str, candidates: int = 0) -> None:
        """Nothing."""

    step = scoring = resumed = note = lambda *_: None


if __name__ == "__main__":
    main()
