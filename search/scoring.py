"""One candidate on one split: blocks of items, scored only where the ledger lacks them."""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evaluation.errors import NonFiniteError
from evaluation.task import ItemResult, Task

from .blocks import Block, block_name
from .errors import CrashedError
from .executors import Executor, Merge
from .item_table import Reader, Shelf
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
    reader: Reader = field(init=False)
    _built: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.reader = Reader(self.ledger, self.tasks, self.splits)

    def by(self, executor: Executor, tell: Callable[[Step], None] = _unwatched) -> "Scorer":
        """The same for another thread, with an executor of its own."""
        other = replace(self, executor=executor, tell=tell)
        other.reader = self.reader  # what it has found out of tasks and splits is for all
        return other

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
            lacking = self._lacking(merge.hash, "search", task, ones)
            for block in ones:
                if block in lacking:
                    self.block(merge, task, block, spent, Step("scoring", done, wanted))
                done += len(block)

    def lacking(
        self, merge_hash: str, split: str, tasks: Sequence[str]
    ) -> list[tuple[str, Block]]:
        """The blocks of a split that the ledger lacks, by task."""
        found: list[tuple[str, Block]] = []
        for task in tasks:
            every = self.reader.shelf(task, split).blocks
            lacking = self._lacking(merge_hash, split, task, every)
            found += [(task, block) for block in every if block in lacking]
        return found

    def known(
        self,
        merge_hash: str,
        split: str,
        tasks: Sequence[str],
        only: Mapping[str, Collection[Block]] | None = None,
    ) -> Results:
        """What the ledger has of a candidate on a split; items never scored are absent.

        Of some blocks by task, where `only` says which.
        """
        settings = self.executor.settings
        return {
            task: self.reader.table(
                merge_hash, settings, task, split, None if only is None else only[task]
            )
            for task in tasks
        }

    def known_of_many(
        self, merge_hashes: Sequence[str], split: str, tasks: Sequence[str]
    ) -> Iterator[Callable[[Mapping[str, Collection[Block]] | None], Results]]:
        """The same of many candidates by few queries: for each a function of `only`."""
        shelves = {task: self.reader.shelf(task, split) for task in tasks}
        for bodies in self.reader.bodies(merge_hashes, self.executor.settings, tasks):

            def known(
                only: Mapping[str, Collection[Block]] | None,
                bodies: Mapping[str, Mapping[str, bytes]] = bodies,
            ) -> Results:
                return {
                    task: shelf.table(bodies[task], None if only is None else only[task])
                    for task, shelf in shelves.items()
                }

            yield known

    def _lacking(
        self, merge_hash: str, split: str, task: str, ones: Sequence[Block]
    ) -> set[Block]:
        """Blocks with an item that the ledger does not have in any block of the split."""
        there = self.ledger.block_names(merge_hash, self.executor.settings, task)
        shelf = self.reader.shelf(task, split)
        pairs = zip(shelf.names, shelf.blocks, strict=True)
        known = {index for name, block in pairs if name in there for index in block}
        return {one for one in ones if not known.issuperset(one)}

    def _task(
        self, merge: Merge, split: str, task: str, spent: Spent, step: Step
    ) -> Mapping[str, ItemResult]:
        shelf = self.reader.shelf(task, split)
        lacking = self._lacking(merge.hash, split, task, shelf.blocks)
        for block in shelf.blocks:
            if block in lacking:
                self.block(merge, task, block, spent, step)
            step = replace(step, done=step.done + len(block))
        # As the ledger has them, in the order of the items: sums depend on order in the last bit.
        return self.reader.table(merge.hash, self.executor.settings, task, split)

    def block(
        self, merge: Merge, task: str, block: Sequence[int], spent: Spent, step: Step
    ) -> None:
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


def known_results(
    ledger: Ledger, merge_hash: str, settings: str, task: Task, chosen: Sequence[Block]
) -> dict[str, ItemResult]:
    """What the ledger has of a candidate on some blocks of a task, in their order.

    Only what was scored in these very blocks: in other company an item may differ in its last
    bits.
    """
    shelf = Shelf.of(task, chosen)
    return dict(shelf.table(ledger.bodies(merge_hash, settings, task.name, shelf.names)))
