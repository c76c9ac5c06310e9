"""One candidate on one split: blocks of items, scored only where the ledger lacks them."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evaluation.errors import NonFiniteError
from evaluation.task import ItemResult, Task

from .blocks import Block, block_name, blocks
from .errors import CrashedError
from .executors import Executor, Merge
from .ledger import Candidate, Ledger
from .objectives import Results
from .observer import Step

UNSCORABLE = (NonFiniteError, CrashedError)
"""What a candidate may raise whose trial then fails."""


@dataclass(slots=True)
class Spent:
    """What scoring one candidate cost: item evaluations and wall seconds.

    `owner`, if there is one, is kept in the ledger with its cost whenever a block of it is.
    Threads that score one candidate share it under its `lock`.
    """

    items: int = 0
    build_seconds: float = 0.0
    score_seconds: float = 0.0
    owner: Candidate | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def of(self, candidate: Candidate) -> Candidate:
        """The candidate with this cost."""
        return candidate.ended(
            items=self.items,
            build_seconds=self.build_seconds,
            score_seconds=self.score_seconds,
        )


def _unwatched(_step: Step) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class Scorer:
    """Scores candidates through an executor, and keeps what it learns in the ledger."""

    ledger: Ledger
    executor: Executor
    tasks: Mapping[str, Task]
    splits: Mapping[str, Mapping[str, Sequence[int]]]
    """Task to split to item indices, in order."""
    tell: Callable[[Step], None] = _unwatched
    _built: str = field(default="", init=False)

    def score(self, merge: Merge, split: str, tasks: Sequence[str], spent: Spent) -> Results:
        """Every item of a split; raises UNSCORABLE. `spent` grows as blocks end."""
        found, done = {}, 0
        wanted = sum(len(self.splits[task][split]) for task in tasks)
        for task in tasks:
            found[task] = self._task(merge, split, task, spent, Step("scoring", done, wanted))
            done += len(self.splits[task][split])
        return found

    def score_blocks(
        self, merge: Merge, chosen: Mapping[str, Sequence[Block]], spent: Spent
    ) -> None:
        """Some blocks of the search split, by task, where the ledger lacks them.

        Raises:
            UNSCORABLE: a result is no number, or it cost worker after worker.
        """
        done, wanted = 0, sum(len(block) for ones in chosen.values() for block in ones)
        for task, ones in chosen.items():
            known = self._known(merge.hash, "search", task)
            for block in ones:
                if any(self.tasks[task].items[index].key not in known for index in block):
                    self.block(merge, task, block, spent, Step("scoring", done, wanted))
                done += len(block)

    def lacking(
        self, merge_hash: str, split: str, tasks: Sequence[str]
    ) -> list[tuple[str, Block]]:
        """The blocks of a split that the ledger lacks, by task."""
        found: list[tuple[str, Block]] = []
        for task in tasks:
            known, items = self._known(merge_hash, split, task), self.tasks[task].items
            found += [
                (task, block)
                for block in blocks(self.splits[task][split], split)
                if any(items[index].key not in known for index in block)
            ]
        return found

    def known(self, merge_hash: str, split: str, tasks: Sequence[str]) -> Results:
        """What the ledger has of a candidate on a split; items never scored are absent."""
        return {task: self._known(merge_hash, split, task) for task in tasks}

    def _known(self, merge_hash: str, split: str, task: str) -> dict[str, ItemResult]:
        settings = self.executor.settings
        chosen = blocks(self.splits[task][split], split)
        return known_results(self.ledger, merge_hash, settings, self.tasks[task], chosen)

    def _task(
        self, merge: Merge, split: str, task: str, spent: Spent, step: Step
    ) -> Mapping[str, ItemResult]:
        known = self._known(merge.hash, split, task)
        for block in blocks(self.splits[task][split], split):
            items = [self.tasks[task].items[index] for index in block]
            if any(item.key not in known for item in items):
                known.update(self.block(merge, task, block, spent, step))
            step = replace(step, done=step.done + len(block))
        # In the order of the items, whatever was known before: sums depend on order in the last
        # bit.
        return {
            self.tasks[task].items[index].key: known[self.tasks[task].items[index].key]
            for index in self.splits[task][split]
        }

    def block(
        self, merge: Merge, task: str, block: Sequence[int], spent: Spent, step: Step
    ) -> Mapping[str, ItemResult]:
        """Scores one block, builds the candidate where another is live, keeps the results."""
        started = time.perf_counter()
        if self._built != merge.hash:
            self.tell(replace(step, stage="building"))
            self._built = ""  # a build that fails half way leaves neither candidate
            self.executor.build(merge)
            self._built = merge.hash
        built = time.perf_counter()
        self.tell(step)
        results = self.executor.score(task, block)
        scored = time.perf_counter()
        items = [self.tasks[task].items[index] for index in block]
        keyed = {(item.key, item.prompt_hash): results[item.key] for item in items}
        name = block_name(self.tasks[task], block)
        with spent.lock:
            spent.build_seconds += built - started
            spent.score_seconds += scored - built
            spent.items += len(block)
            owner = None if spent.owner is None else spent.of(spent.owner)
            self.ledger.record(merge.hash, self.executor.settings, task, name, keyed, owner)
        return results


def known_results(
    ledger: Ledger, merge_hash: str, settings: str, task: Task, chosen: Sequence[Block]
) -> dict[str, ItemResult]:
    """What the ledger has of a candidate on some blocks of a task, in their order.

    Only what was scored in these very blocks: in other company an item may differ in its last
    bits.
    """
    names = [block_name(task, block) for block in chosen]
    have = ledger.results(merge_hash, settings, task.name, names)
    items = [task.items[index] for block in chosen for index in block]
    return {
        item.key: have[item.key, item.prompt_hash]
        for item in items
        if (item.key, item.prompt_hash) in have
    }
